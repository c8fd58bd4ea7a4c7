from dataclasses import replace

import numpy as np
import pytest

from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions


def make() -> RunPredictions:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]], dtype=np.float32)
    images, labels, classes = ["a/1.jpg", "b/ü.jpg", "#2"], np.array([0, 1, 1]), ["a", "b"]
    return RunPredictions(images, labels, logits, classes, "digest", "checkpoints/best.ckpt", 7, "photos/")


def test_predictions_are_read_as_they_were_written(tmp_path):
    written, path = make(), tmp_path / "predictions" / "val.npz"
    written.write(path)
    read = RunPredictions.read(path)
    assert read.images == written.images
    assert read.class_names == written.class_names
    assert (read.digest, read.checkpoint, read.step) == ("digest", "checkpoints/best.ckpt", 7)
    assert read.folder == "photos/"
    np.testing.assert_array_equal(read.labels, written.labels)
    np.testing.assert_array_equal(read.logits, written.logits)
    assert [path.name for path in path.parent.iterdir()] == ["val.npz"]


def test_files_of_earlier_versions_hold_whole_paths(tmp_path):
    make().write(tmp_path / "val.npz")
    with np.load(tmp_path / "val.npz") as arrays:
        earlier = {name: array for name, array in arrays.items() if name not in ("folder", "step")}
    for files, folder in ((["a/1.jpg", "b/ü.jpg", "b/2.jpg"], "../elsewhere/photos/"), (["#0", "#1", "#2"], "")):
        np.savez(tmp_path / "val.npz", **earlier | {"images": np.array([folder + file for file in files])})
        read = RunPredictions.read(tmp_path / "val.npz")
        assert (read.folder, read.images, read.step) == (folder, files, None)


def test_images_of_one_folder_keep_its_name(tmp_path):
    """Files 1.jpg of two folders are two images, also if each is the whole validation set of a seed."""
    own = replace(make(), images=["v1/1.jpg", "v1/2.jpg", "v1/3.jpg"])
    own.write(tmp_path / "val.npz")
    read = RunPredictions.read(tmp_path / "val.npz")
    assert (read.folder, read.images) == (own.folder, own.images)


def test_predicted_class_and_probabilities_come_from_the_logits():
    predictions = make()
    assert predictions.predicted.tolist() == [0, 1, 0]
    assert predictions.correct.tolist() == [True, True, False]
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(predictions.probabilities[1], [1 / (1 + np.e), np.e / (1 + np.e)])


@pytest.mark.parametrize(("split", "command"), [("val", "lit-cnn validate --run"), ("test", "lit-cnn test --run")])
def test_missing_and_damaged_predictions_name_the_command_that_writes_them(tmp_path, split, command):
    run = Run(tmp_path)
    with pytest.raises(ValueError, match=f"has no {split} predictions: .*{command}"):
        run.read_predictions(split)
    make().write(run.predictions[split])
    run.predictions[split].write_bytes(run.predictions[split].read_bytes()[:200])
    with pytest.raises(ValueError, match=f"is damaged.*{command}"):
        run.read_predictions(split)


@pytest.mark.parametrize(
    ("place", "byte"), [("stream", 0xFF), ("flags", 0x01), ("method", 0x63)], ids=["stream", "flags", "method"]
)
def test_a_damaged_archive_is_damage(tmp_path, place, byte):
    path = tmp_path / "val.npz"
    make().write(path)
    damaged = bytearray(path.read_bytes())
    entry, length_of_extra = damaged.index(b"PK\x01\x02"), int.from_bytes(damaged[28:30], "little")
    stream = 30 + len("images.npy") + length_of_extra
    damaged[{"stream": stream, "flags": entry + 8, "method": entry + 10}[place]] = byte
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"val\.npz is damaged"):
        RunPredictions.read(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": np.array([0, 1])},
        {"labels": np.array([0, 1, 2])},
        {"logits": np.zeros((3, 3))},
        {"logits": np.zeros(3)},
        {"images": ["a", "b"]},
        {"class_names": ["a"]},
        {"step": [1, 2]},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_damage(tmp_path, changed):
    path = tmp_path / "val.npz"
    replace(make(), **changed).write(path)
    with pytest.raises(ValueError, match=r"val\.npz is damaged"):
        RunPredictions.read(path)
