"""That the benchmark measures; never how fast anything is."""

import json
from pathlib import Path

import pytest
from conftest import Command
from PIL import Image

from lit_cnn.benchmark.arms import ARMS
from lit_cnn.benchmark.command import make_folder, summarise
from lit_cnn.benchmark.stopwatch import Stopwatch


class Clock:
    """A clock that goes when it is told to."""

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


def test_goes_are_added_up_and_must_have_steps_besides_the_warm_up(clock: Clock):
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
        (["--repeats", "0"], "repeats must be a whole number of at least 1, got 0"),
        (["--model", "lenet", "--data", "nowhere"], "data must be fashion_mnist, synthetic or a folder, got 'nowhere'"),
    ],
)
def test_nonsense_ends_in_one_line(lit_cnn: Command, arguments: list[str], message: str):
    done = lit_cnn("benchmark", *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


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
