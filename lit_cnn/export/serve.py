"""A trained run as a web service on LitServe: requests in, classes out.

LitServe keeps the queue between the process that speaks HTTP and those that compute, and starts the latter anew when they
die. Its own start is not used: it takes three addresses only, prints its log, writes a file ``client.py``, and leaves
processes behind when it is terminated.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import logging
import multiprocessing
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import Environment, StrictUndefined

from lit_cnn.runs.folder import Run
from lit_cnn.system.digests import digest_of
from lit_cnn.system.text import printable

if TYPE_CHECKING:
    from starlette.responses import Response

    from lit_cnn.export.serve_server import ClassifierServer
    from lit_cnn.export.serve_worker import ClassifierAPI

# Time until a worker takes a request, and that open requests get when the server ends, in seconds.
SECONDS_TO_WAIT = 30
SECONDS_TO_END = 1


@dataclass(frozen=True)
class Service:
    """What is served, and how.

    Args:
        path: Folder of a run, or a checkpoint file.
        name: Title of the page.
        host: Name or address at which the server listens.
        port: 0 for any that is free.
        max_bytes: Largest body of a request.
        batch_size: Images that the network gets at a time.
        batch_wait: Time to wait for a full batch once a request is there, in seconds.
        workers: Processes that compute, each with a network of its own.
        threads: Of each worker.
        api_key: What the header ``X-API-Key`` must hold; None if anyone may ask.
    """

    path: str
    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    max_bytes: int = 16_000_000
    batch_size: int = 32
    batch_wait: float = 0.0
    workers: int = 1
    threads: int = 1
    api_key: str | None = None

    def run(self, started: Callable[[str], None]) -> NoReturn:
        """Serves until Ctrl-C, SIGTERM or SIGHUP, which the end of its terminal sends, unless that is ignored.

        Args:
            started: Called with the address once requests are answered.

        Raises:
            ValueError: If the address or the run cannot be used, also later when a worker has to load it anew.
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM or SIGHUP, with status 0.
        """
        listen(self.host, self.port).close()  # an address in use is reported before the network is loaded
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as below nohup
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))  # which uvicorn handles too
        # Imported only now: the extra may be missing, and nothing of LitServe is wanted for a wrong option.
        import uvicorn

        from lit_cnn.export.serve_worker import ClassifierAPI

        checkpoint = Path(self.path) if Path(self.path).is_file() else Run(self.path).checkpoint
        digest = None if checkpoint is None else digest_of(checkpoint)
        api = ClassifierAPI(self.path, self.threads, self.batch_size, self.batch_wait, self.api_key, digest)
        server = _make_server(api, self)
        config = uvicorn.Config(
            server.app, log_level="error", access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=SECONDS_TO_END,
        )  # fmt: skip
        http = uvicorn.Server(config)
        server.when_failed = lambda: setattr(http, "should_exit", True)
        with _workers(server, api), listen(self.host, self.port) as listening:
            host = f"[{self.host}]" if ":" in self.host else self.host
            started(f"http://{host}:{listening.getsockname()[1]}")
            # Requests that are cut off when the server ends are no faults, which would be printed with their traceback.
            logging.getLogger("uvicorn.error").addFilter(lambda _: not http.should_exit)
            http.run(sockets=[listening])
        if server.failure is not None:
            raise ValueError(f"the server has ended, because its run cannot be loaded anew: {server.failure}")
        sys.exit(0)


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens at a host."""
    return host in ("localhost", "::1") or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Raises:
        ValueError: If that is not possible at this address.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise ValueError(f"--host {host} is no address of this machine ({error.strerror})") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(f"--host {host} is no address of this machine: choose another --host") from error
        raise ValueError(f"the server cannot listen at {host}, port {port} ({reason}): choose another --port") from error


def _make_server(api: ClassifierAPI, service: Service) -> ClassifierServer:
    """LitServe's server with our page, our limits and our errors."""
    import litserve
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    from lit_cnn.export.serve_request import Answer, Intake, RefusedError
    from lit_cnn.export.serve_server import ClassifierServer
    from lit_cnn.export.serve_worker import SILENT, response

    litserve.configure_logging(SILENT, stream=sys.stderr)
    logging.getLogger("python_multipart").setLevel(SILENT)  # it warns of forms that are refused
    server = ClassifierServer(
        api,
        accelerator="cpu",  # a worker takes the fastest device itself
        devices=1,
        workers_per_device=service.workers,
        timeout=SECONDS_TO_WAIT,
        restart_workers=True,
        disable_openapi_url=True,  # whose page loads scripts from the internet
    )
    app = server.app
    app.state.intake = Intake(service.max_bytes)

    async def refuse(_: Any, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return response(Answer({"error": str(error.detail)}, error.status_code))
        assert isinstance(error, RefusedError)
        return response(Answer({"error": str(error)}, error.status))

    app.add_exception_handler(RefusedError, refuse)
    app.add_exception_handler(HTTPException, refuse)

    html, policy = page(service.name, needs_key=service.api_key is not None)
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

    async def index() -> Response:
        return Response(html, media_type="text/html", headers=headers)

    routes = [(getattr(route, "path", ""), route) for route in app.router.routes]
    app.router.routes[:] = [route for path, route in routes if path not in ("/", "/health", "/info")]
    app.add_api_route("/", index, methods=["GET"])
    # Without the key that LitServe asks for: proxies that look whether the server is there have none.
    app.add_api_route("/health", dict(routes)["/health"].endpoint, methods=["GET"])
    return server


@contextmanager
def _workers(server: ClassifierServer, api: ClassifierAPI) -> Iterator[None]:
    """The processes that compute, loaded; none is left afterwards, whatever ends the server."""
    from litserve.utils import wrap_litserve_start

    others = set(multiprocessing.active_children())
    # What is started inherits that it ignores what a terminal sends to all processes: Ctrl-C, and SIGHUP at its end.
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        with wrap_litserve_start(server, worker_monitor=True):
            try:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                _await_workers(server, api)
                yield
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
            process.join()


def _await_workers(server: ClassifierServer, api: ClassifierAPI) -> None:
    """Waits until a worker has loaded the run.

    Raises:
        ValueError: If it cannot be loaded.
    """
    from litserve.utils import WorkerSetupStatus

    while WorkerSetupStatus.READY not in server.workers_setup_status.values():
        if problem := api.problem() or server.failure:
            raise ValueError(problem)
        time.sleep(0.05)


def page(name: str, needs_key: bool) -> tuple[str, str]:
    """The page on which one drops an image, and the policy that lets it run its own script and load nothing.

    Args:
        name: Its title.
        needs_key: Whether it asks for the key of the server.
    """
    source = (Path(__file__).parent / "templates" / "serve.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True).from_string(source)
    html = template.render(name=printable(name), needs_key=needs_key)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"
        for tag in ("style", "script")
        for block in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    ]
    style, script = hashes
    policy = f"default-src 'none'; img-src data: blob:; connect-src 'self'; style-src {style}; script-src {script}"
    return html, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
