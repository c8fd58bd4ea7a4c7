"""What no recipe may do: name other machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import Command

from lit_cnn.commands.policy import refuse_addresses

FIT = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
CSV = {"class_path": "CSVLogger", "init_args": {"save_dir": "hdfs://host/a"}}
PLACES = {
    "trainer.default_root_dir": {"trainer": {"default_root_dir": "gs://bucket/a"}},
    "trainer.logger.save_dir": {"trainer": {"logger": CSV}},
    "trainer.callbacks.dirpath": {
        "trainer": {"callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"dirpath": "ftp://host/a"}}]}
    },
    "trainer.profiler.dirpath": {
        "trainer": {"profiler": {"class_path": "SimpleProfiler", "init_args": {"dirpath": "s3://a"}}}
    },
    "runs_dir": {"runs_dir": "memory://runs"},
    "data.data_dir": {"data": {"class_path": "FashionMNIST", "init_args": {"data_dir": "http://host/a"}}},
    "model.weights": {"model": {"class_path": "LitLeNet", "init_args": {"weights": "https://host/w.pt"}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_recipe_names_no_other_machine(lit_cnn: Command, tmp_path: Path, place: str):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(PLACES[place]))
    done = lit_cnn(*FIT, "--config", "recipe.yaml")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"error: {place}: " in line
    assert "is a remote address" in line
    assert "LIT_CNN_ALLOW_REMOTE=1" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.logger", "{class_path: CSVLogger, init_args: {save_dir: s3://bucket/a}}"],
        ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "s3://bucket/a"],
        ["--data", "https://host/photos.zip"],
        ["--config", "https://host/c.yaml"],
        ["--runs_dir=s3://bucket"],
    ],
    ids=lambda words: words[0],
)
def test_nor_does_an_option(lit_cnn: Command, words: list[str]):
    done = lit_cnn(*FIT, *words)
    assert done.returncode == 2
    assert f"error: {words[0].partition('=')[0]}" in done.stderr
    assert "is a remote address" in done.stderr


@pytest.mark.parametrize(
    ("logger", "allowed"),
    [
        ({"class_path": "WandbLogger"}, False),
        ({"class_path": "CometLogger"}, False),
        ({"class_path": "MLFlowLogger", "init_args": {"tracking_uri": "databricks"}}, False),
        ({"class_path": "WandbLogger", "init_args": {"offline": True}}, True),
        ({"class_path": "MLFlowLogger"}, True),
    ],
    ids=str,
)
def test_a_logger_that_sends_data_must_be_allowed(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: dict, allowed: bool
):
    monkeypatch.setattr("lit_cnn.commands.trainer_options.find_spec", lambda _: None)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    refused = lit_cnn(*FIT, "--config", "recipe.yaml")
    assert refused.returncode == 2
    assert ("sends data to a server" in refused.stderr) is not allowed
    assert "pip install " in refused.stderr
    monkeypatch.setenv("LIT_CNN_ALLOW_REMOTE", "1")
    missing = lit_cnn(*FIT, "--config", "recipe.yaml")
    assert missing.returncode == 2
    assert f"{logger['class_path']} needs another package: pip install " in missing.stderr


def test_addresses_may_be_allowed(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="a: s3://x is a remote address"):
        refuse_addresses({"a": ["b", "s3://x"]})
    monkeypatch.setenv("LIT_CNN_ALLOW_REMOTE", "1")
    refuse_addresses({"a": ["b", "s3://x"]})


@pytest.mark.parametrize("path", ["C:\\photos", "photos: new", "a//b", "../x", "~/x", "data:x"])
def test_local_paths_are_no_addresses(path: str):
    refuse_addresses({"data_dir": path})
