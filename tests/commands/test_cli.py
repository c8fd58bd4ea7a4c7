"""The commands as a user types them."""

import csv
import errno
import json
import shlex
import shutil
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, Command, run_process, write_photos
from PIL import Image

from lit_cnn.data import Digits, FakeImages
from lit_cnn.inference.loading import load_run
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.training.classifier import LitClassifier

LENET = ROOT / "experiments" / "digits" / "lenet.yaml"


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A LeNet trained on the digits for some epochs and tested once, and what that printed."""
    folder = tmp_path_factory.mktemp("digits")
    done = run_process(folder, "fit", "--config", LENET, "--trainer.max_epochs", "5", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (run,) = folder.glob("runs/digits/lenet/*")
    return run, done.stdout


def test_a_run_is_a_folder_with_everything(digits_run: tuple[Path, str]):
    run, _ = digits_run
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in names if name.rpartition("/")[2].startswith("events.out.tfevents")}
    assert {name.rpartition("/")[0] for name in events} == {"", "curves/training", "curves/validation"}
    assert names - events == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "results.json",
        "confidence.json",
        "data.json",
        "ledger.jsonl",
        "test/confusion_matrix.csv",
        "test/confusion_matrix.png",
        "test/mistakes.csv",
        "test/per_class.csv",
        "predictions/test.npz",
        "predictions/val.npz",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/last.previous.ckpt",
    }
    results = json.loads((run / "results.json").read_text())
    assert {"test/acc", "test/acc_low", "test/acc_high", "val/acc", "train/images_per_s", "seconds"} <= results.keys()
    assert 0.5 < results["test/acc_low"] < results["test/acc"] < results["test/acc_high"] < 1
    assert results["test/images"] == 360
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert max(float(row["val/acc"]) for row in rows) == pytest.approx(results["val/acc"])
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"] == version("torch")
    assert environment["command"][1:3] == ["fit", "--config"]


def test_the_end_of_a_run_is_a_table(digits_run: tuple[Path, str]):
    run, printed = digits_run
    lines = printed.splitlines()
    assert lines[0].startswith("LitLeNet (lenet, 61,706 parameters) on digits at 28×28; 1 × cpu")
    assert lines[1] == (
        "SGD with momentum 0.9, learning rate 0.02 (one_cycle), weight decay 0.0005, "
        "batches of 32 images of 28×28, augmentation: shifts of up to 1 pixel, 5 epochs"
    )
    assert lines[2].startswith("train: 1,293 images (0 128, 1 131, ")
    assert lines[3].startswith("val: 144 images (0 14, 1 15, ")
    assert [line.split(" · ")[0] for line in lines[4:9]] == [f"epoch {i}/5" for i in range(1, 6)]
    for name in ("test accuracy", "validation accuracy", "training speed", "training time", "checkpoint", "run folder"):
        assert any(line.startswith(f"{name}  ") for line in lines), name
    assert "95 % interval" in printed
    folder = next(line.split()[-1] for line in lines if line.startswith("run folder"))
    assert run.as_posix().endswith(folder)


def test_the_configuration_of_a_run_repeats_it(digits_run: tuple[Path, str], lit_cnn: Command, tmp_path: Path):
    run, _ = digits_run
    done = lit_cnn("fit", "--config", run / "config.yaml")
    assert done.returncode == 0, done.stderr
    (again,) = tmp_path.glob("runs/digits/lenet/*")
    ours, theirs = (torch.load(r / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for r in (again, run))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert "test/acc" not in json.loads((again / "results.json").read_text())
    assert not (again / "ledger.jsonl").exists()


def test_every_look_at_the_test_set_is_entered(digits_run: tuple[Path, str], lit_cnn: Command):
    run, _ = digits_run
    before = (run / "ledger.jsonl").read_text().splitlines()
    done = lit_cnn("test", "--run", run)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    after = (run / "ledger.jsonl").read_text().splitlines()
    assert after[:-1] == before
    entry, results = json.loads(after[-1]), json.loads((run / "results.json").read_text())
    assert entry["checkpoint"] == "checkpoints/best.ckpt"
    assert entry["test/acc"] == results["test/acc"] == json.loads(before[0])["test/acc"]
    assert results["test/looks"] == len(after)
    validated = lit_cnn("validate", "--run", run)
    assert validated.returncode == 0, validated.stderr
    assert f"{results['val/acc']:.2%}" in validated.stdout
    assert (run / "ledger.jsonl").read_text().splitlines() == after


def test_prediction_sees_an_image_as_the_test_did(digits_run: tuple[Path, str], lit_cnn: Command, tmp_path: Path):
    run, _ = digits_run
    data = Digits(image_size=28, seed=0)
    data.setup("test")
    images = data.splits["test"]
    positions = torch.arange(30)
    (tmp_path / "new").mkdir()
    for position, pixels in zip(positions.tolist(), images.fetch(positions), strict=True):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / "new" / f"{position:02}.png")
    done = lit_cnn("predict", "--run", run, "--images", "new")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "probability"]
    trained = load_run(run / "checkpoints" / "best.ckpt", device="cpu")
    with torch.no_grad():
        expected = trained.classifier(data.preprocessing(images.fetch(positions))).softmax(1).max(1)
    assert [row["file"] for row in rows] == [f"new/{i:02}.png" for i in range(30)]
    assert [row["class"] for row in rows] == [str(i) for i in expected.indices.tolist()]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_a_run_goes_on_where_it_stopped(lit_cnn: Command, tmp_path: Path):
    constant = ["--model.schedule", "constant"]
    assert lit_cnn("fit", "--config", LENET, *constant, "--trainer.max_epochs", "2").returncode == 0
    (run,) = tmp_path.glob("runs/digits/lenet/*")
    done = lit_cnn("fit", "--run", run.relative_to(tmp_path), "--trainer.max_epochs", "3")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "last.previous.ckpt"}
    assert [line.split(" · ")[0] for line in done.stdout.splitlines() if line.startswith("epoch")] == ["epoch 3/3"]
    with (run / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert list(tmp_path.glob("runs/digits/lenet/*")) == [run]
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    again = lit_cnn("fit", "--run", run)
    assert again.returncode == 0, again.stderr
    assert "nothing left to train: max_epochs is 3; raise" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("grey", [False, True])
def test_a_folder_of_photographs_without_a_configuration(lit_cnn: Command, tmp_path: Path, grey: bool):
    write_photos(tmp_path / "photos", ("light", "very dark"), 40, grey=grey)
    write_photos(tmp_path / "new", ("unsorted",), 3, grey=not grey)
    options = ["--trainer.max_epochs", "2", "--data.image_size", "32", "--data.batch_size", "16"]
    done = lit_cnn("fit", "--model", "LitGoogLeNet", "--data", "ImageFolder", "--data.data_dir", "photos/", *options)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/photos/googlenet/*")
    assert load_run(run / "checkpoints/best.ckpt").channels == (1 if grey else 3)
    done = lit_cnn("predict", "--config", run / "config.yaml", "--images", "new", "--output", "out.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {row["class"] for row in rows} <= {"light", "very dark"}


FAKE = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--data.num_images", "64", "--data.batch_size", "16"]
FAKE += ["--trainer.max_epochs", "1"]


@pytest.mark.parametrize(
    "options",
    [["--trainer.limit_val_batches", "0"], ["--trainer.enable_checkpointing", "false"], ["--trainer.max_steps", "1"]],
    ids=" ".join,
)
def test_a_run_without_a_best_checkpoint_ends_well(lit_cnn: Command, tmp_path: Path, options: list[str]):
    done = lit_cnn(*FAKE, *options, "--test_after_fit")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    (run,) = tmp_path.glob("runs/fake_images/lenet/*")
    assert "test/acc" in json.loads((run / "results.json").read_text())
    assert not (run / "checkpoints" / "best.ckpt").exists()
    assert "best.ckpt" not in done.stdout


def test_callbacks_can_be_added(lit_cnn: Command):
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    done = lit_cnn(*FAKE, *stopping, "--trainer.callbacks.patience=0", "--trainer.max_epochs=50", "--model.lr=1e-9")
    assert done.returncode == 0, done.stderr
    assert 1 <= sum(line.startswith("epoch") for line in done.stdout.splitlines()) < 50


def test_a_checkpoint_folder_of_ones_own_that_is_not_empty_is_warned_of(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "precious.ckpt").touch()
    with pytest.warns(UserWarning, match="Checkpoint directory .*kept exists and is not empty"):
        lit_cnn(*FAKE, "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath=kept")


def test_a_callback_lost_on_the_way_is_warned_of(lit_cnn: Command, tmp_path: Path):
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    fit = [*FAKE, "--model.schedule", "constant"]
    assert lit_cnn(*fit, *stopping).returncode == 0
    (last,) = tmp_path.glob("runs/fake_images/lenet/*/checkpoints/last.ckpt")
    with pytest.warns(UserWarning, match="callbacks used to create the checkpoint need to be provided.*EarlyStopping"):
        lit_cnn(*fit, "--ckpt_path", last, "--trainer.max_epochs", "2")


def test_a_logging_interval_that_was_chosen_too_long_is_warned_of(lit_cnn: Command):
    with pytest.warns(UserWarning, match="smaller than the logging interval"):
        lit_cnn(*FAKE, "--trainer.log_every_n_steps", "40")


def test_a_file_that_is_no_yaml_is_named(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("model:\n  a: b: c\n")
    assert "bad.yaml is not a YAML file (mapping values are not allowed here" in fails(lit_cnn("fit", "-c", "bad.yaml"), 2)


def test_what_follows_from_the_data_cannot_be_set_in_a_file(lit_cnn: Command, tmp_path: Path):
    config = yaml.safe_load(LENET.read_text())
    config["model"]["init_args"]["num_classes"] = 7
    (tmp_path / "seven.yaml").write_text(yaml.safe_dump(config))
    assert "num_classes of the model follows from the data" in fails(lit_cnn("fit", "--config", "seven.yaml"), 2)


def test_a_run_cannot_go_on_with_other_validation_images(digits_run: tuple[Path, str], lit_cnn: Command):
    kept = {name: (digits_run[0] / name).read_bytes() for name in ("config.yaml", "environment.json", "metrics.csv")}
    done = lit_cnn("fit", "--run", digits_run[0], "--data.val_fraction", "0.3")
    assert "is 0.1 and cannot become 0.3: leave it out to resume the run" in fails(done, 2)
    assert {name: (digits_run[0] / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_of_a_run_have_names(digits_run: tuple[Path, str], lit_cnn: Command, tmp_path: Path, name: str):
    run = tmp_path / "run"
    shutil.copytree(digits_run[0], run)
    for way in (["--run", run], ["--config", run / "config.yaml"]):
        done = lit_cnn("test", *way, "--ckpt_path", name)
        assert done.returncode == 0, done.stderr
        assert f"checkpoint              {run}/checkpoints/{name}.ckpt" in done.stdout
    looks = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    assert [look["checkpoint"] for look in looks[-2:]] == [f"checkpoints/{name}.ckpt"] * 2
    (run / "checkpoints" / f"{name}.ckpt").unlink()
    assert f"has no checkpoint {name} in {run}/checkpoints" in fails(lit_cnn("test", "--run", run, "--ckpt_path", name), 2)


def test_a_folder_that_is_no_run_is_not_taken_for_one(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(LENET.read_text())
    done = lit_cnn("fit", "--config", "config.yaml", "--ckpt_path", "last")
    assert "is not a run folder: it holds no environment.json" in fails(done, 2)
    assert (tmp_path / "config.yaml").read_text() == LENET.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [[], ["--ema", "0.9"]], ids=str)
def test_two_processes_train_as_one_and_count_every_image_once(lit_cnn: Command, tmp_path: Path, averaging: list[str]):
    # 91 validation and 75 test images cannot be divided evenly. In double precision rounding stays small.
    options = ["--model", "LitLeNet", "--data", "FakeImages", "--data.num_images", "301", "--data.val_fraction", "0.3"]
    options += ["--data.crop_padding", "2", "--data.flip", "true", "--trainer.max_epochs", "2", "--test_after_fit"]
    options += ["--data.augment", "trivial", "--data.augment.erasing", "0.3", "--data.augment.mixup", "0.4"]
    options += ["--data.augment.cutmix", "1", "--data.augment.rotate", "9"]
    options += ["--trainer.accelerator", "cpu", "--trainer.precision", "64-true", *averaging]
    rows, weights = [], []
    for devices in ("1", "2"):
        # Those of a training alone need no process of their own.
        arguments = ["fit", *options, "--runs_dir", tmp_path / devices, "--trainer.devices", devices]
        done = lit_cnn(*arguments) if devices == "1" else run_process(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (run,) = tmp_path.glob(f"{devices}/fake_images/lenet/*")
        with (run / "metrics.csv").open() as file:
            row = list(csv.DictReader(file))[-1]
        rows.append({**row, **json.loads((run / "results.json").read_text())})
        weights.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-5)
    alone, together = rows
    assert together["test/images"] == alone["test/images"] == 75
    for name in ("train/loss", "val/loss", "val/acc", "val/top5", "val/f1", "val/ece", "test/loss", "test/acc", "lr"):
        assert float(together[name]) == pytest.approx(float(alone[name]), abs=1e-5), name


def test_training_cannot_see_the_test_images(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read = FakeImages.read

    def sealed(self: FakeImages, split: str) -> object:
        if split == "test":
            raise OSError("the test images are sealed")
        return read(self, split)

    monkeypatch.setattr(FakeImages, "read", sealed)
    fit = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--trainer.max_epochs", "1"]
    assert lit_cnn(*fit).returncode == 0
    (run,) = tmp_path.glob("runs/*/*/*")
    assert not (run / "ledger.jsonl").exists()
    assert "the test images are sealed" in fails(lit_cnn("test", "--run", run), 1)


def test_training_does_not_decode_the_files_of_a_test_folder(lit_cnn: Command, tmp_path: Path):
    for split in ("train", "test"):
        write_photos(tmp_path / "photos" / split, ("ant", "bee"), 10)
    for path in (tmp_path / "photos" / "test").rglob("*.*"):
        path.write_bytes(b"sealed")
    data = ["--data", "ImageFolder", "--data.data_dir", "photos", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    done = lit_cnn("fit", "--model", "LitLeNet", *data)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/*/*/*")
    tested = lit_cnn("test", "--run", run)
    assert tested.returncode == 2
    assert "photos/test/ant/0.png" in tested.stderr.splitlines()[-1]


def fails(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a failing command says."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: ")
    return line


FIT = ["fit", "--config", LENET]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train"], 2, "unknown command 'train'; there are fit, resume, validate, test, predict"),
        (["fit"], 2, "nothing to train: give --config FILE, or --model and --data"),
        (["fit", "--model", "LitLenet", "--data", "Digits"], 2, "unknown variant 'LitLenet'; did you mean lenet?"),
        (
            ["fit", "--model", "LitLeNet", "--data", "Fashion"],
            2,
            "there is no dataset, folder, archive or table Fashion; did you mean fashion_mnist?",
        ),
        (["fit", "--model", "os.system", "--data", "Digits"], 2, "os.system is not imported: a configuration may name"),
        ([*FIT, "--data.imagesize", "28"], 2, "unknown option --data.imagesize; did you mean --data.image_size?"),
        ([*FIT, "--model.lr", "fast"], 2, "lr: expected float. Got value: fast"),
        ([*FIT, "--trainer.max_epochs", "many"], 2, "trainer.max_epochs: expected int. Got value: many"),
        (
            [*FIT, "--model.variant", "lenet6"],
            2,
            "variant: expected one of lenet, lenet_bn. Got value: lenet6",
        ),
        ([*FIT, "--model.num_classes", "7"], 2, "num_classes of the model follows from the data and cannot be set"),
        ([*FIT, "--model.lr", "-1"], 2, "lr must be above 0, got -1.0"),
        ([*FIT, "--data.image_size", "8"], 2, "LitLeNet cannot take images of 8×8; it takes images of 28×28 to 35×35"),
        ([*FIT, "--trainer.devices", "3", "--trainer.accelerator", "cuda"], 2, "accelerator is not available"),
        ([*FIT, "--ckpt_path", "https://a.org/b.ckpt"], 2, "--ckpt_path: https://a.org/b.ckpt is a remote address"),
        ([*FIT, "--trainer.devices", "abc", "--trainer.accelerator", "cpu"], 2, "devices=abc: `devices` selected with"),
        ([*FIT, "--trainer.max_epochs", "0"], 2, "trainer.max_epochs is 0: nothing would be trained"),
        (
            [*FIT, "--trainer.precision", "7"],
            2,
            "trainer.precision: expected one of auto, 32-true, bf16-mixed",
        ),
        (
            ["fit", "--model", "LitLeNet", "--data", "ImageFolder"],
            2,
            "ImageFolder needs the folder of the images: add --data.data_dir photos/",
        ),
        (["fit", "--config", "nowhere.yaml"], 2, "File does not exist"),
        (["fit", "--run", "runs/none"], 2, "runs/none is not a run folder: it does not exist"),
        (["test", "--config", LENET], 2, "test needs a trained network: --run FOLDER, or --ckpt_path FILE"),
        (["predict", "--run", "runs/none", "--images", ""], 2, "which images? --images FOLDER"),
        (["predict", "--run", "runs/none", "--images", "new"], 2, "runs/none is not a run folder"),
        (
            ["fit", "--model", "LitLeNet", "--data", "ImageFolder", "--data.data_dir", "no"],
            2,
            "/no does not exist: name the folder of your images",
        ),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else None,
)
def test_nonsense_is_one_line_and_leaves_nothing_behind(
    lit_cnn: Command, tmp_path: Path, arguments: list[str], status: int, says: str
):
    assert says in fails(lit_cnn(*arguments), status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_first_step_leaves_nothing_behind(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: int
):
    ignored = []
    before = signal.signal(signum, lambda *arguments: ignored.append(arguments))
    monkeypatch.setattr(LitClassifier, "configure_optimizers", lambda _: signal.raise_signal(signum))
    try:
        assert lit_cnn(*FIT).returncode == 128 + signum
    finally:
        signal.signal(signum, before)
    assert ignored == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named_and_keeps_no_folder(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("lit_cnn.runs.lock.FileLock.acquire", refuse)
    assert "No locks available (the file system locks no files: keep runs on another one)" in fails(lit_cnn(*FIT), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_printed_command_works_whatever_the_name_of_the_run(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    training_step = LitClassifier.training_step

    def stopped(self: LitClassifier, *arguments: object) -> torch.Tensor:
        signal.raise_signal(signal.SIGTERM)
        return training_step(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(LitClassifier, "training_step", stopped)
        done = lit_cnn(*FIT, "--trainer.max_epochs", "1", "--name", "spaced name")
    assert done.returncode == 128 + signal.SIGTERM
    line = done.stdout.splitlines()[-1]
    assert line == "stopped; resume with: lit-cnn resume 'runs/digits/lenet/spaced name'"
    run = "runs/digits/lenet/spaced name"
    refused = lit_cnn("resume", run, "--model.lr", "7").stderr
    assert f"--config '{run}/config.yaml' --model.weights '{run}'" in refused
    assert f"(lit-cnn resume '{run}')" in fails(lit_cnn("resume", run, "--ckpt_path", "best"), 2)
    assert f"lit-cnn resume '{run}' completes it" in fails(lit_cnn("compare", run, run), 2)
    assert lit_cnn(*shlex.split(line.partition(": lit-cnn ")[2])).returncode == 0
    with pytest.raises(ValueError, match=f"write them with lit-cnn test --run '{run}'"):
        Run(run).read_predictions("test")


def test_a_checkpoint_of_another_network_is_refused(digits_run: tuple[Path, str], lit_cnn: Command):
    checkpoint = digits_run[0] / "checkpoints" / "best.ckpt"
    done = lit_cnn("test", "--config", LENET, "--model.variant", "lenet_bn", "--ckpt_path", checkpoint)
    assert "best.ckpt do not fit: they are of lit_cnn.models.lenet.LitLeNet" in fails(done, 2)


def test_a_saved_configuration_is_flat_and_names_classes(digits_run: tuple[Path, str]):
    config = yaml.safe_load((digits_run[0] / "config.yaml").read_text())
    assert set(config) == {
        *("seed_everything", "trainer", "model", "data"),
        *("compile", "diagnose", "early_stopping", "ema", "monitor", "save_every_minutes", "save_every_steps", "threads"),
    }
    assert config["model"]["class_path"].endswith("LitLeNet")
    assert config["trainer"]["max_epochs"] == 5


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["fit", "--help"], ["predict", "--help"]])
def test_help(lit_cnn: Command, arguments: list[str]):
    done = lit_cnn(*arguments)
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == ""


def test_too_little_memory_is_said_in_one_line(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    def too_much(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …")

    monkeypatch.setattr(LitLeNet, "training_loss", too_much)
    line = fails(lit_cnn(*FIT), 1)
    assert "there is not enough memory (CUDA out of memory): make the batches (--data.batch_size, or " in line
