"""The model card."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import write_run
from untrained import untrained

from lit_cnn.analysis.facts import RunFacts
from lit_cnn.export.card import recipe_of, scores_of, write_card
from lit_cnn.export.network import ExportedNetwork


def test_the_recipe_tells_which_weights_were_kept():
    config = {"seed_everything": 0, "ema": 0.99, "monitor": "val/acc", "early_stopping": None, "model": {}, "data": {}}
    recipe = recipe_of(config)
    assert (recipe["ema"], recipe["monitor"]) == (0.99, "val/acc")
    assert "early_stopping" not in recipe


def test_the_recipe_has_no_folders(tmp_path: Path):
    weights, cache = str(tmp_path / "best.ckpt"), str(tmp_path / "cache")
    folders = {"data.data_dir": "photos", "data.cache_dir": cache, "model.weights": weights}
    run, trained = write_run(tmp_path / "run", settings=folders), untrained()
    parity = {"images": {"validation": 200, "training": 56}, "forms": {}}
    write_card(run, trained, ExportedNetwork.of(trained), parity, tmp_path / "README.md")
    recipe = (tmp_path / "README.md").read_text().partition("## Recipe")[2].partition("## Limits")[0]
    assert "image_size: 28" in recipe
    assert "weights: best.ckpt" in recipe
    assert "_dir" not in recipe
    assert str(tmp_path) not in recipe


def test_the_recipe_shortens_paths_alone():
    arguments = {"group_by": r"/(patient\d+)_", "weights": "runs/a/best.ckpt", "layers": ["a/b", "~/c/d"], "scheme": "a/b"}
    recipe = recipe_of({"data": {"class_path": "ImageFolder", "init_args": arguments | {"table": "photos\\all.csv"}}})
    shortened = {"weights": "best.ckpt", "layers": ["a/b", "d"], "table": "all.csv"}
    assert recipe["data"]["init_args"] == arguments | shortened


@pytest.mark.parametrize(("measured", "is_shown"), [("best", True), ("last", False)])
def test_test_scores_of_another_checkpoint_are_left_out(tmp_path: Path, measured: str, is_shown: bool):
    run = write_run(tmp_path / "run", results={"test/checkpoint": f"checkpoints/{measured}.ckpt"})
    run.checkpoints.mkdir()
    run.best.touch()
    scores = "\n".join(scores_of(RunFacts.read(run)))
    assert "validation accuracy 50.00%" in scores
    assert ("test accuracy 50.00%" in scores) == is_shown
    assert "looks at the test set" in scores
