import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_photos
from PIL import Image

from lit_cnn.data import ImageFolder
from lit_cnn.data.archive import unpack
from lit_cnn.data.files import FileImages
from lit_cnn.data.reading import read_image


def splits_of(data: ImageFolder) -> dict[str, list[str]]:
    data.setup("fit")
    data.setup("test")
    return {name: [split.name(i) for i in range(len(split.labels))] for name, split in data.splits.items()}


def test_a_flat_folder_is_carved_into_three_parts(photos: Path):
    splits = splits_of(ImageFolder(str(photos), image_size=16, val_fraction=0.2, test_fraction=0.2))
    assert {name: len({Path(file).parent for file in files}) for name, files in splits.items()} == dict.fromkeys(splits, 3)
    assert len(splits["train"]) > 30
    files = [file for part in splits.values() for file in part]
    assert sorted(files) == sorted(str(p) for p in photos.rglob("*.*"))
    other = splits_of(ImageFolder(str(photos), image_size=16, val_fraction=0.2, test_fraction=0.2, seed=9))
    assert other["test"] == splits["test"]
    assert other["val"] != splits["val"]


def test_own_split_folders_are_used_and_missing_ones_carved(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 20)
    write_photos(tmp_path / "val", ("a", "b"), 3)
    splits = splits_of(ImageFolder(str(tmp_path), image_size=16))
    assert len(splits["val"]) == 6
    assert all("/val/" in file for file in splits["val"])
    assert len(splits["train"]) + len(splits["test"]) == 40
    assert 2 <= len(splits["test"]) < 10
    write_photos(tmp_path / "test", ("a", "b"), 2)
    splits = splits_of(ImageFolder(str(tmp_path), image_size=16))
    assert len(splits["train"]) == 40
    assert all("/test/" in file for file in splits["test"])


def test_files_in_memory_and_on_disk_are_the_same_images(photos: Path):
    in_memory, on_disk = (
        ImageFolder(str(photos), image_size=16, memory_gb=gb, cache_dir=None, flip=False) for gb in (1.0, 0.0)
    )
    for data in (in_memory, on_disk):
        data.setup("fit")
    assert isinstance(on_disk.splits["train"].images, FileImages)
    assert not isinstance(in_memory.splits["train"].images, FileImages)
    for ours, theirs in zip(in_memory.train_dataloader(), on_disk.train_dataloader(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert in_memory.preprocessing == on_disk.preprocessing


def test_grey_and_colour_are_told_apart(tmp_path: Path, photos: Path):
    write_photos(tmp_path / "grey", ("a", "b"), 10, grey=True)
    assert ImageFolder(str(tmp_path / "grey")).channels == 1
    assert ImageFolder(str(photos)).channels == 3
    assert ImageFolder(str(photos), channels=1).channels == 1


def test_a_tga_counts_when_grey_and_colour_are_told_apart(tmp_path: Path):
    write_photos(tmp_path, ("a", "b"), 3, grey=True)
    for name in ("a", "b"):
        for number in range(5):
            Image.new("RGB", (8, 8), (200, number, 0)).save(tmp_path / name / f"{number}.TGA")
    assert ImageFolder(str(tmp_path), cache_dir=None).channels == 3


def test_mean_and_std_are_those_of_the_training_images(photos: Path):
    data = ImageFolder(str(photos), image_size=16)
    data.setup("fit")
    pixels = data.splits["train"].fetch(torch.arange(len(data.splits["train"].labels))).double() / 255
    assert data.preprocessing.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    assert data.preprocessing.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist())


def test_reading_takes_the_central_square_in_the_right_orientation(tmp_path: Path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:20, 20:60, 0] = 255  # the upper half of the central square is red
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180°
    Image.fromarray(pixels).save(tmp_path / "up.png")
    Image.fromarray(pixels).rotate(180).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "up.png", 20, 3)
    assert image.shape == (3, 20, 20)
    # The resize blurs across the edges.
    assert image[0, :9, 1:-1].eq(255).all()
    assert image[0, 11:].eq(0).all()
    assert torch.equal(read_image(tmp_path / "turned.png", 20, 3), image)


