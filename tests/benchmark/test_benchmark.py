"""That the benchmark measures; never how fast anything is."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
from conftest import ROOT, Command, write_fashion_mnist
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor, nn

from lit_cnn.analysis.provenance import measured_commit, processor_name
from lit_cnn.benchmark.arms import ARMS
from lit_cnn.benchmark.case import COMPILE_MODES, Case
from lit_cnn.benchmark.decoding import OURS, WAYS
from lit_cnn.benchmark.growth import around_medians
from lit_cnn.benchmark.optimisations import OPTIMISATIONS, Contiguous
from lit_cnn.benchmark.photos import make_folder
from lit_cnn.benchmark.process import run_arm
from lit_cnn.benchmark.speed import summarise
from lit_cnn.benchmark.stopwatch import Stopwatch
from lit_cnn.data import FakeImages
from lit_cnn.models import LitResNet
from lit_cnn.training.callbacks.compile import Mode


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("lit_cnn.benchmark.stopwatch.time", clock)
    return clock


def test_the_stopwatch_leaves_out_the_warm_up_and_stops_when_it_has_seen_enough(clock: Clock):
    stopwatch = Stopwatch(seconds=2, warm_up=2)
    clock.now = 3
    assert not stopwatch.step(1000)
    clock.now = 4
    assert not stopwatch.step(1000)
    assert stopwatch.first_step_s == 3
    for clock.now in (4.5, 5.0, 5.5):
        assert not stopwatch.step(10)
    clock.now = 6
    assert stopwatch.step(10)
    # The thousands of the warm-up are not among them, nor is the time before it.
    assert stopwatch.images_per_s == 40 / 2
    clock.now = 100
    assert stopwatch.step(10)
    assert stopwatch.images_per_s == 20


def test_what_came_before_a_restart_is_not_part_of_the_first_step(clock: Clock):
    stopwatch = Stopwatch(seconds=1)
    clock.now = 5
    stopwatch.restart()
    clock.now = 7
    stopwatch.step(1)
    assert stopwatch.first_step_s == 2


def test_passes_are_added_up_and_must_have_steps_besides_the_warm_up(clock: Clock):
    stopwatch = Stopwatch(seconds=4, warm_up=1)
    for done in (False, True):
        for _ in range(3):
            clock.now += 1
            stopwatch.step(10)
        clock.now += 0.5
        stopwatch.stop()
        assert stopwatch.done is done
    # Two steps of a second each in either go, and the half second until the first was stopped; the second stopped itself.
    assert stopwatch.images_per_s == 40 / 4.5
    stopwatch = Stopwatch(seconds=1, warm_up=1)
    stopwatch.step(10)
    with pytest.raises(ValueError, match="batches are too few to be measured: it takes at least 2"):
        stopwatch.stop()


def test_the_first_epoch_can_be_measured_apart(clock: Clock):
    stopwatch = Stopwatch(seconds=2, warm_up=1, skip_epoch=True)
    for _ in range(5):
        clock.now += 2
        assert not stopwatch.step(10)
    stopwatch.end_epoch()
    assert stopwatch.first_epoch_images_per_s == 50 / 10
    clock.now += 1
    while not stopwatch.step(10):
        clock.now += 1
    assert stopwatch.images_per_s == 10


def test_the_folder_is_of_jpegs_of_different_sizes_in_folders_of_classes(tmp_path: Path):
    make_folder(tmp_path, num_images=6, num_classes=3)
    files = sorted(tmp_path.glob("class*/*.jpg"))
    assert len(files) == 6
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    assert all(256 <= side <= 500 for size in sizes for side in size)
    assert len(set(sizes)) > 1


def test_ratios_are_medians_of_rounds():
    def rounds(*speeds: float) -> list[dict]:
        rest = {"first_step_s": 1.0, "peak_memory_mb": 1.0, "first_epoch_images_per_s": None}
        return [{"images_per_s": speed, **rest} for speed in speeds]

    arms = {"plain": rounds(10, 20, 40), "lightning": rounds(5, 5, 5)}
    arms |= {"lit_cnn": rounds(20, 20, 20), "ceiling": rounds(40, 40, 40)}
    summary = summarise({"arms": arms})
    assert summary["lit_cnn/plain"] == 1.0
    assert summary["lit_cnn/ceiling"] == 0.5
    assert summary["plain"]["images_per_s"] == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet19"], "unknown variant 'resnet19'"),
        (["--model", "lenet", "--case", "lenet"], "--model is a case of its own: leave out --case"),
        (["--seconds", "0"], "seconds must be above 0, got 0.0"),
        (["--workers", "-1"], "workers must be a whole number of at least 0, got -1"),
        (
            ["--suite", "optimisations", "--workers", "2"],
            "--workers does nothing in the suite optimisations; it is for speed",
        ),
        (["--suite", "accuracy", "--seeds", "10"], "--seeds does nothing in the suite accuracy; it is for recipes"),
        (["--suite", "recipes", "--repeats", "5"], "--repeats does nothing in the suite recipes; it is for speed, "),
        (
            ["--suite", "growth", "--phase", "eval"],
            "--phase does nothing in the suite growth; it is for speed, optimisations",
        ),
        (["--recipe", "a.yaml"], "--recipe does nothing in the suite speed; it is for recipes"),
        (["--batch_size", "64"], "--batch_size belongs to --model: the usual cases have their own"),
        (["--repeats", "0"], "repeats must be a whole number of at least 1, got 0"),
        (["--case", "folder", "--phase", "eval"], "the evaluation of a folder is not measured"),
        (["--model", "lenet", "--data", "nowhere"], "data must be fashion_mnist, synthetic or a folder, got 'nowhere'"),
    ],
)
def test_nonsense_ends_in_one_line(lit_cnn: Command, arguments: list[str], message: str):
    done = lit_cnn("benchmark", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--sweet", "speed"], 2), (["--repeats", "0"], 2)])
def test_help_and_typos_answer_before_anything_heavy_is_imported(arguments: list[str], status: int):
    code = "import sys; from lit_cnn.__main__ import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "benchmark", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "AssertionError" not in done.stderr
    assert "recipes" in done.stdout or len(done.stderr.splitlines()) == 1


def test_the_modes_of_compile_are_those_of_fit():
    assert get_args(Mode) == COMPILE_MODES


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Case, int]]:
    """The measurements that were asked for. None takes place; each arm has made-up figures."""
    arms: list[tuple[str, Case, int]] = []

    def pretend(arm: str, case: Case, num_workers: int = 0) -> dict:
        arms.append((arm, case, num_workers))
        if arm == "trials":
            return {"float32, contiguous": 2.0, "float32, channels last": 1.0}
        figures = dict.fromkeys(("images_per_s", "first_step_s", "peak_memory_mb"), 1.0 + (num_workers == 1))
        return figures | {"first_epoch_images_per_s": None}

    for module in ("speed", "optimisations"):
        monkeypatch.setattr(f"lit_cnn.benchmark.{module}.run_arm", pretend)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    return arms


def test_the_fastest_ceiling_and_number_of_workers_are_measured(lit_cnn: Command, asked: list):
    assert lit_cnn("benchmark", "--case", "lenet", "--repeats", "2").returncode == 0
    assert [workers for arm, _, workers in asked[:4] if arm == "plain"] == [0, 1, 2, 4]
    assert [(arm, workers) for arm, _, workers in asked[5:]] == [
        ("plain", 1),
        ("lightning", 1),
        ("lit_cnn", 0),
        ("ceiling", 0),
    ] * 2
    assert {case.ceiling for _, case, _ in asked[5:]} == {"float32, contiguous"}


def test_given_workers_need_no_trial(lit_cnn: Command, asked: list):
    assert lit_cnn("benchmark", "--case", "lenet", "--repeats", "1", "--workers", "3").returncode == 0
    assert [(arm, workers) for arm, _, workers in asked[:3]] == [("trials", 0), ("plain", 3), ("lightning", 3)]


def test_without_fashion_mnist_a_stand_in_of_its_shape_is_measured_and_named(lit_cnn: Command, tmp_path: Path, asked: list):
    done = lit_cnn("benchmark", "--case", "lenet", "--repeats", "1", "--output", "result.json")
    assert ", synthetic, train" in done.stdout
    assert json.loads((tmp_path / "result.json").read_text())["cases"]["lenet"]["case"]["data"] == "synthetic"
    case = asked[-1][1]
    assert (case.channels, case.native_size, case.num_classes) == (1, 28, 10)


@pytest.mark.parametrize("model", ["resnet18", "resnet", "LitResNet"])
@pytest.mark.parametrize("data", ["fashion_mnist", "FashionMNIST"])
def test_network_and_data_have_several_names(lit_cnn: Command, tmp_path: Path, asked: list, model: str, data: str):
    (tmp_path / "elsewhere" / "FashionMNIST").mkdir(parents=True)
    done = lit_cnn("benchmark", "--model", model, "--data", data, "--data_dir", "elsewhere", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    case = asked[-1][1]
    assert (case.model, case.data, case.data_dir, case.image_size) == ("resnet18", "fashion_mnist", "elsewhere", 224)


@pytest.mark.usefixtures("asked")
def test_each_measurement_is_reported_when_it_is_done(lit_cnn: Command):
    printed = lit_cnn("benchmark", "--case", "lenet", "--repeats", "2", "--device", "cpu").stdout
    assert "lenet, trial: plain with 2 workers, 1 images/s" in printed
    assert "lenet, round 2 of 2: ceiling, 1 images/s" in printed
    table = printed[printed.index("arm ") :].splitlines()
    assert [line.split()[0] for line in table[1:5]] == list(ARMS)


def test_synthetic_images_are_as_the_network_was_published_for(lit_cnn: Command, asked: list):
    lit_cnn("benchmark", "--model", "resnet50", "--data", "synthetic", "--compile", "reduce-overhead", "--repeats", "1")
    case = asked[-1][1]
    assert (case.channels, case.native_size, case.image_size, case.num_classes) == (3, 224, 224, 1000)
    assert case.compile == "reduce-overhead"
    for phase in ("train", "eval"):
        arguments = replace(case, phase=phase).arguments()
        few_pixels = case.data_class(**arguments | {"native_size": 2})
        few_pixels.setup("fit")
        assert all(len(split.labels) >= 1000 for split in few_pixels.splits.values())


def test_each_optimisation_is_left_out_in_turn(lit_cnn: Command, tmp_path: Path, asked: list):
    options = [
        "--suite",
        "optimisations",
        "--case",
        "lenet",
        "--repeats",
        "2",
        "--device",
        "cpu",
        "--output",
        "optimisations.json",
    ]
    done = lit_cnn("benchmark", *options)
    assert done.returncode == 0, done.stderr
    without = [case.without for _, case, _ in asked]
    half = len(without) // 2
    assert without[:half] == without[half:]
    assert set(without) - {"bfloat16"} == {"", "channels last", "fused optimiser", "kept memory"}
    assert json.loads((tmp_path / "optimisations.json").read_text())["without"]["lenet"]["kept memory"]["gain"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["train", "eval"])
def test_lit_cnn_runs_without_each_optimisation(phase: str):
    for name in OPTIMISATIONS[phase]:
        case = Case("mlp", "synthetic", 28, 8, phase=phase, seconds=0.1, without=name)
        assert run_arm("lit_cnn", case)["images_per_s"] > 0


@pytest.mark.filterwarnings(
    "ignore:The image decoding and encoding capabilities of TorchVision are deprecated:DeprecationWarning"
)
def test_all_ways_to_decode_see_the_same_picture(tmp_path: Path):
    make_folder(tmp_path, num_images=2)
    for path in tmp_path.glob("*/*.jpg"):
        scaled, whole, torchvision = (decode(path, image_size=64).float() for decode in WAYS.values())
        assert (whole - torchvision).abs().mean() < 2  # of 255
        # Colours change by up to 30 from pixel to pixel there, and a quarter of the scale rounds half a pixel differently.
        assert 0 < (scaled - whole).abs().mean() < 12


def test_decoding_is_measured(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_cnn.benchmark.photos.make_folder", partial(make_folder, num_images=20))
    done = lit_cnn("benchmark", "--suite", "decoding", "--repeats", "3", "--output", "decoding.json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "decoding.json").read_text())["decoding"]
    assert set(results) == {"64", "128"}
    ours = results["64"][OURS]["images_per_s"]
    for way in WAYS:
        theirs = results["64"][way]["images_per_s"]
        assert f"{way} " in done.stdout
        assert results["64"][way]["gain"] == statistics.median(own / other for own, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_channels_last_no_layer_sees_them(trainer: Callable[..., Trainer], channels: int):
    formats: set[bool] = set()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if module.training:
            formats.update(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (*inputs, output))

    classifier = LitResNet(variant="resnet20", in_channels=channels, num_classes=10)
    for module in classifier.network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels > 1:
            module.register_forward_hook(note)
    for callbacks, in_last in (([], {True}), ([Contiguous()], {False})):
        formats.clear()
        data = FakeImages(num_images=64, channels=channels, image_size=16)
        trainer(callbacks=callbacks, max_steps=1).fit(classifier, datamodule=data)
        assert formats == in_last


def test_growth_goes_over_all_points_and_then_again(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    axes = {"images": ("--data.num_images", (200, 400), {}), "workers": ("--data.num_workers", (1,), {"--model": "LitMLP"})}
    monkeypatch.setattr("lit_cnn.benchmark.growth.AXES", axes)
    asked: list[tuple[int, int, str]] = []

    def run_fit(options: dict) -> dict[str, float]:
        asked.append((options["--data.num_images"], options.get("--data.num_workers", 0), options["--model"]))
        seconds = [1.0, 1.0, 1.0, 8.0, 1.0, 1.0, 3.0, 1.0, 1.0][len(asked) - 1]
        return {"command_s": seconds + 1, "training_s": seconds, "images_per_s": 100 / seconds, "peak_memory_mb": 500.0}

    monkeypatch.setattr("lit_cnn.benchmark.growth.run_fit", run_fit)
    done = lit_cnn("benchmark", "--suite", "growth", "--device", "cpu", "--output", "growth.json")
    assert done.returncode == 0, done.stderr
    assert asked == 3 * [(200, 0, "LitLeNet"), (400, 0, "LitLeNet"), (20_000, 1, "LitMLP")]
    images = json.loads((tmp_path / "growth.json").read_text())["growth"]["images"]
    assert [(row["value"], row["training_s"]) for row in images] == [(200, 3.0), (400, 1.0)]
    assert around_medians(images, "training_s") == ([2.0, 0.0], [5.0, 0.0])
    with Image.open(tmp_path / "growth.png") as drawn:
        assert drawn.width > 200


@pytest.mark.slow
def test_growth_is_measured(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    axes = {"images": ("--data.num_images", (200, 400), {"--trainer.max_epochs": 1, "--data.batch_size": 32})}
    monkeypatch.setattr("lit_cnn.benchmark.growth.AXES", axes)
    done = lit_cnn("benchmark", "--suite", "growth", "--device", "cpu", "--repeats", "1", "--output", "growth.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "growth.json").read_text())["growth"]["images"]
    assert [row["value"] for row in rows] == [200, 400]
    assert all(row["command_s"] > row["training_s"] > 0 and row["peak_memory_mb"] > 100 for row in rows)


@pytest.mark.slow
def test_accuracies_are_compared(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_fashion_mnist(tmp_path / "data", 600, 100)
    monkeypatch.setattr("lit_cnn.benchmark.accuracy.EPOCHS", 1)
    monkeypatch.setattr("lit_cnn.benchmark.accuracy.SEEDS", (0, 1))
    done = lit_cnn("benchmark", "--suite", "accuracy", "--output", "accuracy.json")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "accuracy.json").read_text())["test_accuracy"]
    assert all(len(values) == 2 and all(0 <= value <= 1 for value in values) for values in results.values())


@pytest.mark.slow
@pytest.mark.parametrize(("data", "phase"), [("synthetic", "train"), ("synthetic", "eval"), ("photos", "train")])
def test_every_arm_is_measured(lit_cnn: Command, tmp_path: Path, photos: Path, data: str, phase: str):
    shape = ["--model", "mlp", "--data", str(photos) if data == "photos" else data, "--batch_size", "8"]
    how = ["--phase", phase, "--device", "cpu", "--seconds", "0.2", "--repeats", "1"]
    done = lit_cnn("benchmark", *shape, *how, "--output", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["environment"]["torch"]
    arms = result["cases"]["mlp"]["arms"]
    assert set(arms) == set(ARMS)
    for (measured,) in arms.values():
        assert measured["images_per_s"] > 0
        assert measured["peak_memory_mb"] > 0
    assert (arms["lit_cnn"][0]["first_epoch_images_per_s"] is not None) == (data == "photos")
    assert "lit_cnn/plain" in done.stdout


def test_the_processor_has_torchs_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Z80"}, raising=False)
    assert processor_name() == "Z80"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr("platform.processor", lambda: "i386")
    assert processor_name() == "i386"


def test_new_results_do_not_make_the_code_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_cnn.analysis.provenance.__file__", str(tmp_path / "package" / "results.py"))
    monkeypatch.setattr("lit_cnn.analysis.provenance.source_commit", lambda: "abc-dirty")
    results = tmp_path / "experiments" / "results"
    files = [
        tmp_path / "package" / "results.py",
        results / "speed.json",
        results / "recipes" / "lenet.json",
        results / "ship.py",
    ]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    commit = ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "A"]
    for arguments in (["init", "-q"], ["add", "."], commit):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    for file in files[1:3]:
        file.write_text("new")
    assert measured_commit() == "abc"
    for file in (files[0], files[3]):
        file.write_text("new")
        assert measured_commit() == "abc-dirty"
        file.write_text("old")
