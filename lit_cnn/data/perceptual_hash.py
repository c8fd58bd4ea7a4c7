"""Finds images that look alike: re-encoded, resized, cropped a little or made brighter."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lit_cnn.system.processors import usable_processors

# Side of the square of frequencies that are compared; a hash has its square of bits.
HASH_SIZE = 16
NUM_BITS = HASH_SIZE**2
# Largest distance of images that look alike.
MAX_DISTANCE = 56
# Lowest standard deviation of the grey values, of 255. Plainer images have the same hash, or one of rounding errors.
MIN_CONTRAST = 4.0
# An image of this height and width is not resized for its hash.
MIN_SIDE = 4 * HASH_SIZE
# Hashes that are compared with all others at a time: what is computed for them fits into a processor's cache.
BLOCK = 32


def perceptual_hash(image: Tensor) -> bytes | None:
    """The signs of an image's low frequencies, see :func:`imagehash.phash`.

    Args:
        image: uint8 (3, H, W).

    Returns:
        :data:`NUM_BITS` bits; None for an image with too little contrast.
    """
    grey = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
    grey = grey.resize((MIN_SIDE, MIN_SIDE), Image.Resampling.LANCZOS)  # what imagehash would do first
    if np.asarray(grey).std() < MIN_CONTRAST:
        return None
    return np.packbits(imagehash.phash(grey, HASH_SIZE).hash).tobytes()


def pairs_alike(hashes: list[bytes]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]]:
    """All pairs with at most :data:`MAX_DISTANCE` different bits.

    Yields:
        For some of the images at a time: positions of the first images, of the second ones, and their distances, each (n,).
    """
    words = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, NUM_BITS // 64)
    # Most pairs differ too much already in half of the bits.
    halves = [np.ascontiguousarray(words[:, columns].T) for columns in (slice(0, 2), slice(2, 4))]
    num_workers = usable_processors()
    with ThreadPoolExecutor(num_workers) as workers:
        # Not all blocks at once: if all images are alike, the pairs of a few blocks fill the memory.
        for start in range(0, len(hashes), num_workers * BLOCK):
            blocks = range(start, min(start + num_workers * BLOCK, len(hashes)), BLOCK)
            yield from workers.map(partial(_compare, *halves), blocks)


def _compare(
    first_half: NDArray[np.uint64], second_half: NDArray[np.uint64], start: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    rows = slice(start, start + BLOCK)
    # (2, rows, columns) of words; no sum exceeds the 128 bits of a half.
    distances = _distances(first_half[:, rows, None], first_half[:, None, start:])
    one, other = np.nonzero(distances <= MAX_DISTANCE)
    later = other > one
    one, other = one[later] + start, other[later] + start
    total = _distances(first_half[:, one], first_half[:, other]).astype(np.uint16)
    total += _distances(second_half[:, one], second_half[:, other])
    alike = total <= MAX_DISTANCE
    return one[alike], other[alike], total[alike].astype(np.uint8)


def _distances(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Different bits of two words, each (2, …)."""
    return np.bitwise_count(one[0] ^ other[0]) + np.bitwise_count(one[1] ^ other[1])
