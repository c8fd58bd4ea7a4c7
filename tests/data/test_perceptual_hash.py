"""Images that look alike are found, others are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from lit_cnn.data import perceptual_hash as module
from lit_cnn.data.perceptual_hash import MAX_DISTANCE, NUM_BITS, pairs_alike, perceptual_hash
from lit_cnn.data.reading import Reading


@pytest.fixture(scope="module")
def tiles() -> list[Image.Image]:
    """Twelve different photographs of 213×213 pixels, cut from the two of scikit-learn."""
    return [
        Image.fromarray(photo[top : top + 213, left : left + 213])
        for photo in load_sample_images().images
        for top in (0, 213)
        for left in (0, 213, 426)
    ]


def hash_of(image: Image.Image, quality: int = 95) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    found = perceptual_hash(Reading(64, 3).decode(file)[0])
    assert found is not None
    assert len(found) * 8 == NUM_BITS
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda image: hash_of(image, quality=50),
        lambda image: hash_of(image.resize((107, 107))),
        lambda image: hash_of(image.crop((2, 2, 211, 211))),
        lambda image: hash_of(ImageEnhance.Brightness(image).enhance(1.1)),
        lambda image: hash_of(image.convert("L").convert("RGB")),
    ],
    ids=["quality 50", "half the size", "cropped", "brighter", "grey"],
)
def test_a_changed_copy_looks_like_its_original_and_like_nothing_else(
    tiles: list[Image.Image], change: Callable[[Image.Image], bytes]
):
    hashes = [*map(hash_of, tiles), *map(change, tiles)]
    found = {(int(a), int(b)) for one, other, _ in pairs_alike(hashes) for a, b in zip(one, other, strict=True)}
    assert found == {(number, number + len(tiles)) for number in range(len(tiles))}


@pytest.mark.parametrize("block", [1, 3, 32])
def test_all_pairs_are_found_once_with_their_distance(monkeypatch: pytest.MonkeyPatch, block: int):
    monkeypatch.setattr(module, "BLOCK", block)
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (60, NUM_BITS), dtype=np.uint8)
    for number in range(30, 60):  # like the one before, but for up to 60 bits
        bits[number] = bits[number - 1]
        bits[number, random.permutation(NUM_BITS)[: random.integers(0, 60)]] ^= 1
    distances = (bits[:, None] != bits).sum(axis=2)
    expected = {(i, j): distances[i, j] for i in range(60) for j in range(i + 1, 60) if distances[i, j] <= MAX_DISTANCE}
    assert len(expected) > 15
    found = [
        ((int(i), int(j)), int(distance))
        for parts in pairs_alike([row.tobytes() for row in np.packbits(bits, axis=1)])
        for i, j, distance in zip(*parts, strict=True)
    ]
    assert len(found) == len(expected)
    assert dict(found) == expected


@pytest.mark.parametrize("num_hashes", [0, 1])
def test_few_images_have_no_pairs(num_hashes: int):
    assert sum(len(one) for one, _, _ in pairs_alike([bytes(NUM_BITS // 8)] * num_hashes)) == 0


def test_images_without_contrast_have_no_hash():
    noise = torch.randint(0, 10, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert perceptual_hash(torch.full((3, 64, 64), 255, dtype=torch.uint8)) is None
    assert perceptual_hash(100 + noise) is None
    assert perceptual_hash(100 + 10 * noise) is not None
