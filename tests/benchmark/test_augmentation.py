import json
from pathlib import Path

import pytest
from conftest import Command

from lit_cnn.benchmark import augmentation
from lit_cnn.benchmark.augmentation import OPERATIONS


def test_the_suite_gives_the_speed_of_each_operation_and_the_share_of_each_preset(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    speeds = {
        "trials": {"float32, channels last": 80.0, "bfloat16, channels last": 150.0},
        "ceiling": {"images_per_s": 160.0},
    }
    monkeypatch.setattr(augmentation, "run_arm", lambda arm, _: speeds[arm])
    monkeypatch.setattr(augmentation, "SHAPES", ((1, 8), (3, 9)))
    monkeypatch.setattr(augmentation, "BATCH_SIZE", 4)
    monkeypatch.setattr(augmentation, "STEP_SIZE", 12)
    done = lit_cnn(
        "benchmark", "--suite", "augmentation", "--repeats", "1", "--output", tmp_path / "cost.json", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "cost.json").read_text())["augmentation"]
    assert measured["step"] == "bfloat16, channels last"
    assert measured["step_images_per_s"] == [160.0]
    grey, colour = measured["operations"].values()
    assert colour.keys() == OPERATIONS.keys()
    assert grey.keys() == OPERATIONS.keys() - {"saturation", "hue", "grey"}
    assert all(len(rounds) == 1 and min(rounds) > 0 for rounds in colour.values())
    assert measured["presets"].keys() == {"flip", "standard", "trivial", "randaugment", "strong"}
    for name in (*OPERATIONS, *measured["presets"]):
        assert name in done.stdout
