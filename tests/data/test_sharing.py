from pathlib import Path

import pytest
from conftest import write_fashion_mnist, write_photos

from lit_cnn.data import Digits, FashionMNIST, ImageFolder
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.sharing import read_once, sharing_images


def test_what_is_read_in_a_context_is_read_once():
    read: list[int] = []

    def count() -> int:
        read.append(1)
        return len(read)

    assert [read_once("a", count) for _ in range(2)] == [1, 2]
    with sharing_images():
        assert [read_once("a", count) for _ in range(2)] == [3, 3]
        assert read_once("b", count) == 4
    assert read_once("a", count) == 5


@pytest.mark.parametrize("kind", ["digits", "fashion_mnist", "photos"])
def test_seeds_share_pixels_and_draw_their_own_splits(tmp_path: Path, kind: str):
    write_photos(tmp_path / "photos", ("ant", "bee"), 10)
    write_fashion_mnist(tmp_path, 64, 20)

    def make(seed: int) -> ImageDataModule:
        if kind == "photos":
            data = ImageFolder(str(tmp_path / "photos"), image_size=28, seed=seed, cache_dir=None, num_workers=0)
        elif kind == "digits":
            data = Digits(seed=seed)
        else:
            data = FashionMNIST(str(tmp_path), seed=seed)
        data.setup("fit")
        return data

    def pixels(data: ImageDataModule) -> int:
        images = data.splits["val"]
        while hasattr(images, "images"):
            images = images.images
        return images.pixels.data_ptr()

    def names(data: ImageDataModule) -> list[str]:
        images = data.splits["val"]
        return [images.name(position) for position in range(len(images.labels))]

    alone = [make(seed) for seed in (0, 1)]
    with sharing_images():
        together = [make(seed) for seed in (0, 1)]
    assert [names(data) for data in together] == [names(data) for data in alone]
    assert [data.digest for data in together] == [data.digest for data in alone]
    assert names(together[0]) != names(together[1])
    assert pixels(together[0]) == pixels(together[1])
    assert pixels(alone[0]) != pixels(alone[1])
