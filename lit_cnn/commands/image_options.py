"""Which network, and which images: the options that ``lit-cnn predict`` and ``lit-cnn embed`` share."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lit_cnn.commands.output import check_output, is_replaced
from lit_cnn.data.rows import is_table
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.runs.search import find_run, is_run
from lit_cnn.system.paths import expand

if TYPE_CHECKING:
    from lit_cnn.inference.inputs import GivenFiles
    from lit_cnn.inference.sources import FileSource
    from lit_cnn.inference.trained import Trained

# Stands for standard input and standard output.
STANDARD = Path("-")


# What names a network.
NETWORKS = {
    "run": "folder of the run, or latest",
    "config": "config.yaml of the run: the same as --run with its folder",
    "ckpt_path": "a checkpoint file, in any folder",
    "model": "a variant with published weights and their classes, for example resnet50; lit-cnn models lists them",
}


def add_network_options(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(NETWORKS)) -> None:
    """Adds the options of which one names the network, and those that belong to them.

    Args:
        parser: Of the command.
        names: Keys of :data:`NETWORKS`.
    """
    source = parser.add_mutually_exclusive_group(required=True)
    for name in names:
        source.add_argument(f"--{name}", help=NETWORKS[name])
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for --run latest (default: %(default)s)")
    if "model" in names:
        parser.add_argument("--weights", help="name of the weights of --model (default: torchvision's best)")


def add_bad_image_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--on_bad_image``."""
    parser.add_argument(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="what to do with a file that cannot be decoded: stop, or leave it out (default: %(default)s)",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a command that sends images through a network."""
    add_network_options(parser)
    parser.add_argument(
        "--images",
        required=True,
        nargs="+",
        action="extend",
        metavar="IMAGES",
        help="folders, image files, tables with a column path, patterns in quotes ('photos/*.jpg'), "
        "or - to read paths from standard input, one a line; these are answered in batches of --batch_size",
    )
    parser.add_argument("--data_dir", help="folder that the paths in a table are relative to (default: the table's)")
    parser.add_argument("--batch_size", type=int, default=64, help="images at a time (default: %(default)s)")
    add_bad_image_option(parser)
    parser.add_argument(
        "--threads",
        type=_threads,
        default="auto",
        help="threads that compute and that read images; auto leaves out busy processors (default: %(default)s)",
    )


def _threads(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected auto or a number of at least 1, got {text}")
    return int(text)


@dataclass(frozen=True)
class Request:
    """What the options mean, checked before anything heavy is imported.

    Args:
        images: What was named; empty if paths come from standard input.
        data_dir: Folder that the paths in a table are relative to.
        checkpoint: A run or a checkpoint file; None with a variant.
        variant: A network with published weights.
        weights: Their name.
        output: The file to write; None is standard output.
        batch_size: Images at a time.
        skips: Whether files that cannot be decoded are left out.
        threads: As the option.
        endings: Of files that the command writes.
    """

    images: list[Path]
    data_dir: Path | None
    checkpoint: Path | str | None
    variant: str | None
    weights: str
    output: Path | None
    batch_size: int
    skips: bool
    threads: int | Literal["auto"]
    endings: tuple[str, ...]

    def load(self, command: str) -> tuple[Trained, FileSource, int]:
        """The network, the files, and the number of threads.

        Args:
            command: For messages.

        Raises:
            ValueError: If one of them cannot be found or read, or a file that is read would be replaced.
        """
        from lit_cnn.commands.threads import use_threads
        from lit_cnn.inference.loading import load_pretrained, load_run
        from lit_cnn.inference.sources import FileSource, except_for, find_files, piped_files

        if self.output:
            _check_replaced(self.output, [*self.images, *([Path(self.checkpoint)] if self.checkpoint else [])], self.endings)
        threads = use_threads(self.threads, 1, command)
        if self.variant:
            trained = load_pretrained(self.variant, self.weights)
        else:
            assert self.checkpoint is not None
            trained = load_run(self.checkpoint)
        if self.images:
            source = find_files(self.images, trained.class_names, self.data_dir, must_exist=not self.skips)
        else:
            source = piped_files(_standard_input())
        if self.output and self.output.is_file() and is_replaced(self.output):
            checked = except_for(self.output, source)
            if self.images:
                for _ in checked:  # before work is done that would be lost
                    pass
            else:
                source = FileSource(lambda: checked, None)
        return trained, source, threads

    def given(self, trained: Trained, source: FileSource) -> GivenFiles:
        """The files as the network reads them."""
        from lit_cnn.inference.inputs import GivenFiles

        return GivenFiles(source, trained.reading, self.skips)


def read_request(options: argparse.Namespace, endings: tuple[str, ...] = (".csv",)) -> Request:
    """Checks the options of :func:`add_options` and ``--output``.

    Args:
        options: As parsed.
        endings: Of files that the command writes, also where files of others have them.

    Raises:
        ValueError: At the first that is wrong; says what to do.
    """
    if not all(options.images):
        raise ValueError("which images? --images FOLDER")
    for name in ("run", "config", "ckpt_path", "model", "runs_dir", "output"):
        if getattr(options, name) == "":
            raise ValueError(f"--{name} is empty: give a value, or leave it out")
    images = [Path(path) if path == str(STANDARD) else expand(path) for path in options.images]
    if STANDARD in images and len(images) > 1:
        raise ValueError("--images - reads paths from standard input: give it alone")
    output = None if options.output == str(STANDARD) else expand(options.output)
    if output:
        check_output(output)
    if options.batch_size < 1:
        raise ValueError(f"--batch_size must be at least 1, got {options.batch_size}")
    if options.data_dir and not any(map(is_table, images)):
        raise ValueError("--data_dir is where the paths in a table begin, but --images is no table")
    if options.weights and not options.model:
        raise ValueError("--weights belong to a --model; a run and a checkpoint have their own")
    checkpoint = given_checkpoint(options.ckpt_path)
    if options.run or options.config:
        checkpoint = find_run(options.run or options.config, expand(options.runs_dir)).path
    variant = find_in_catalogue(options.model)[0] if options.model else None
    for path in images:
        if path != STANDARD and not path.exists() and not glob.has_magic(str(path)):
            raise ValueError(f"there is no file or folder {path}")
    return Request(
        images=[] if images == [STANDARD] else images,
        data_dir=expand(options.data_dir) if options.data_dir else None,
        checkpoint=checkpoint,
        variant=variant,
        weights=options.weights or "DEFAULT",
        output=output,
        batch_size=options.batch_size,
        skips=options.on_bad_image == "skip",
        threads=options.threads,
        endings=endings,
    )


def given_checkpoint(ckpt_path: str | None) -> Path | str | None:
    """The file that ``--ckpt_path`` names, or an address as it was given: it is refused later.

    Raises:
        ValueError: If there is no such file.
    """
    if not ckpt_path or "://" in ckpt_path:
        return ckpt_path
    path = expand(ckpt_path)
    if not os.path.lexists(path):
        raise ValueError(f"--ckpt_path: there is no file {path}")
    return path


def _standard_input() -> int:
    """The descriptor of standard input. If it is closed, it is an empty list."""
    if sys.stdin.isatty():
        print("reading paths of images, one a line; Ctrl-D ends the list", file=sys.stderr)
    return sys.stdin.fileno()


def _check_replaced(output: Path, inputs: Iterable[Path], endings: tuple[str, ...]) -> None:
    """Refuses an output that would replace what is read, an image, a checkpoint, or a file of a run.

    Raises:
        ValueError: If it is one of ``inputs``, has the ending of an image or of a checkpoint, or lies in a run's folder.
    """
    from lit_cnn.data.formats import SUFFIXES
    from lit_cnn.data.scan import PICTURES

    if not is_replaced(output):
        return
    target = Path(os.path.realpath(output))
    ending = target.suffix.lower()
    if ending in {".ckpt", *SUFFIXES, *PICTURES}.difference(endings):
        what = "a checkpoint" if ending == ".ckpt" else "an image"
        raise ValueError(f"--output {output} has the name of {what}: name a file that ends with {endings[0]}")
    if run := next((parent for parent in target.parents if is_run(parent)), None):
        raise ValueError(f"--output {output} is in the folder of the run {run}: name a file elsewhere")
    if target.is_file():
        replaced = target.stat()
        for path in inputs:
            with contextlib.suppress(OSError):  # there is no such file
                if os.path.samestat(replaced, path.stat()):
                    raise ValueError(f"--output {output} would replace {path}, which is read: name another file")
