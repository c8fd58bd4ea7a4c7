"""Batches. Their order is computed from the seed and the epoch, not stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.augment import Augmentation, as_bits, shuffled

# Separates the random numbers of balanced orders from others that are derived from the same seed.
BALANCE_STREAM = 0xBA1A


class Images(Protocol):
    """A set of labelled images that can be fetched by position."""

    labels: Tensor  # (N,) int64

    def fetch(self, positions: Tensor) -> Tensor:
        """Images at ``positions`` (n,): uint8 (n, C, H, W), on the device where they are held."""

    def name(self, position: int) -> str:
        """The image's file or number, to show on the screen."""


class Batch(NamedTuple):
    """What a loader yields; after the transfer to the device, what the network gets."""

    images: Tensor  # (N, C, H, W), uint8 from the loader, float32 after the data module's transforms
    labels: Tensor  # (N,) int64
    positions: Tensor  # (N,) int64, positions of the images in their split
    draws: Tensor | None  # (N, NUM_DRAWS or NUM_ALL), bits of the augmentation's random numbers; None in evaluation
    targets: Tensor | None = (
        None  # (N, num_classes), shares of the classes in images that were mixed; None if the labels hold
    )


class Loader:
    """Iterates over this process's share of the images, in batches.

    The order of an epoch and the random numbers of its augmentation are computed from (seed, epoch): there is no state to
    lose. The batches are the same for any number of workers. Several processes share the global batches of one process.

    Args:
        images: The images.
        batch_size: Images in a global batch, over all processes.
        shuffle: True for training: a new permutation each epoch, full batches only, with random numbers. False for
            evaluation: each image once, in order, spread evenly over the processes.
        seed: Seed of the order.
        augmentation_seed: Seed of the augmentation's random numbers; ``seed`` if not given.
        augmentation: Decides which random numbers are drawn.
        epoch: Returns the current epoch. Called when the first batch is requested.
        position: Returns how many batches of the epoch are done already: a resumed run gets the others. Called when
            ``epoch`` is.
        rank: Number of this process.
        world_size: Number of processes that share the images.
        num_workers: Threads that fetch batches in advance; 0 fetches in the loop.
        balance: In training, draws as many images with replacement, each class equally likely, in place of a permutation.

    Raises:
        ValueError: If the global batch cannot be divided by the number of processes, or there are fewer images than
            processes; if several processes mix images and their batch cannot be divided into pairs.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        augmentation_seed: int | None = None,
        augmentation: Augmentation | None = None,
        epoch: Callable[[], int] = lambda: 0,
        position: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        balance: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} is the batch over all processes and cannot be divided by {world_size} of them"
            )
        if len(images.labels) < world_size:
            raise ValueError(f"{len(images.labels)} images are too few for {world_size} processes")
        size = min(batch_size, len(images.labels) - len(images.labels) % world_size)  # of the batches that are made
        if shuffle and world_size > 1 and augmentation and augmentation.mixes and size % (2 * world_size):
            raise ValueError(
                f"MixUp and CutMix mix pairs within each of {world_size} processes: "
                f"the batch must be a multiple of {2 * world_size}, got {size}"
            )
        self.images = images
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augmentation_seed = seed if augmentation_seed is None else augmentation_seed
        self.augmentation = augmentation
        self.epoch = epoch
        self.position = position
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.balance = balance

    @property
    def dataset(self) -> Tensor:
        """As long as there are images. Lightning's BatchSizeFinder stops when a batch holds as many."""
        return self.images.labels

    def __len__(self) -> int:
        num_images = len(self.images.labels)
        if self.shuffle:
            # If there are fewer images than a batch, they are one smaller batch.
            return max(1, num_images // self.batch_size)
        # Each process needs an image in each batch.
        return min(-(-num_images // self.batch_size), num_images // self.world_size)

    def __iter__(self) -> Iterator[Batch]:
        if self.num_workers == 0:
            return map(self._fetch, self._plan())
        return self._fetch_ahead(self._plan())

    def state_dict(self) -> dict[str, Any]:
        """Empty. Lightning resumes within an epoch only if a loader has this method."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing: see ``epoch`` and ``position``."""

    def _plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        # Reads epoch and position when the first batch is requested: in a resumed run, Lightning makes the iterator before
        # it restores them.
        plan = self._training_plan() if self.shuffle else self._evaluation_plan()
        yield from islice(plan, self.position(), None)

    def _training_plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        num_images = len(self.images.labels)
        epoch = self.epoch()
        order, draws = shuffled(self.seed, epoch, num_images)
        if self.augmentation_seed != self.seed:
            _, draws = shuffled(self.augmentation_seed, epoch, num_images)
        more = self.augmentation.draw_more(self.augmentation_seed, epoch, num_images) if self.augmentation else None
        draws = draws if more is None else torch.cat([draws, more], 1)
        if self.balance:
            order = _draw_balanced(self.seed, epoch, self.images.labels)
        size = min(self.batch_size, num_images - num_images % self.world_size)
        for start in range(0, len(self) * size, size):
            share = slice(start + self.rank, start + size, self.world_size)
            yield order[share], as_bits(draws[share])

    def _evaluation_plan(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        # Every process gets the same number of batches, no batch is empty, and no image occurs twice.
        share = torch.arange(len(self.images.labels))[self.rank :: self.world_size]
        for positions in share.tensor_split(len(self)):
            yield positions, None

    def _fetch(self, planned: tuple[Tensor, Tensor | None]) -> Batch:
        positions, draws = planned
        return Batch(self.images.fetch(positions), self.images.labels[positions], positions, draws)

    def _fetch_ahead(self, plan: Iterator[tuple[Tensor, Tensor | None]]) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.num_workers) as workers:
            pending: deque = deque()
            try:
                for planned in plan:
                    pending.append(workers.submit(self._fetch, planned))
                    if len(pending) > self.num_workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def _draw_balanced(seed: int, epoch: int, labels: Tensor) -> Tensor:
    """Positions of an epoch's images, (N,): for each a class that has images, then an image of it, both equally likely."""
    generator = np.random.default_rng([BALANCE_STREAM, seed, epoch])
    values = labels.cpu().numpy()
    by_class = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[by_class], return_index=True, return_counts=True)
    drawn = generator.integers(len(counts), size=len(values))
    return torch.from_numpy(by_class[starts[drawn] + generator.integers(counts[drawn])])
