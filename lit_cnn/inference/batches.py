"""Images read in batches, a few batches ahead of the network: however many there are, few are in memory."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from lit_cnn.system.processors import usable_processors

Item = TypeVar("Item")
Output = TypeVar("Output")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BadImage:
    """A file that cannot be decoded.

    Args:
        file: Its path.
        reason: What is wrong with it, in a sentence that names it.
    """

    file: Path
    reason: str


class Readable(Protocol[Item]):
    """Images that are named before they are read, perhaps without an end."""

    def __iter__(self) -> Iterator[Item]:
        """What names the images, in order."""

    def read(self, item: Item) -> Tensor | BadImage:
        """The pixels of an image: uint8 (channels, image_size, image_size)."""


@dataclass(frozen=True)
class ReadBatch(Generic[Item]):
    """Images that were read together.

    Args:
        items: What names them, in order.
        pixels: Those that can be decoded, uint8 (n, channels, image_size, image_size); None if there are none.
        bad: The others, by their place among ``items``.
    """

    items: list[Item]
    pixels: Tensor | None
    bad: dict[int, BadImage]

    def join(self, outputs: Iterable[Output]) -> list[tuple[Item, Output | BadImage]]:
        """Each item with its output, or with the reason why there is none.

        Args:
            outputs: One for each of ``pixels``.
        """
        rest = iter(outputs)
        return [(item, self.bad[place] if place in self.bad else next(rest)) for place, item in enumerate(self.items)]


def read_batches(images: Readable[Item], batch_size: int, num_workers: int | None = None) -> Iterator[ReadBatch[Item]]:
    """Reads images in threads, a few batches ahead, and yields the batches in order.

    Args:
        images: What is read.
        batch_size: Images in each batch; the last may be smaller.
        num_workers: Threads; as many as there are processors if not given.

    Raises:
        ValueError: If the batch size is below 1. Also what ``images`` raises.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")

    def read(items: list[Item]) -> ReadBatch[Item]:
        found = [images.read(item) for item in items]
        pixels = [one for one in found if isinstance(one, Tensor)]
        bad = {place: one for place, one in enumerate(found) if isinstance(one, BadImage)}
        return ReadBatch(items, torch.stack(pixels) if pixels else None, bad)

    return _ahead(images, batch_size, read, num_workers or usable_processors())


def compute_batches(
    images: Readable[Item],
    batch_size: int,
    compute: Callable[[ReadBatch[Item]], Iterable[Output]],
    num_workers: int | None = None,
) -> Iterator[list[tuple[Item, Output | BadImage]]]:
    """Each image with what was computed of it, or with the reason why it cannot be decoded, in batches.

    Args:
        images: What is read.
        batch_size: Images in each batch.
        compute: Gives an output for each of the pixels of a batch, of which there is at least one.
        num_workers: See :func:`read_batches`.

    Raises:
        ValueError: See :func:`read_batches`.
    """
    for batch in read_batches(images, batch_size, num_workers):
        yield batch.join([] if batch.pixels is None else compute(batch))


def without_bad(batches: Iterable[list[tuple[Any, Output | BadImage]]], num_images: int) -> list[Output]:
    """The outputs of all images that can be decoded; warns if others are left out.

    Args:
        batches: See :meth:`ReadBatch.join`.
        num_images: Number of all images.

    Raises:
        ValueError: If none can be decoded; names the first.
    """
    outputs: list[Output] = []
    first: BadImage | None = None
    for batch in batches:
        for _, output in batch:
            if isinstance(output, BadImage):
                first = first or output
            else:
                outputs.append(output)
    if first and not outputs:
        raise ValueError(f"no image can be classified: {first.reason}")
    if first:
        warnings.warn(f"left out {num_images - len(outputs)} of {num_images} images: {first.reason}", stacklevel=3)
    return outputs


def _ahead(
    items: Iterable[Item], batch_size: int, work: Callable[[list[Item]], Result], num_workers: int
) -> Iterator[Result]:
    """Applies ``work`` to batches in threads.

    Items are taken in a thread of their own. A batch is yielded when it is done, also while the next item is waited for:
    items may come from a pipe.
    """
    planned: SimpleQueue[Future[Result] | None] = SimpleQueue()
    free = threading.Semaphore(num_workers + 1)  # batches that may be in work or wait for the network
    lock, ended = threading.Lock(), threading.Event()
    workers = ThreadPoolExecutor(num_workers)

    def plan() -> None:
        rest = iter(items)
        try:
            while free.acquire() and not ended.is_set() and (batch := list(islice(rest, batch_size))):
                with lock:  # no work is given to workers that were sent home
                    if ended.is_set():
                        return
                    planned.put(workers.submit(work, batch))
            planned.put(None)
        except BaseException as error:  # whatever it is, the reader of the batches gets it
            failed: Future[Any] = Future()
            failed.set_exception(error)
            planned.put(failed)

    # A daemon, since it may wait for a pipe that never ends.
    threading.Thread(target=plan, daemon=True).start()
    try:
        while (future := planned.get()) is not None:
            yield future.result()
            free.release()
    finally:
        with lock:
            ended.set()
        free.release()
        workers.shutdown(cancel_futures=True)
