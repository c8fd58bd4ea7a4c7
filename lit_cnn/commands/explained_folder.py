"""The folder that ``lit-cnn explain`` writes into: its pictures and its page, all new or all as they were.

The page names its pictures. Only a page that bears the command's mark, and pictures that it names, are ever replaced.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

from lit_cnn.commands.output import raise_on_signals
from lit_cnn.runs.search import is_run

PAGE = "index.html"
GENERATOR = "lit-cnn explain"
PICTURE = re.compile(r"\d{4,}-[\w.-]+\.png")  # no name that leads into another folder
PARTIAL = re.compile(r"\.lit_cnn-[0-9a-f]{16}\.partial")
STEM_BYTES = 150  # of a file's name, which may have 255


def picture_name(position: int, file: Path, method: str) -> str:
    """The name of the picture of an image."""
    stem = re.sub(r"[^\w.-]", "_", file.stem).encode()[:STEM_BYTES].decode(errors="ignore")
    return f"{position:04d}-{stem}-{method}.png"


def check_folder(output: Path, images: Sequence[Path]) -> None:
    """Refuses a folder that holds other files than those of an earlier call.

    Raises:
        ValueError: If so; also if it is a file, is read-only, lies in a run, or holds the images.
    """
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file: name a folder")
    place = Path(os.path.realpath(output))
    if not os.access(next(folder for folder in (place, *place.parents) if folder.exists()), os.W_OK):
        raise ValueError(f"the output cannot be written: its folder is read-only ({output})")
    if run := next((folder for folder in (place, *place.parents) if is_run(folder)), None):
        raise ValueError(f"--output {output} is in the folder of the run {run}: name a folder elsewhere")
    # Pictures of an earlier call may be given as images, but would be removed.
    if any(place in Path(os.path.realpath(path)).parents or place == Path(os.path.realpath(path)) for path in images):
        raise ValueError(f"--output {output} holds the images: name another folder")
    if not output.is_dir():
        return
    own = {PAGE, *pictures} if (pictures := _pictures_of(output / PAGE)) is not None else set()
    # What a killed call left is neither an obstacle nor removed.
    if other := sorted(file.name for file in output.iterdir() if file.name not in own and not PARTIAL.fullmatch(file.name)):
        raise ValueError(f"--output {output} holds other files, for example {other[0]}: name an empty folder, or a new one")


@contextlib.contextmanager
def new_content(output: Path) -> Iterator[Path]:
    """A hidden folder in the folder, whose pictures and page replace those of an earlier call at the end.

    After an error, Ctrl-C, SIGTERM or SIGHUP it is removed, and the earlier files stay as they were.

    Args:
        output: A folder of which :func:`check_folder` approves.
    """
    is_new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    partial = output / f".lit_cnn-{secrets.token_hex(8)}.partial"
    try:
        with raise_on_signals():
            partial.mkdir()
            yield partial
            for name in _pictures_of(output / PAGE) or ():
                (output / name).unlink(missing_ok=True)
            # First the page, which names the pictures: a call that is killed here leaves nothing that is not its own.
            (partial / PAGE).replace(output / PAGE)
            for picture in partial.iterdir():
                picture.replace(output / picture.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):  # it holds files
                output.rmdir()


def _pictures_of(page: Path) -> list[str] | None:
    """The pictures that belong to a page; None if this command did not write it."""
    if page.is_symlink() or not page.is_file():
        return None
    found = _Metas()
    found.feed(page.read_text(encoding="utf-8", errors="replace"))
    if GENERATOR not in found.contents.get("generator", ()):
        return None
    return [name for name in found.contents.get("picture", ()) if PICTURE.fullmatch(name)]


class _Metas(HTMLParser):
    """The contents of a page's ``<meta>`` elements, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and (name := values.get("name")):
            self.contents.setdefault(name, []).append(values.get("content") or "")
