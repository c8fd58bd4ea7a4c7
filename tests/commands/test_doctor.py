"""``lit-cnn doctor``: what is found before a long training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, write_fashion_mnist, write_photos
from PIL import Image
from sklearn.datasets import load_sample_images

from lit_cnn.commands import doctor, examine


def findings(lit_cnn: Command, data: Path | str, *options: str, status: int = 0) -> dict[str, dict[str, Any]]:
    arguments = ["doctor", "--data", data, "--json", "--model", "resnet", "--image_size", "32", *options]
    done = lit_cnn(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return {finding["subject"]: finding for finding in json.loads(done.stdout)}


def test_a_good_folder(photos: Path, lit_cnn: Command):
    found = findings(lit_cnn, photos)
    assert {finding["level"] for finding in found.values()} <= {"ok", "warning"}
    assert found["files"]["text"] == "all 60 can be decoded"
    assert found["duplicates"]["level"] == "ok"
    assert found["lookalikes"]["level"] == "ok"
    assert found["train"]["details"].keys() == {"ant", "bee", "cat"}
    assert found["cost"]["details"]["seconds_per_epoch"] > 0
    assert found["cost"]["details"]["memory_bytes"] > 10**8
    assert found["precision"]["details"]["precision"] in ("32-true", "bf16-mixed")
    assert found["precision"]["details"]["bfloat16_gain"] > 0
    assert (
        found["checkpoints"]["details"]["bytes"] > (3 * 2 + 1) * 4 * 11_000_000
    )  # three of weights and momentum, one of weights


def test_unreadable_files_are_named_and_fail(photos: Path, lit_cnn: Command):
    whole = (photos / "ant" / "1.jpg").read_bytes()
    (photos / "ant" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "bee" / "empty.png").touch()
    found = findings(lit_cnn, photos, status=1)
    assert found["files"]["level"] == "error"
    assert found["files"]["details"]["files"].keys() == {str(photos / "ant" / "cut.jpg"), str(photos / "bee" / "empty.png")}


def test_what_is_left_out_is_named(photos: Path, lit_cnn: Command):
    lenet = "--model", "lenet", "--image_size", "28"  # the quickest
    assert findings(lit_cnn, photos, *lenet)["omitted"]["text"] == "nothing is left out"
    (photos / "ant" / "notes.txt").touch()
    (photos / ".cache").mkdir()
    found = findings(lit_cnn, photos, *lenet)["omitted"]
    assert (found["level"], found["text"]) == (
        "ok",
        "left out: 1 hidden, 1 .txt: .cache (hidden), ant/notes.txt (without the ending of an image)",
    )
    for number in range(7):
        (photos / "bee" / f"{number}.HEIC").touch()
    (photos / "bee" / "1.jpg").rename(photos / "bee" / "no_ending")
    found = findings(lit_cnn, photos, *lenet)["omitted"]
    assert found["level"] == "warning"
    assert found["text"].startswith(
        "left out: 7 .heic, 1 hidden, 1 .txt, 1 without an ending: bee/0.HEIC (in a format that is not read)"
    )
    assert found["text"].endswith(" and 3 more; images without an ending like .jpg: bee/no_ending")
    assert len(found["details"]["files"]) == 10


def test_duplicates_within_and_across_splits_and_classes(tmp_path: Path, lit_cnn: Command):
    for split in ("train", "val", "test"):
        write_photos(tmp_path / split, ("ant", "bee"), 8)
    for split, turn in (
        ("val", Image.Transpose.ROTATE_180),
        ("test", Image.Transpose.FLIP_LEFT_RIGHT),
    ):  # write_photos draws the same for each split
        for path in (tmp_path / split).rglob("*.*"):
            with Image.open(path) as image:
                changed = image.transpose(turn)
            changed.save(path)
    (tmp_path / "train" / "ant" / "copy.jpg").write_bytes((tmp_path / "train" / "ant" / "1.jpg").read_bytes())
    shutil.copy(tmp_path / "train" / "ant" / "3.jpg", tmp_path / "test" / "ant" / "leaked.jpg")
    shutil.copy(tmp_path / "train" / "bee" / "5.jpg", tmp_path / "train" / "ant" / "doubtful.jpg")
    found = findings(lit_cnn, tmp_path)
    train = tmp_path / "train"
    leaked = [str(train / "ant" / "3.jpg"), str(tmp_path / "test" / "ant" / "leaked.jpg")]
    doubtful = [str(train / "ant" / "doubtful.jpg"), str(train / "bee" / "5.jpg")]
    assert found["leakage"]["details"]["files"] == [leaked]
    assert found["leakage"]["level"] == "warning"
    assert found["leakage"]["text"] == (
        f"1 image in more than one split: the network is evaluated on what it was trained on: {' = '.join(leaked)}"
    )
    assert found["lookalikes"]["details"]["num_pairs"] == 0  # exact copies are named once
    assert found["labels"]["details"]["files"] == [doubtful]
    assert [str(train / "ant" / "1.jpg"), str(train / "ant" / "copy.jpg")] in found["duplicates"]["details"]["files"]
    assert len(found["duplicates"]["details"]["files"]) == 3


def test_groups_across_splits(tmp_path: Path, lit_cnn: Command):
    for split in ("train", "val", "test"):
        write_photos(tmp_path / split, ("ant", "bee"), 8)
    told = findings(lit_cnn, tmp_path, "--group_by", "([0-9])")["groups"]
    assert told["level"] == "warning"
    assert told["text"].startswith("8 groups in more than one split (")
    assert "groups" not in findings(lit_cnn, tmp_path, "--group_by", "(.*)")


def test_near_duplicates_are_reported_with_their_splits_and_classes(tmp_path: Path, lit_cnn: Command):
    photos = iter(
        Image.fromarray(photo[top : top + 213, left : left + 213])
        for photo in load_sample_images().images
        for top in (0, 213)
        for left in (0, 213, 426)
    )
    for split in ("train", "val", "test"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                next(photos).save(tmp_path / split / name / f"{number}.jpg")
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "ant" / "0.jpg", train / "ant" / "exact.jpg")
    with Image.open(train / "ant" / "1.jpg") as image:
        image.save(train / "bee" / "again.jpg", quality=60)
    with Image.open(train / "bee" / "0.jpg") as image:
        image.resize((150, 150)).save(test / "bee" / "smaller.png")
    for number in range(30):
        Image.new("RGB", (64, 64), (number, number, number)).save(train / "ant" / f"plain{number}.png")
    found = findings(lit_cnn, tmp_path)["lookalikes"]
    assert found["level"] == "warning"
    pairs = {tuple(pair.pop("files")): pair for pair in found["details"]["pairs"]}
    across = str(train / "bee" / "0.jpg"), str(test / "bee" / "smaller.png")
    within = str(train / "ant" / "1.jpg"), str(train / "bee" / "again.jpg")
    assert list(pairs) == [across, within]
    assert 0 <= pairs[across].pop("distance") <= 56
    assert pairs[across] == {"splits": ["train", "test"], "classes": ["bee", "bee"]}
    assert pairs[within]["classes"] == ["ant", "bee"]
    assert found["details"]["num_pairs"] == 2
    assert len(found["details"]["not_compared"]) == 30
    assert found["text"].startswith(
        "2 pairs of images look alike, 1 across splits, 1 across classes; 30 without contrast are not compared: "
        f"{across[0]} (train, bee) ≈ {across[1]} (test, bee), distance "
    )


def test_balance_modes_and_sizes(tmp_path: Path, lit_cnn: Command):
    write_photos(tmp_path, ("common",), 80)
    write_photos(tmp_path, ("rare",), 5, grey=True)
    (tmp_path / "single").mkdir()
    Image.new("RGB", (64, 64), (9, 99, 0)).save(tmp_path / "single" / "1.png")
    found = findings(lit_cnn, tmp_path, "--model", "lenet", "--image_size", "28")
    for split in ("val", "test"):
        assert found[split]["level"] == "warning"
        assert "nothing is measured of single" in found[split]["text"]
    assert found["train"]["level"] == "warning"
    assert "data.balance" in found["train"]["text"]
    assert found["modes"]["level"] == "warning"
    assert found["modes"]["details"] == {"RGB": 81, "L": 5}
    assert found["sizes"]["level"] == "warning"
    assert 0 < len(found["sizes"]["details"]["files"]) < 85


@pytest.mark.parametrize(
    ("options", "subject", "message"),
    [
        (("--model", "lenet", "--image_size", "8"), "network", "lenet cannot take images of 8×8; it takes"),
        (("--runs_dir", "/proc/runs"), "checkpoints", "checkpoints cannot be written to /proc"),
    ],
)
def test_what_would_fail(lit_cnn: Command, options: tuple[str, ...], subject: str, message: str):
    found = findings(lit_cnn, "Digits", *options, status=1)
    assert found[subject]["level"] == "error"
    assert message in found[subject]["text"]


def test_too_little_memory(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examine, "free_memory", lambda: 10**6)
    found = findings(lit_cnn, "Digits", status=1)
    assert "but 1.0 MB are free" in found["cost"]["text"]


def test_a_batch_that_does_not_fit(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    def too_much(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nTry something else.")

    monkeypatch.setattr(examine, "_step", too_much)
    found = findings(lit_cnn, "Digits", status=1)
    assert found["cost"]["text"] == "there is not enough memory (CUDA out of memory): make --data.batch_size smaller"


@pytest.mark.parametrize("model", ["lenet", "LitLeNet"])
@pytest.mark.parametrize("data", ["Digits", "digits"])
def test_datasets_and_networks_have_several_names(lit_cnn: Command, data: str, model: str):
    found = findings(lit_cnn, data, "--model", model, "--image_size", "28")
    assert found["cost"]["level"] == "ok"


def test_a_dataset_in_another_folder(lit_cnn: Command, tmp_path: Path):
    write_fashion_mnist(tmp_path / "my files", 400, 20)
    options = ("--data_dir", "my files", "--model", "lenet", "--image_size", "28")
    assert findings(lit_cnn, "fashion_mnist", *options)["train"]["text"].startswith("360 images of 10 classes")


def test_an_archive(photos: Path, lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # where archives are unpacked
    shutil.make_archive(str(tmp_path / "my photos"), "zip", photos)
    assert findings(lit_cnn, "my photos.zip")["files"]["text"] == "all 60 can be decoded"


def test_what_is_no_data(lit_cnn: Command, tmp_path: Path):
    text = findings(lit_cnn, "fashion_mnits", status=1)["data"]["text"]
    assert "there is no dataset, folder, archive or table fashion_mnits; did you mean fashion_mnist?" in text
    assert "holds 0 class folders" in findings(lit_cnn, tmp_path, status=1)["data"]["text"]
    text = findings(lit_cnn, "Digits", "--image_size", "0", status=1)["data"]["text"]
    assert text == "image_size must be at least 1, got 0"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("digits", ("--data_dir", "photos"), "Digits reads no files"),
        ("fake_images", ("--data_dir", "photos"), "FakeImages reads no files"),
        ("photos", ("--data_dir", "photos"), "--data photos is a folder or an archive already: remove --data_dir photos"),
        ("ImageFolder", (), "ImageFolder needs a folder: --data photos/"),
        (
            "mnist",
            ("--data_dir", "photos", "--resize", "pad"),
            "--resize is for folders and tables of images, not for mnist",
        ),
    ],
)
def test_a_folder_too_many_or_too_few(photos: Path, lit_cnn: Command, data: str, options: tuple[str, ...], message: str):
    assert photos.name == "photos"
    assert message in findings(lit_cnn, data, *options, status=1)["data"]["text"]


SUBJECTS = [
    "omitted",
    "files",
    "duplicates",
    "lookalikes",
    "modes",
    "sizes",
    "proportions",
    "train",
    "val",
    "test",
    "processors",
    "precision",
    "cost",
    "checkpoints",
]


def test_for_people(photos: Path, lit_cnn: Command):
    done = lit_cnn("doctor", "--data", photos, "--model", "lenet", "--image_size", "28")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == SUBJECTS
    # Columns that begin at the same place.
    assert {line.index(subject) for line, subject in zip(lines, SUBJECTS, strict=True)} == {9}
    assert all(line[21] == " " != line[22] for line in lines)


def test_help_and_errors_in_options_need_no_torch(capsys: pytest.CaptureFixture[str]):
    program = "import lit_cnn.commands.doctor, sys; print({'torch', 'pytorch_lightning', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(SystemExit):
        doctor.main(["doctor", "--data", "digits", "--imagesize", "28"])
    assert "unknown option --imagesize; did you mean --image_size?" in capsys.readouterr().err


def test_photos_are_read_as_training_will_read_them(photos: Path, lit_cnn: Command):
    lenet = "--model", "lenet", "--image_size", "28"
    wide = np.full((20, 400, 3), 200, np.uint8)
    wide[:, :40] = 30
    for number in range(3):
        Image.fromarray(wide + np.uint8(number)).save(photos / "ant" / f"wide_{number}.png")
    cut = findings(lit_cnn, photos, *lenet)["proportions"]
    assert cut["level"] == "warning"
    whole = findings(lit_cnn, photos, *lenet, "--resize", "pad", "--background", "black")["proportions"]
    assert whole["text"] != cut["text"]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--resize", "stretch", "resize must be crop or squash or pad, got 'stretch'"),
        ("--background", "pink", "background must be white or black, got 'pink'"),
        ("--value_range", "[7,3]", "value_range must be two numbers, the lower one first, got 7 and 3"),
    ],
)
def test_a_reading_that_there_is_not_is_refused(photos: Path, lit_cnn: Command, option: str, value: str, says: str):
    assert findings(lit_cnn, photos, option, value, status=1)["data"]["text"] == says
    assert findings(lit_cnn, "digits", option, value.replace("7,3", "3,7"), status=1)["data"]["text"].startswith(
        f"{option} is for folders and tables of images"
    )


@pytest.mark.parametrize("value", ["abc", "5", "1,2,3", ""])
def test_a_range_of_values_is_two_numbers(lit_cnn: Command, value: str):
    done = lit_cnn("doctor", "--data", "photos", f"--value_range={value}")
    assert done.returncode == 2
    assert f"--data.value_range: expected two numbers such as [0,4095], got {value}" in done.stderr
