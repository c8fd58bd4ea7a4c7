"""Batches in an order that is derived, not stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.augment import NUM_DRAWS


class Images(Protocol):
    """A set of labelled images that can be fetched by position."""

    labels: Tensor  # (N,) int64

    def fetch(self, positions: Tensor) -> Tensor:
        """Images at ``positions`` (n,): uint8 (n, C, H, W), on the device where they are held."""

    def name(self, position: int) -> str:
        """What to call an image on the screen: its file, or its number."""


class Batch(NamedTuple):
    """What a loader hands out, and after the transfer to the device what the network gets."""

    images: Tensor  # (N, C, H, W), uint8 from the loader, float32 after the data module's transforms
    labels: Tensor  # (N,) int64
    positions: Tensor  # (N,) int64, the images' places in their split
    draws: Tensor | None  # (N, NUM_DRAWS) in [0, 1), for the augmentation; None in evaluation


class Loader:
    """Iterates over images in batches, one process's share of them.

    The order of an epoch and the random numbers of its augmentation follow from (seed, epoch) alone: no state to lose, the
    same batches whatever the number of workers, and with several processes the same global batches as with one.

    Args:
        images: What to iterate over.
        batch_size: Images in a global batch, over all processes.
        shuffle: Training order: a new permutation each epoch, whole batches only, random numbers attached. Otherwise the
            images come once each in their own order, spread evenly over the processes.
        seed: Of the order.
        augmentation_seed: Of the augmentation's random numbers; ``seed`` if not given.
        epoch: Returns the current epoch when the first batch is asked for.
        position: Returns then how many of its batches were trained on already: a run that goes on gets the others.
        rank: This process's number.
        world_size: How many processes share the images.
        num_workers: Threads that fetch ahead; 0 fetches in the loop.

    Raises:
        ValueError: If the global batch cannot be divided over the processes, or there are too few images for them.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        augmentation_seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        position: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} is the batch over all processes and cannot be divided by {world_size} of them"
            )
        if len(images.labels) < world_size:
            raise ValueError(f"{len(images.labels)} images are too few for {world_size} processes")
        self.images = images
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augmentation_seed = seed if augmentation_seed is None else augmentation_seed
        self.epoch = epoch
        self.position = position
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers

    def __len__(self) -> int:
        num_images = len(self.images.labels)
        if self.shuffle:
            # Fewer images than a batch make one smaller batch.
            return max(1, num_images // self.batch_size)
        # No process may be left without an image in a batch.
        return min(-(-num_images // self.batch_size), num_images // self.world_size)

    def __iter__(self) -> Iterator[Batch]:
        if self.num_workers == 0:
            return map(self._fetch, self._plan())
        return self._fetch_ahead(self._plan())

    def state_dict(self) -> dict[str, Any]:
        """Nothing: tells Lightning that an epoch can be gone on with in its middle."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing is needed: see ``epoch`` and ``position``."""

    def _plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        # Epoch and position are asked for when the first batch is: Lightning makes the iterator of a resumed run before it
        # restores them.
        plan = self._training_plan() if self.shuffle else self._evaluation_plan()
        yield from islice(plan, self.position(), None)

    def _training_plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        num_images = len(self.images.labels)
        epoch = self.epoch()
        order, draws = _draw(self.seed, epoch, num_images)
        if self.augmentation_seed != self.seed:
            _, draws = _draw(self.augmentation_seed, epoch, num_images)
        size = min(self.batch_size, num_images - num_images % self.world_size)
        for start in range(0, len(self) * size, size):
            share = slice(start + self.rank, start + size, self.world_size)
            yield order[share], draws[share]

    def _evaluation_plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        # Every process gets the same number of batches, none of them empty, and no image comes twice.
        share = torch.arange(len(self.images.labels))[self.rank :: self.world_size]
        for positions in share.tensor_split(len(self)):
            yield positions, None

    def _fetch(self, planned: tuple[Tensor, Tensor | None]) -> Batch:
        positions, draws = planned
        return Batch(self.images.fetch(positions), self.images.labels[positions], positions, draws)

    def _fetch_ahead(self, plan: Iterator[tuple[Tensor, Tensor | None]]) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.num_workers) as workers:
            waiting: deque = deque()
            try:
                for planned in plan:
                    waiting.append(workers.submit(self._fetch, planned))
                    if len(waiting) > self.num_workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _draw(seed: int, epoch: int, num_images: int) -> tuple[Tensor, Tensor]:
    """The order of an epoch's images, (N,), and the random numbers of their augmentation, (N, NUM_DRAWS)."""
    generator = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(generator.permutation(num_images))
    return order, torch.from_numpy(generator.random((num_images, NUM_DRAWS), dtype=np.float32))
