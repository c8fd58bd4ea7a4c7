"""A run's own images stay in their splits, whatever happens to the folder."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import Command, write_photos
from PIL import Image
from pytorch_lightning import Trainer

from lit_cnn import LitLeNet
from lit_cnn.data import FakeImages, ImageFolder
from lit_cnn.data.contents import following_run
from lit_cnn.data.manifest import Manifest


def folder_of(photos: Path, **arguments: object) -> ImageFolder:
    return ImageFolder(str(photos), **{"image_size": 16, "cache_dir": None} | arguments)


def names_in(data: ImageFolder, *splits: str) -> dict[str, set[str]]:
    """File names by split."""
    for stage in {"test" if split == "test" else "fit" for split in splits}:
        data.setup(stage)
    return {s: {data.splits[s].name(i) for i in range(len(data.splits[s].labels))} for s in splits}


@pytest.fixture
def manifest(photos: Path, tmp_path: Path) -> Path:
    """The manifest of a run on the photos."""
    folder_of(photos).write_manifest(tmp_path / "data.json")
    return tmp_path / "data.json"


def add_photos(photos: Path) -> None:
    for file in list(photos.rglob("[0-5].jpg")):
        with Image.open(file) as image:
            image.rotate(90, expand=True).save(file.with_name(f"0 {file.name}"))


def test_a_manifest_is_read_as_it_was_written(photos: Path, manifest: Path):
    data = folder_of(photos)
    assert Manifest.read(manifest) == data.manifest
    content = json.loads(manifest.read_text(encoding="utf-8"))
    assert content["digest"] == data.digest
    assert content["test_digest"] == data.test_digest
    assert sum(content["counts"].values()) == len(content["files"]) == 60
    path, size, digest, class_name, group, split = content["files"][0]
    assert (path, size, class_name, group) == ("ant/0.png", (photos / path).stat().st_size, "ant", None)
    assert len(digest) == 32
    assert split in content["counts"]


def test_a_damaged_manifest_of_no_files_is_named(tmp_path: Path):
    (tmp_path / "data.json").write_text('{"format": 1, "dataset": "digits", "classes": ["0", "1"]}')
    with pytest.raises(ValueError, match=r"data\.json cannot be read as a manifest of data \('channels'\)"):
        Manifest.of_no_files(tmp_path / "data.json")


def test_images_that_came_later_are_named_and_left_out(photos: Path, manifest: Path):
    before = names_in(folder_of(photos), "train", "val", "test")
    add_photos(photos)
    data = folder_of(photos, manifest=str(manifest))
    with pytest.warns(UserWarning, match=r"9 images added after the run began, left out: ant/0 1\.jpg, .* and 6 more"):
        assert names_in(data, "train", "val", "test") == before


def test_a_new_class_is_left_out_too(photos: Path, manifest: Path):
    write_photos(photos, ("dog",), 5)
    data = folder_of(photos, manifest=str(manifest))
    with pytest.warns(UserWarning, match="5 images added after the run began, left out: dog/0.png"):
        assert data.class_names == ("ant", "bee", "cat")


def test_without_a_manifest_the_new_images_move_no_old_one(photos: Path):
    before = names_in(folder_of(photos), "train", "val", "test")
    add_photos(photos)
    after = names_in(folder_of(photos), "train", "val", "test")
    assert {split: before[split] <= after[split] for split in before} == dict.fromkeys(before, True)


def test_renaming_changes_nothing(photos: Path, manifest: Path):
    before = folder_of(photos)
    splits = {entry.digest: entry.split for entry in before.manifest.entries}
    for number, file in enumerate(sorted(photos.rglob("*.*"))):
        file.rename(file.with_stem(f"renamed {number * 7 % 61}"))
    for after in (folder_of(photos), folder_of(photos, manifest=str(manifest))):
        assert {entry.digest: entry.split for entry in after.manifest.entries} == splits
        assert (after.digest, after.test_digest) == (before.digest, before.test_digest)
        assert len(names_in(after, "train")["train"]) == sum(before.counts()["train"])


@pytest.mark.parametrize("change", ["missing", "changed", "now bee"])
def test_changed_and_missing_images_of_the_split_in_use_are_an_error(photos: Path, manifest: Path, change: str):
    victim = next(entry for entry in Manifest.read(manifest).entries if entry.split == "test").path
    (photos / victim).rename(photos / "bee" / "moved.png")
    if change != "now bee":
        (photos / "bee" / "moved.png").unlink()
    if change == "changed":
        Image.new("RGB", (30, 30)).save(photos / victim)
    total = len(Manifest.read(manifest).of("test"))
    told = rf"1 of the run's {total} test images differ: {re.escape(victim)} \({change}\)"
    with pytest.raises(ValueError, match=f"^{told}; put them back as they were, or leave them out with --data.on_bad_image"):
        folder_of(photos, manifest=str(manifest)).setup("test")
    with pytest.warns(UserWarning, match=told):  # the images of the training are all there
        folder_of(photos, manifest=str(manifest)).setup("fit")
    data = folder_of(photos, manifest=str(manifest), on_bad_image="skip")
    with pytest.warns(UserWarning, match=f"{told}; they are left out"):
        data.setup("test")
    assert len(data.splits["test"].labels) == total - 1


def test_a_class_that_unicode_spells_otherwise_is_shown_with_escapes(tmp_path: Path):
    photos = tmp_path / "photos"
    write_photos(photos, ("ant", "bee", "caf\u00e9"), 10)
    folder_of(photos).write_manifest(tmp_path / "data.json")
    (photos / "caf\u00e9").rename(photos / "moved")
    (photos / "moved").rename(photos / "cafe\u0301")
    with pytest.raises(ValueError, match=r"\(now 'cafe\\u0301', before 'caf\\xe9'\)"):
        folder_of(photos, manifest=str(tmp_path / "data.json")).setup("fit")


def test_only_the_images_of_the_split_in_use_need_be_there(photos: Path, manifest: Path):
    tests = {entry.path for entry in Manifest.read(manifest).of("test")}
    for file in photos.rglob("*.*"):
        if str(file.relative_to(photos)) not in tests:
            file.unlink()
    data = folder_of(photos, manifest=str(manifest))
    with pytest.warns(UserWarning, match="training and validation images differ"):
        data.setup("test")
    assert (data.channels, data.class_names) == (3, ("ant", "bee", "cat"))
    assert len(data.splits["test"].labels) == len(tests)


def test_another_folder_is_told_from_a_changed_one(photos: Path, manifest: Path, tmp_path: Path):
    write_photos(tmp_path / "others", ("ant", "bee", "cat"), 10)
    (tmp_path / "others" / "ant" / "shared.png").write_bytes((photos / "ant" / "0.png").read_bytes())
    with following_run(manifest):
        assert folder_of(tmp_path / "others").is_other_data
    with pytest.raises(ValueError, match=r"the images of data\.manifest=.*data\.json are not in .*others"):
        folder_of(tmp_path / "others", manifest=str(manifest)).setup("fit")
    photos.rename(tmp_path / "moved")
    moved = folder_of(tmp_path / "moved", manifest=str(manifest))
    assert not moved.is_other_data
    moved.setup("test")


def test_a_training_image_that_is_gone_is_not_needed_to_validate(photos: Path, manifest: Path):
    """So an export, which is compared on the validation images, does without it."""
    gone = Manifest.read(manifest).of("train")[0]
    (photos / gone.path).unlink()
    with following_run(manifest):
        data, trained = folder_of(photos), folder_of(photos)
    with pytest.warns(UserWarning, match="1 of the run's .* images differ"):
        data.setup("validate")
    assert len(data.splits["train"].labels) == len(Manifest.read(manifest).of("train")) - 1
    with pytest.raises(ValueError, match="put them back as they were, or start a new run"):
        trained.setup("fit")


def test_images_that_a_run_knows_do_not_test_it_in_another_folder(photos: Path, manifest: Path, tmp_path: Path):
    content = Manifest.read(manifest)
    known, unseen = [*content.of("train")[:3], *content.of("val")[:1]], content.of("test")[:2]
    for entry in (*known, *unseen):
        copy = tmp_path / "others" / entry.class_name / f"copy of {Path(entry.path).name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / entry.path, copy)
    with following_run(manifest):
        data = folder_of(tmp_path / "others")
    with pytest.warns(UserWarning, match="4 images that the run was trained or validated with, left out: .*copy of"):
        data.setup("test")
    assert len(data.splits["test"].labels) == 2
    for entry in unseen:
        (tmp_path / "others" / entry.class_name / f"copy of {Path(entry.path).name}").unlink()
    with following_run(manifest), pytest.raises(ValueError, match="are training or validation images of the run"):
        folder_of(tmp_path / "others").setup("test")


def test_images_that_were_encoded_anew_are_not_another_dataset(photos: Path, manifest: Path):
    for number, file in enumerate(sorted(photos.rglob("*.*"))):
        with Image.open(file) as image:
            image.rotate(180).save(file.with_suffix(".bmp") if number % 2 else file)
        if number % 2 or number == 6:
            file.unlink()
    with following_run(manifest):
        data = folder_of(photos)
    assert not data.is_other_data
    with pytest.raises(
        ValueError, match=r"of the run's \d+ test images differ: .*give the folder, archive or table another name"
    ):
        data.setup("test")
    photos.rename(photos.with_name("other recording"))
    with following_run(manifest):
        assert folder_of(photos.with_name("other recording")).is_other_data


def test_the_splits_of_a_manifest_are_not_drawn_otherwise(photos: Path, manifest: Path):
    for arguments in ({"num_folds": 3, "fold": 0}, {"group_by": "(.)"}, {"val_fraction": 0.3}, {"split_seed": 4}):
        with pytest.raises(ValueError, match="the splits are those of the manifest: remove "):
            folder_of(photos, manifest=str(manifest), **arguments)


def test_links_to_folders_are_followed_in_every_command(photos: Path, manifest: Path, tmp_path: Path):
    (tmp_path / "links").mkdir()
    for name in ("ant", "bee", "cat"):
        (tmp_path / "links" / name).symlink_to(photos / name)
    linked = folder_of(tmp_path / "links", manifest=str(manifest))
    assert linked.manifest.contents() == Manifest.read(manifest).contents()
    linked.setup("test")


def test_images_that_were_moved_to_another_split_are_named(tmp_path: Path):
    photos = tmp_path / "split"
    for split, number in (("train", 12), ("test", 4)):
        write_photos(photos / split, ("a", "b"), number)
    folder_of(photos).write_manifest(tmp_path / "data.json")
    before = names_in(folder_of(photos), "test")["test"]
    (photos / "train" / "a" / "0.png").rename(photos / "test" / "a" / "moved.png")
    said = r"1 image moved to another split; the run keeps its own: test/a/moved\.png \((train|val), now in test\)"
    with pytest.warns(UserWarning, match=said):
        assert names_in(folder_of(photos, manifest=str(tmp_path / "data.json")), "test")["test"] == before


def test_a_deleted_copy_of_another_class_is_missing(photos: Path, tmp_path: Path):
    copy = photos / "bee" / "copy.png"
    copy.write_bytes((photos / "ant" / "0.png").read_bytes())
    folder_of(photos).write_manifest(tmp_path / "data.json")
    copy.unlink()
    with pytest.raises(ValueError, match=r"bee/copy\.png \(missing\)"):
        folder_of(photos, manifest=str(tmp_path / "data.json")).contents.usable("train", "val", "test", may_skip=False)


def test_files_that_were_left_out_are_not_new(photos: Path, tmp_path: Path):
    (photos / "ant" / "bad.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 61 files cannot be decoded"):
        folder_of(photos, on_bad_image="skip").write_manifest(tmp_path / "data.json")
    assert folder_of(photos, manifest=str(tmp_path / "data.json")).contents.match.new == []


def test_a_class_without_a_readable_image_is_named(photos: Path):
    for file in (photos / "bee").iterdir():
        file.write_bytes(b"no image " + file.name.encode())
    with (
        pytest.warns(UserWarning, match="20 of 60 files cannot be decoded"),
        pytest.raises(ValueError, match="no image of the class bee can be decoded"),
    ):
        folder_of(photos, on_bad_image="skip").setup("fit")


def test_validation_needs_the_validation_images_alone(photos: Path, manifest: Path, trainer: Callable[..., Trainer]):
    victim = photos / Manifest.read(manifest).of("train")[0].path
    victim.unlink()
    data = ImageFolder(str(photos), image_size=28, cache_dir=None, manifest=str(manifest))
    with pytest.warns(UserWarning, match="images differ"):
        trainer().validate(LitLeNet(3, 3), datamodule=data, verbose=False)
    assert len(data.splits["val"].labels) == len(Manifest.read(manifest).of("val"))


def test_images_in_two_splits_chosen_by_hand_are_reported(tmp_path: Path):
    for split, count in (("train", 12), ("test", 4)):
        write_photos(tmp_path / split, ("a", "b"), count)
    (tmp_path / "test" / "a" / "copy.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    with pytest.warns(UserWarning, match=r"1 image in more than one split \(.*a/0.png = test/a/copy.png\)"):
        folder_of(tmp_path).setup("fit")


def test_groups_are_read_from_the_path(tmp_path: Path):
    for patient in range(12):
        write_photos(tmp_path / f"patient{patient}", ("x",), 3)
    photos = tmp_path / "photos"
    for number, file in enumerate(sorted(tmp_path.glob("patient*/x/*.*"))):
        target = photos / ("sick" if number % 2 else "well") / f"{file.parts[-3]}_{file.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    data = folder_of(photos, group_by=r"(patient\d+)_", test_fraction=0.2, val_fraction=0.2)
    splits: dict[str | None, set[str]] = {}
    for entry in data.manifest.entries:
        splits.setdefault(entry.group, set()).add(entry.split)
    assert set(splits) == {f"patient{number}" for number in range(12)}
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}
    for wrong, told in (
        ("(", "is no regular expression"),
        ("patient", "has no group in parentheses"),
        ("(dog)", "in 36 paths"),
    ):
        with pytest.raises(ValueError, match=told):
            folder_of(photos, group_by=wrong).setup("fit")


def test_folds_cover_the_training_images_of_every_dataset(photos: Path):
    for make in (folder_of, lambda _, **arguments: FakeImages(num_images=64, num_classes=3, **arguments)):
        seen: list[int] = []
        for fold in range(3):
            data = make(photos, num_folds=3, fold=fold, seed=0)
            data.setup("fit")
            seen += [int(position) for position in data.splits["val"].index]
        pool = len(data.splits["train"].labels) + len(data.splits["val"].labels)
        assert sorted(seen) == list(range(pool))
    for arguments, told in (
        ({"num_folds": 3}, "belong together"),
        ({"num_folds": 3, "fold": 3}, "at most 2"),
        ({"num_folds": 1, "fold": 0}, "at least 2"),
        ({"num_folds": 30, "fold": 0}, "but needs 31"),
    ):
        with pytest.raises(ValueError, match=told):
            folder_of(photos, **arguments).setup("fit")


def test_the_digest_of_a_dataset_in_memory_follows_from_its_images():
    digests = []
    for num_images in (64, 64, 65):
        data = FakeImages(num_images=num_images, num_classes=3)
        data.setup("fit")
        assert data.test_digest is None  # training does not read the test images
        data.setup("test")
        digests.append((data.digest, data.test_digest))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


# Through the command line


FIT = ("--model", "LitLeNet", "--data.image_size", "28", "--trainer.max_epochs", "1", "--model.schedule", "constant")


def test_a_run_keeps_its_splits_when_photos_are_added(lit_cnn: Command, photos: Path, tmp_path: Path):
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "run", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "photos" / "lenet" / "run"
    before, content = json.loads((run / "results.json").read_text()), (run / "data.json").read_text()
    add_photos(photos)
    write_photos(photos, ("dog",), 5)
    with pytest.warns(UserWarning, match="14 images added after the run began, left out: ant/0 1.jpg"):
        tested = lit_cnn("test", "--run", run)
    assert tested.returncode == 0, tested.stderr
    after = json.loads((run / "results.json").read_text())
    assert {name: after[name] for name in ("test/acc", "test/images")} == {
        name: before[name] for name in ("test/acc", "test/images")
    }
    with pytest.warns(UserWarning, match="left out"):
        resumed = lit_cnn("resume", run, "--trainer.max_epochs", "2")
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "data.json").read_text() == content


def test_a_trainer_keeps_the_splits_of_a_checkpoint(lit_cnn: Command, photos: Path, tmp_path: Path, trainer):
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "photos" / "lenet" / "run"
    own = {str(photos / entry.path) for entry in Manifest.read(run / "data.json").of("test")}
    for number in range(100, 140):
        with Image.open(photos / "ant" / "0.png") as image:
            image.resize((40, number)).save(photos / "ant" / f"{number}.png")
    data = ImageFolder(str(photos), image_size=28)
    with pytest.warns(UserWarning, match="40 images added after the run began"):
        trainer().test(LitLeNet(3, 3), datamodule=data, ckpt_path=run / "checkpoints" / "best.ckpt", weights_only=True)
    tests = data.splits["test"]
    assert {tests.name(i) for i in range(len(tests.labels))} == own


def test_a_data_module_follows_the_run_of_each_checkpoint(lit_cnn: Command, photos: Path, tmp_path: Path, trainer):
    shutil.copytree(photos, tmp_path / "few" / "photos")
    for file in (tmp_path / "few" / "photos").rglob("1*.*"):
        file.unlink()
    for folder, name in ((tmp_path / "few" / "photos", "few"), (photos, "many")):
        done = lit_cnn("fit", *FIT, "--data", folder, "--name", name)
        assert done.returncode == 0, done.stderr
    runs = {name: tmp_path / "runs" / "photos" / "lenet" / name for name in ("few", "many")}
    numbers = {name: len(Manifest.read(run / "data.json").of("test")) for name, run in runs.items()}
    assert numbers["few"] < numbers["many"]
    data = ImageFolder(str(photos), image_size=28)
    model = LitLeNet(3, 3)
    for name, run in runs.items():
        added = pytest.warns(UserWarning, match="33 images added after the run began, left out: ")
        with added if name == "few" else nullcontext():
            trainer().test(model, datamodule=data, ckpt_path=run / "checkpoints" / "best.ckpt", weights_only=True)
        assert len(data.splits["test"].labels) == numbers[name]
    shutil.copy(runs["few"] / "checkpoints" / "best.ckpt", tmp_path / "copy.ckpt")
    with pytest.warns(UserWarning, match="left out"):
        trainer().test(model, datamodule=data, ckpt_path=tmp_path / "copy.ckpt", weights_only=True)
    assert len(data.splits["test"].labels) == numbers["few"]
    trainer().fit(LitLeNet(3, 3), datamodule=data)
    assert sum(map(sum, data.counts().values())) == 60


def test_a_manifest_takes_no_run_away_from_its_own(lit_cnn: Command, photos: Path, tmp_path: Path):
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "photos" / "lenet" / "run"
    swapped = json.loads((run / "data.json").read_text())
    for row in swapped["files"]:
        row[5] = {"train": "test", "test": "train"}.get(row[5], row[5])
    (tmp_path / "other.json").write_text(json.dumps(swapped))
    for command in ("resume", "test", "validate"):
        words = (command, run) if command == "resume" else (command, "--run", run)
        refused = lit_cnn(*words, "--data.manifest", tmp_path / "other.json")
        assert refused.returncode == 2
        assert "manifest" in refused.stderr
    # A run that began with a manifest has a copy of it.
    shutil.copy(run / "data.json", tmp_path / "given.json")
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "second", "--data.manifest", tmp_path / "given.json")
    assert done.returncode == 0, done.stderr
    (tmp_path / "given.json").unlink()
    for words in (("test", "--run"), ("resume",)):
        done = lit_cnn(*words, run.with_name("second"))
        assert done.returncode == 0, done.stderr


def test_a_checkpoint_that_does_not_say_its_images_is_refused(lit_cnn: Command, photos: Path, tmp_path: Path):
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "photos" / "lenet" / "run"
    (run / "data.json").unlink()
    for name in ("best", "last"):
        path = run / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["ImageFolder"]["digest"]  # as an earlier version wrote it
        torch.save(checkpoint, path)
    for words in (("test", "--run"), ("resume",)):
        refused = lit_cnn(*words, run)
        assert refused.returncode == 2
        assert "which images it was trained on is not known; train again" in refused.stderr


def test_a_missing_training_image_stops_a_resumed_run(lit_cnn: Command, photos: Path, tmp_path: Path):
    done = lit_cnn("fit", *FIT, "--data", photos, "--name", "run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "photos" / "lenet" / "run"
    (photos / Manifest.read(run / "data.json").of("train")[0].path).unlink()
    for options in ((), ("--data.on_bad_image", "skip")):
        resumed = lit_cnn("resume", run, "--trainer.max_epochs", "2", *options)
        assert resumed.returncode == 2
        assert "training and validation images differ" in resumed.stderr
        assert resumed.stderr.count("\n") <= 2
        assert "resume with" not in resumed.stdout
    assert len(list(run.glob("events*"))) == 1


@pytest.mark.filterwarnings("ignore:left out. 3 of 27 files .3 in a test set without classes.:UserWarning")
def test_what_a_test_after_training_needs_is_checked_before(lit_cnn: Command, tmp_path: Path):
    write_photos(tmp_path / "split" / "train", ("a", "b"), 12)
    write_photos(tmp_path / "split" / "test", ("unknown",), 3)
    refused = lit_cnn("fit", *FIT, "--data", tmp_path / "split", "--test_after_fit")
    assert refused.returncode == 2
    assert "test holds 1 class folders" in refused.stderr
    assert not (tmp_path / "runs").exists()
    done = lit_cnn("fit", *FIT, "--data", tmp_path / "split", "--name", "run")
    assert done.returncode == 0, done.stderr
    tested = lit_cnn("test", "--run", tmp_path / "runs" / "split" / "lenet" / "run")
    assert tested.returncode == 2
    assert "there are no test images with labels" in tested.stderr
