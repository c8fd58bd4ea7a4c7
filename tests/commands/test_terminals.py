"""Trainings whose output goes nowhere, or to a terminal of another encoding, end with everything that they save."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from lit_cnn.__main__ import LASTING, PARSED_BY_LIGHTNING

RECIPE = """# Größe 28×28
model: lenet
data: {class_path: FakeImages, init_args: {num_images: 64}}
trainer: {max_epochs: 2, accelerator: cpu}
"""
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def run_in_shell(
    folder: Path, arguments: str, redirection: str, python_options: str = "", timeout: float = 240, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LIT_CNN", "PL_"))}
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} {python_options} -m lit_cnn {arguments} {redirection}"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        encoding=variables.get("PYTHONIOENCODING", "utf-8"),
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "variables"),
    [
        ("", C_LOCALE),
        ("| cat", {"PYTHONIOENCODING": "ascii"}),
        ("--trainer.devices 2", {"PYTHONIOENCODING": "cp437"}),
        ("| head -n 1", {}),
        (">/dev/full", {"PYTHONIOENCODING": "cp932"}),
        (">&- 2>&- <&-", C_LOCALE),
        ("2>&1 | true", {}),
    ],
)
def test_a_training_ends_well_wherever_its_output_goes(tmp_path: Path, redirection: str, variables: dict[str, str]):
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    done = run_in_shell(tmp_path, "fit --config recipe.yaml", redirection, **variables)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = tmp_path.glob("runs/*/*/*")
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["trainer"]["max_epochs"] == 2
    assert len((run / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("redirection", "variables", "status"),
    [
        ("", {"PYTHONIOENCODING": "ascii"}, 0),
        ("", C_LOCALE, 0),
        (">&-", {}, 0),
        (">/dev/full", {}, 1),
        ("| true; exit ${PIPESTATUS[0]}", {}, 141),
    ],
)
def test_a_command_that_only_prints(tmp_path: Path, redirection: str, variables: dict[str, str], status: int):
    done = run_in_shell(tmp_path, "models", redirection, **variables)
    assert done.returncode == status
    said = ["lit-cnn: error: standard output cannot be written to: No space left on device"] if status == 1 else []
    assert done.stderr.splitlines() == said
    if variables:
        assert "28x28" in done.stdout
        assert done.stdout.isascii()


@pytest.mark.parametrize("options", ["-Xutf8=0", "-E -Xutf8=0"])
def test_a_python_that_keeps_its_encoding_starts_all_the_same(options: str):
    done = run_in_shell(ROOT, "--version", "", python_options=options, timeout=20, **C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".") >= 2


def test_commands_that_write_files_into_a_run_go_on_without_their_output():
    assert set(LASTING) >= set(PARSED_BY_LIGHTNING)
