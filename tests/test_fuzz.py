"""Whatever a configuration holds, it trains or is refused in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BASE: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {
        "max_epochs": 1,
        "logger": False,
        "accelerator": "cpu",
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "max_time": "00:00:00:02",
    },
    "model": {"class_path": "LitLeNet", "init_args": {"lr": 0.01}},
    "data": {"class_path": "FakeImages", "init_args": {"num_images": 64, "batch_size": 8}},
}
MODEL, DATA = ("model", "init_args"), ("data", "init_args")
PLACES = [
    *[
        ("trainer", name)
        for name in ("max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")
    ],
    *[("trainer", name) for name in ("val_check_interval", "callbacks", "logger", "accelerator", "deterministic")],
    *[(*MODEL, name) for name in ("lr", "weight_decay", "optimizer", "optimizer_args", "schedule", "warmup_ratio")],
    *[(*MODEL, name) for name in ("label_smoothing", "class_weights", "weights", "freeze", "backbone_lr_scale", "variant")],
    *[(*MODEL, name) for name in ("norm_weight_decay", "unfreeze_at")],
    (*DATA, "balance"),
    *[(*DATA, name) for name in ("batch_size", "val_fraction", "crop_padding", "flip", "num_workers", "seed", "split_seed")],
    *[("model",), ("data",), ("trainer",), ("model", "class_path"), ("data", "class_path"), ("seed_everything",)],
    *[("unknown",), ("trainer", "unknown"), (*MODEL, "unknown"), (*DATA, "unknown"), ("save_every_minutes",)],
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 9),
    st.sampled_from([0.5, -0.5, 1e-300, 1e300, "nan", "inf", "", "auto", "0", "none", "../..", "a.b.C", "é\n", "last"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
)


def changed(changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    config = copy.deepcopy(BASE)
    for place, value in changes:
        inner: Any = config
        for key in place[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[place[-1]] = value
    return config


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
@pytest.mark.filterwarnings("ignore")
def test_any_configuration_trains_or_is_refused_in_one_line(lit_cnn: Command, tmp_path: Path, changes: list):
    (tmp_path / "fuzzed.yaml").write_text(json.dumps(changed(changes)))
    done = lit_cnn("fit", "--config", "fuzzed.yaml")
    assert done.returncode in (0, 1, 2)
    if done.returncode:
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("lit-cnn: error: ")
        assert len(lines[0]) < 1000
