"""The seeds that are wanted of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import write_run

from lit_cnn.runs.folder import Run
from lit_cnn.runs.study import add_wanted_seeds, wanted_seeds


def test_wanted_seeds_grow_and_include_those_of_runs(tmp_path: Path):
    assert wanted_seeds(tmp_path) == []
    write_run(tmp_path / "seed-7", 7)
    (tmp_path / "seed-8").mkdir()  # which holds no run
    assert wanted_seeds(tmp_path) == [7]
    add_wanted_seeds(tmp_path, [3, 0])
    assert wanted_seeds(tmp_path) == [0, 3, 7]
    before = (tmp_path / "study.json").stat().st_mtime_ns
    add_wanted_seeds(tmp_path, [0])
    assert (tmp_path / "study.json").stat().st_mtime_ns == before
    add_wanted_seeds(tmp_path, [12])
    assert wanted_seeds(tmp_path) == [0, 3, 7, 12]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seeds": 3}', '{"seeds": ["0"]}', '{"seeds": [true]}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path / 'study.json'} is damaged"):
        add_wanted_seeds(tmp_path, [1])


def test_a_run_that_never_began_leaves_no_study(tmp_path: Path):
    runs = [Run.of_seed(tmp_path / "runs", "digits", "lenet", "a", seed) for seed in (0, 1)]
    for run in runs:
        run.path.mkdir(parents=True)
    add_wanted_seeds(runs[0].path.parent, [0, 1])
    runs[0].discard_unless_begun()
    assert (runs[0].path.parent / "study.json").is_file()
    runs[1].discard_unless_begun()
    assert not (tmp_path / "runs").exists()
