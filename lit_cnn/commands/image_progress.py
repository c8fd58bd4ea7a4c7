"""What is shown while images pass through a network: a bar, and the files that are left out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from lit_cnn.commands.messages import in_one_line
from lit_cnn.commands.resuming import warn

if TYPE_CHECKING:
    from lit_cnn.inference.batches import BadImage

Output = TypeVar("Output")

# So many files that cannot be read are named.
NUM_NAMED = 5


class BadImages:
    """Names the first files that cannot be read, as they are found, and counts all."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, bad: BadImage) -> None:
        """Counts a file."""
        self.count += 1
        if self.count <= NUM_NAMED:
            warn(f"left out: {in_one_line(bad.reason)}")

    def end(self, num_read: int) -> None:
        """Tells how many were not named.

        Args:
            num_read: How many could be read.

        Raises:
            ValueError: If no image was given.
            OSError: If none could be read.
        """
        if self.count > NUM_NAMED:
            warn(f"left out: {self.count - NUM_NAMED:,} more files that cannot be read")
        if not num_read and self.count:
            raise OSError(f"none of {self.count:,} images can be read")
        if not num_read:
            raise ValueError("there is no image: the list is empty")


def each_batch(
    batches: Iterable[list[tuple[Any, Output | BadImage]]], description: str, total: int | None, bad: BadImages
) -> Iterator[list[tuple[Any, Output]]]:
    """The outputs of each batch without bad images, under a bar that shows how many images are done.

    Args:
        batches: Of a network.
        description: For the bar.
        total: Number of images, if it is known.
        bad: Is told the images that are left out.

    Raises:
        ValueError: If a file cannot be decoded; says how to leave it out.
    """
    from lit_cnn.inference.batches import BadImage
    from lit_cnn.inference.inputs import UnreadableImageError

    done = 0
    try:
        with progress_of(description, total) as advance:
            for batch in batches:
                for _, output in batch:
                    if isinstance(output, BadImage):
                        bad.add(output)
                yield [(item, output) for item, output in batch if not isinstance(output, BadImage)]
                done += len(batch)
                advance(done)
    except UnreadableImageError as error:
        raise ValueError(f"{error}; --on_bad_image skip leaves out such files") from error


@contextlib.contextmanager
def progress_of(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while images pass through a network; nothing if that is no terminal.

    Yields:
        Tells the bar how many images are done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
