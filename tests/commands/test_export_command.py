"""What ``lit-cnn export`` and ``lit-cnn bench-export`` refuse, in one line, before any work is done."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from conftest import Command
from fake_runs import write_run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "none"], "none is not a run folder: it does not exist"),
        (["--run", "none", "--aot"], "--aot compiles what --format torch writes: give both"),
        (["--run", "none", "--format", "torch", "--int8"], "--int8 is a form of --format onnx: give both"),
        (["--run", "none", "--int8", "--max_loss", "-1"], "--max_loss is in points from 0 to 100, got -1"),
        (["--run", "none", "--int8", "--max_loss", "nan"], "--max_loss is in points from 0 to 100, got nan"),
        (
            ["--run", "none", "--format", "safetensors", "--layout", "nchw"],
            "--layout is about images, and --format safetensors writes weights alone: leave it out",
        ),
        (["--run", "none", "--format", "safetensors", "--resize"], "--resize is about images"),
        (["--run", "none", "--format", "torch", "safetensors", "--layout", "nchw"], "none is not a run folder"),
        (["--run", "none", "--max_loss", "2"], "--max_loss is what --int8 may lose: give both"),
        (["--run", "none", "--format", "onnx", "torch", "--aot"], "none is not a run folder"),
        (["--run", "none", "--format", "tflite"], "invalid choice: 'tflite'"),
        ([], "the following arguments are required: --run"),
    ],
)
def test_what_makes_no_export_is_one_line(lit_cnn: Command, options: list[str], message: str):
    pytest.importorskip("onnxscript")
    done = lit_cnn("export", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_command(
    lit_cnn: Command, monkeypatch: pytest.MonkeyPatch, form: str, package: str
):
    find = importlib.util.find_spec
    others = {"onnx", "onnxscript", "onnxruntime", "openvino"} - {package}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else object() if name in others else find(name)
    )
    done = lit_cnn("export", "--run", "none", "--format", form)
    assert done.returncode == 2
    assert f"--format {form} needs {package}: make extras, or pip install '.[" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "none"], "none is not a run folder: it does not exist"),
        ([], "the following arguments are required: --run"),
        (["--run", "none", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["--run", "none", "--output", "table.csv"], "--output must be a file that ends with .json"),
        (["--run", "none", "--output", "no/t.json"], "there is no folder for the output no/t.json"),
    ],
)
def test_what_cannot_be_measured_is_one_line(lit_cnn: Command, options: list[str], message: str):
    done = lit_cnn("bench-export", *options)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_a_folder_that_is_read_only_is_refused_before_any_work(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxscript")
    run = write_run(tmp_path / "run")
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    for words in (["export", "--run", run.path], ["bench-export", "--run", run.path, "--output", "times.json"]):
        done = lit_cnn(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "cannot be written: " in done.stderr
        assert "is read-only" in done.stderr


def test_a_missing_compiler_is_named_before_any_work(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    done = lit_cnn("export", "--run", "none", "--format", "torch", "--aot")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--aot needs a C++ compiler, but there is no no-such-compiler: install one" in done.stderr


def test_commands_and_code_have_the_same_forms():
    pytest.importorskip("onnxruntime")
    from lit_cnn.commands import bench_export, export
    from lit_cnn.export.bench import FORMS
    from lit_cnn.export.export import FORMATS

    assert export.FORMATS == FORMATS
    assert bench_export.NEEDED.keys() == FORMS.keys()
