"""What the best checkpoint of a run is judged by, read from its files."""

from __future__ import annotations

import pytest

from lit_cnn.runs.monitor import MONITORS, best_row, describe_monitor, monitor_of, names_monitor

ROWS = [
    {"epoch": "0", "val/acc": "0.5", "val/loss": "2.0", "val/f1": "0.6"},
    {"epoch": "1", "val/acc": "0.9", "val/loss": "0.5", "val/f1": "0.7"},
    {"epoch": "2", "val/acc": "0.9", "val/loss": "0.9", "val/f1": "0.7"},
    {"epoch": "3", "val/acc": "0.8", "val/loss": "0.6", "val/f1": "0.9"},
    {"epoch": "4", "val/acc": "", "val/loss": "", "val/f1": ""},
]


@pytest.mark.parametrize(("monitor", "epoch"), [("val/acc", "2"), ("val/loss", "1"), ("val/f1", "3"), ("last", "3")])
def test_the_best_epoch_is_the_last_of_equal_ones(monitor: str, epoch: str):
    assert best_row(ROWS, monitor)["epoch"] == epoch


@pytest.mark.parametrize("monitor", MONITORS)
def test_without_a_validation_there_is_no_best_epoch(monitor: str):
    assert best_row(ROWS[4:], monitor) is None
    assert best_row([], monitor) is None


def test_an_epoch_that_is_not_a_number_is_not_the_best():
    rows = [{"val/loss": "nan"}, {"val/loss": "1.0"}, {"val/loss": "nan"}]
    assert best_row(rows, "val/loss") == {"val/loss": "1.0"}


def test_runs_that_name_no_monitor_were_judged_by_accuracy():
    assert monitor_of({}) == "val/acc"
    assert monitor_of({"monitor": "last"}) == "last"
    assert names_monitor("ema: null\nmonitor: val/loss\n")
    assert not names_monitor("trainer:\n  callbacks:\n    monitor: val/loss\n")


def test_a_monitor_is_described_with_its_direction():
    assert describe_monitor("val/acc") == "highest validation accuracy"
    assert describe_monitor("val/loss", noun="") == "lowest loss"
    assert describe_monitor("last") == "last validation"