def test_sixteen_bit_and_palette_images_keep_their_brightness(tmp_path: Path):
    Image.fromarray(np.full((9, 9), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((9, 9, 3), 128, np.uint8)).quantize(8).save(tmp_path / "palette.png")
    for name in ("deep.png", "palette.png"):
        for channels in (1, 3):
            assert (read_image(tmp_path / name, 9, channels).int() - 128).abs().max() <= 1


def test_bad_folders_are_refused(tmp_path: Path, photos: Path):
    def error(folder: Path) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the message
            ImageFolder(str(folder)).setup("fit")
        return str(caught.value)

    assert "does not exist" in error(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds 0 class folders" in error(tmp_path / "empty")
    (photos / "dog").mkdir()
    assert "dog holds no image" in error(photos)


def test_a_level_too_many_is_not_taken_for_classes(tmp_path: Path):
    write_photos(tmp_path / "a" / "val", ("x", "y"), 5)
    write_photos(tmp_path / "a" / "test", ("x", "y"), 5)
    with pytest.raises(ValueError, match="holds val and test but no train"):
        ImageFolder(str(tmp_path / "a")).setup("fit")
    write_photos(tmp_path / "b" / "first", ("x", "y"), 5)
    write_photos(tmp_path / "b" / "second", ("x", "y"), 5)
    with pytest.raises(ValueError, match="are the classes one level deeper"):
        ImageFolder(str(tmp_path / "b")).setup("fit")


def test_folders_within_a_class_are_part_of_it(tmp_path: Path):
    write_photos(tmp_path, ("x", "y"), 10)
    write_photos(tmp_path / "x", ("outdoors",), 4)
    data = ImageFolder(str(tmp_path), image_size=8)
    data.setup("fit")
    assert data.class_names == ("x", "y")
    assert sum("outdoors" in split.name(i) for split in data.splits.values() for i in range(len(split.labels))) > 0


def test_classes_must_be_the_same_in_every_split(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 20)
    write_photos(tmp_path / "val", ("b", "c"), 2)
    with pytest.raises(ValueError, match=r"val differ .*; missing: a; not in training: c"):
        ImageFolder(str(tmp_path)).setup("fit")


def test_other_classes_in_the_test_split_are_found_before_training(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 20)
    write_photos(tmp_path / "test", ("a", "b", "c"), 2)
    with pytest.raises(ValueError, match=r"test differ .*; not in training: c"):
        ImageFolder(str(tmp_path)).setup("fit")


def test_test_images_without_labels_matter_only_to_a_test(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 20)
    write_photos(tmp_path / "test", ("unknown",), 2)
    data = ImageFolder(str(tmp_path), image_size=8)
    with pytest.warns(UserWarning, match="2 in a test set without classes"):
        data.setup("fit")
    with pytest.raises(ValueError, match="test holds 1 class folders, but a classifier needs at least two"):
        data.setup("test")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_broken_file_is_named(photos: Path, content: bytes | None):
    victim = photos / "bee" / "5.jpg"
    victim.write_bytes(victim.read_bytes()[:200] if content is None else content)
    data = ImageFolder(str(photos), image_size=16, memory_gb=0, cache_dir=None)

    def read_everything() -> None:
        assert data.channels == 3
        for stage, splits in (("fit", ("train", "val")), ("test", ("test",))):
            data.setup(stage)
            for split in splits:
                list(data._loader(split))

    with pytest.raises(ValueError, match=r"bee/5\.jpg"):
        read_everything()


def test_a_folder_gives_the_dataset_its_name(photos: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.make_archive(str(photos.with_name("Holiday 2026")), "gztar", photos)
    monkeypatch.chdir(photos)
    archive = photos.with_name("Holiday 2026.tar.gz")
    cache = str(photos.with_name("cache"))
    names = [ImageFolder(place, cache_dir=cache).name for place in (photos, f"{photos}/", ".", archive)]
    assert names == ["photos", "photos", "photos", "Holiday 2026"]


def test_without_a_cache_an_archive_is_unpacked_into_a_private_folder_that_goes(photos: Path, tmp_path: Path):
    archive = shutil.make_archive(str(photos.with_name("holiday")), "gztar", photos)
    shared = tmp_path / "shared"
    foreign = unpack(Path(archive), shared)  # as another user may have left it
    shutil.rmtree(foreign / "bee")
    program = """
import sys
from lit_cnn.data import ImageFolder
first, again = (ImageFolder(sys.argv[1], cache_dir=None) for _ in range(2))
print(first.data_dir.parent, *first.class_names)
print(oct(first.data_dir.parent.stat().st_mode & 0o777), first.data_dir == again.data_dir)
"""
    command = [sys.executable, "-c", program, archive]
    environment = os.environ | {"TMPDIR": str(shared)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    place, *lines = done.stdout.split(maxsplit=1)
    assert Path(place).parent == shared
    assert lines == ["ant bee cat\n0o700 True\n"]
    assert list(shared.iterdir()) == [foreign]


@pytest.mark.parametrize(
    ("sizes", "lacking"),
    [
        ({"a": 5, "b": 5}, ""),
        ({"a": 60, "b": 3}, ""),
        ({f"{number:02d}": 3 for number in range(30)}, ""),
        ({"a": 20, "b": 1}, r"1 class has .*: b \(no validation image and no test image\)"),
        ({"a": 20, "b": 2, "c": 1}, r"2 classes have .*: b \(.*\), c \("),
    ],
)
def test_small_and_unequal_classes(tmp_path: Path, sizes: dict[str, int], lacking: str):
    for name, size in sizes.items():
        (tmp_path / name).mkdir()
        for number in range(size):
            Image.new("RGB", (8, 8), (int(name, 36) % 256, number, 0)).save(tmp_path / name / f"{number}.png")
    data = ImageFolder(str(tmp_path), image_size=8)
    if lacking:
        with pytest.warns(UserWarning, match=lacking):
            data.setup("fit")
    data.setup("fit")
    counts = data.counts()
    for label, (name, size) in enumerate(sizes.items()):
        assert counts["train"][label] >= 1
        assert all(counts[split][label] >= 1 for split in ("val", "test")) == (size >= 3), name


def test_too_few_images_are_refused_in_plain_words(tmp_path: Path):
    write_photos(tmp_path, ("a", "b"), 2)
    with pytest.raises(ValueError, match="class a has 2 different images to draw from, but needs 3, so that every"):
        ImageFolder(str(tmp_path), image_size=8).setup("fit")
    write_photos(tmp_path, ("c",), 9)
    with pytest.raises(ValueError, match=r"the class a has 2 .* needs 4, .*: add images, make fewer folds, or"):
        ImageFolder(str(tmp_path), image_size=8, num_folds=3, fold=0).setup("fit")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_share_for_a_split_that_is_given_is_refused(tmp_path: Path, split: str):
    for folder in ("train", split):
        write_photos(tmp_path / folder, ("a", "b"), 9)
    ImageFolder(str(tmp_path), image_size=8).setup("fit")
    with pytest.raises(ValueError, match=f"{split}_fraction=0.3 has no effect beside a {split} set: remove one of the two"):
        ImageFolder(str(tmp_path), image_size=8, **{f"{split}_fraction": 0.3}).setup("fit")
