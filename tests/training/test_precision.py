"""Which precision ``auto`` picks."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Command

from lit_cnn.training import precision
from lit_cnn.training.precision import LEAST_MULTIPLY_ADDS, bfloat16_gain, choose_precision, computes_in_bfloat16


def have(monkeypatch: pytest.MonkeyPatch, *extensions: str, gain: float = 2.0) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: gain)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(("avx2", *extensions), True), raising=False)


@pytest.mark.parametrize("extension", ["avx512_bf16", "amx_bf16"])
def test_bfloat16_where_the_processor_computes_in_it_and_the_batch_is_large_enough(
    monkeypatch: pytest.MonkeyPatch, extension: str
):
    have(monkeypatch, extension)
    assert choose_precision("cpu", LEAST_MULTIPLY_ADDS) == "bf16-mixed"
    assert choose_precision("cpu", LEAST_MULTIPLY_ADDS - 1) == "32-true"


def test_float32_where_the_processor_would_emulate_bfloat16(monkeypatch: pytest.MonkeyPatch):
    have(monkeypatch, "avx512_f")
    assert choose_precision("cpu", 10**12) == "32-true"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision("cpu", 10**12) == "32-true"


def test_float32_where_bfloat16_was_measured_to_be_slow(monkeypatch: pytest.MonkeyPatch):
    have(monkeypatch, "avx512_bf16", gain=1.1)
    assert choose_precision("cpu", 10**12) == "32-true"


def test_the_gain_is_measured_without_drawing_random_numbers():
    state = torch.get_rng_state()
    assert 0.01 < bfloat16_gain.__wrapped__() < 100
    assert torch.equal(torch.get_rng_state(), state)


def test_under_a_launcher_processors_compute_in_float32(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command):
    # Processes that measured for themselves might disagree.
    have(monkeypatch, "avx512_bf16")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", "runs/a")
    done = lit_cnn(*FAKE, "--data.batch_size", 128, "--trainer.accelerator", "cpu")
    assert ", 32-true; seed 0" in done.stdout, done.stderr


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_graphics_card_is_asked(monkeypatch: pytest.MonkeyPatch, supported: bool, expected: str):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation)
    assert choose_precision("cuda", 10**12) == expected


def test_other_devices_compute_in_float32():
    assert choose_precision("mps", 10**12) == "32-true"


FAKE = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--data.num_images", "300", "--trainer.max_epochs", "1"]


@pytest.mark.parametrize("batch_size", [2, 128])
def test_the_choice_is_printed_and_recorded_and_kept(lit_cnn: Command, tmp_path: Path, batch_size: int):
    large = batch_size == 128
    expected = "bf16-mixed" if large and computes_in_bfloat16("cpu") else "32-true"
    done = lit_cnn(*FAKE, "--data.batch_size", batch_size, "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert f"1 × cpu, {expected}; seed 0" in done.stdout
    (run,) = tmp_path.glob("runs/*/*/*")
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == expected
    assert json.loads((run / "environment.json").read_text())["precision"] == expected


def test_what_is_given_is_what_is_used(lit_cnn: Command):
    done = lit_cnn(*FAKE, "--data.batch_size", 2, "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu")
    assert ", bf16-mixed; seed 0" in done.stdout


def test_lbfgs_is_left_in_float32(lit_cnn: Command):
    done = lit_cnn(*FAKE, "--data.batch_size", 128, "--model.optimizer", "LBFGS", "--model.lr", "0.1")
    assert ", 32-true; seed 0" in done.stdout, done.stderr


def test_a_run_that_names_no_precision_goes_on_in_float32(lit_cnn: Command, tmp_path: Path):
    lit_cnn(*FAKE, "--data.batch_size", 128, "--trainer.precision", "32-true")
    (run,) = tmp_path.glob("runs/*/*/*")
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["trainer"]["precision"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    done = lit_cnn("fit", "--run", run, "--trainer.max_epochs", 2)
    assert ", 32-true; seed 0" in done.stdout, done.stderr


def test_an_image_size_that_does_not_fit_is_still_explained(lit_cnn: Command):
    done = lit_cnn(*FAKE, "--data.image_size", 5)
    assert done.returncode == 2
    assert "set image_size (--data.image_size)" in done.stderr
