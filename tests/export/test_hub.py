"""Weights and configuration make the network again."""

from __future__ import annotations

from pathlib import Path

import pytest
from untrained import untrained

from lit_cnn.data.earlier_reading import EarlierReading
from lit_cnn.data.reading import Reading
from lit_cnn.export.hub import load_hub_files, write_hub_files


@pytest.mark.parametrize(
    "reading", [EarlierReading(32, 3), Reading(32, 3, "pad", "black", (0, 1023))], ids=["earlier", "own"]
)
def test_files_are_read_as_in_training(reading: Reading, tmp_path: Path):
    write_hub_files(untrained(3, reading), tmp_path)
    again = load_hub_files(tmp_path).reading
    assert type(again) is type(reading)
    assert again == reading
