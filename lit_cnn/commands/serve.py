"""``lit-cnn serve``: answers requests over HTTP with a trained run."""

from __future__ import annotations

import argparse
import os

from lit_cnn.commands.image_options import add_network_options
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.resuming import warn
from lit_cnn.runs.search import find_run
from lit_cnn.system.extras import require_extra
from lit_cnn.system.paths import expand
from lit_cnn.system.processors import NUM_THREADS, OTHER_PROGRAMS, share_of_threads, usable_processors
from lit_cnn.system.text import printable

# Where a key is not seen in the list of processes.
KEY = "LIT_CNN_API_KEY"


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn serve",
        description="Classify images over HTTP with a run's best checkpoint: POST /predict, GET /health, and a page at /.",
    )
    add_network_options(parser, ("run", "ckpt_path"))
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: %(default)s)")
    parser.add_argument("--api_key", help=f"the header X-API-Key must hold it (default: ${KEY}, or none)")
    parser.add_argument("--max_mb", type=float, default=16, help="largest request in megabytes (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=32, help="images at a time (default: %(default)s)")
    parser.add_argument(
        "--batch_wait_ms", type=float, default=0, help="time to wait for a full batch (default: %(default)s, what is there)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that compute (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="threads of each (default: as many as other programs leave)")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn serve`` until Ctrl-C, SIGTERM or SIGHUP."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    api_key = os.environ.get(KEY) or None if options.api_key is None else options.api_key
    _check(options, api_key)
    path = expand(options.ckpt_path) if options.ckpt_path else find_run(options.run, expand(options.runs_dir)).path
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    require_extra("serve", "lit-cnn serve")

    from lit_cnn.export.serve import Service, is_local

    if not is_local(options.host) and not api_key:
        warn(f"anyone who reaches port {options.port} of this machine can use the server: --api_key asks for a key")
    service = Service(
        str(path),
        path.name if options.ckpt_path else "/".join(path.parts[-3:]),
        options.host,
        options.port,
        round(options.max_mb * 1e6),
        options.batch_size,
        options.batch_wait_ms / 1000,
        options.workers,
        options.threads or _free_threads(options.workers),
        api_key,
    )
    service.run(lambda address: print(f"{printable(str(path))} is served at {address} (Ctrl-C ends it)", flush=True))


def _check(options: argparse.Namespace, api_key: str | None) -> None:
    for name in ("run", "ckpt_path", "runs_dir", "host"):
        if getattr(options, name) == "":
            raise ValueError(f"--{name} is empty: give a value, or leave it out")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
        raise ValueError("the API key must be letters, digits and signs of ASCII, at least one")
    if not 0 <= options.port < 2**16:
        raise ValueError(f"--port must be from 0 to {2**16 - 1}, got {options.port}")
    for name in ("batch_size", "workers"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.threads is not None and not 1 <= options.threads <= usable_processors():
        raise ValueError(f"--threads must be from 1 to {usable_processors()}, as this machine has, got {options.threads}")
    if not 0.001 <= options.max_mb <= 1000:
        raise ValueError(f"--max_mb must be from 0.001 to 1000, got {options.max_mb:g}")
    if not 0 <= options.batch_wait_ms <= 10_000:
        raise ValueError(f"--batch_wait_ms must be from 0 to 10000, got {options.batch_wait_ms:g}")


def _free_threads(workers: int) -> int:
    """Threads of each worker, so that none shares its processor with another program."""
    if os.environ.get(NUM_THREADS, "").isdecimal():
        return max(1, int(os.environ[NUM_THREADS]))
    return share_of_threads(usable_processors(), OTHER_PROGRAMS.busy_processors(), workers)
