"""Whatever files and classes are called, they are trained on, tested and classified under their names."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from conftest import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lit_cnn.data import ImageFolder
from lit_cnn.data.manifest import Manifest
from lit_cnn.runs.search import find_run

WORDS = ("None", "nan", "1e3", "null", "true", "-rf", "--help", "a b", " lead", "trail ", "A", "a", "con", "x..")
SIGNS = (
    "'",
    '"',
    "$x$ $y$",
    "${HOME}",
    "%s",
    "{0}",
    "a\nb",
    "a\tb",
    "a\\b",
    "*",
    "?",
    "[x]",
    "~",
    "#",
    "a,b",
    "a;b",
    "=1+1",
)
SCRIPTS = ("😀", "日本語", "e\u0301", "\u202eabc", "zero\u200bwidth", "İ", "ß", "ﬁ", "x" * 250, "é" * 120)
ODD = [*WORDS, *SIGNS, *SCRIPTS, os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff\xfe")]


def as_name(name: bytes) -> str:
    """A name that any file system takes, from any bytes."""
    return os.fsdecode(name.replace(b"/", b"").replace(b"\0", b"")[:240]).lstrip(".")


NAMES = st.one_of(
    st.sampled_from(ODD),
    st.text(min_size=1, max_size=40).map(lambda text: as_name(text.encode(errors="ignore"))),
    st.binary(min_size=1, max_size=40).map(as_name),
).filter(bool)


def write(folder: Path, classes: list[str], files: list[str]) -> None:
    """Class folders with a small image of each name, all different."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for position, file in enumerate(files):
            Image.new("RGB", (8, 8), (number * 5, position * 20, 7)).save(folder / name / f"{file}.png")


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), st.lists(NAMES, min_size=3, max_size=5, unique=True))
def test_any_name_is_listed_and_kept_in_a_manifest(classes: list[str], files: list[str]):
    with tempfile.TemporaryDirectory() as place:
        root, cache = Path(place, "photos"), str(Path(place, "cache"))
        write(root, classes, files)
        manifest = ImageFolder(str(root), image_size=8, cache_dir=cache).manifest
        assert set(manifest.class_names) == set(classes)
        for name in classes:
            paths = {entry.path for entry in manifest.entries if entry.class_name == name}
            assert paths == {f"{name}/{file}.png" for file in files}
        manifest.write(Path(place, "data.json"))
        assert Manifest.of_files(Path(place, "data.json")) == manifest
        assert ImageFolder(str(root), image_size=8, cache_dir=cache).manifest == manifest


@pytest.mark.filterwarnings("ignore:no installed font has some characters of the names in pictures")
@pytest.mark.parametrize("root", ["2 %s $x$ {0} '", "長" * 80], ids=ascii)
def test_a_run_with_odd_names_is_trained_tested_and_used(lit_cnn: Command, tmp_path: Path, root: str):
    write(tmp_path / root, ODD, ODD[-5:])
    data = ("--data.data_dir", root, "--data.image_size", "28", "--data.cache_dir", str(tmp_path / "cache"))
    quick = ("--trainer.max_epochs", "1", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false")
    done = lit_cnn("fit", "--model", "LitLeNet", "--data", "ImageFolder", *data, *quick)
    assert done.returncode == 0, done.stderr
    run = find_run("latest", tmp_path / "runs")
    manifest = json.loads((run.path / "data.json").read_text())
    assert set(manifest["classes"]) == set(ODD)
    assert len(manifest["files"]) == 5 * len(ODD)
    done = lit_cnn("test", "--run", run.path, "--trainer.logger", "false")
    assert done.returncode == 0, done.stderr
    assert len(run.ledger) == 1
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false")
    assert done.returncode == 0, done.stderr
