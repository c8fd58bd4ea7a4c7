"""Which precision ``auto`` picks."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Command

from lit_cnn.training.precision import LEAST_MULTIPLY_ADDS, choose_precision


def have(monkeypatch: pytest.MonkeyPatch, *extensions: str, name: str = "AMD EPYC") -> None:
    found = {**dict.fromkeys(("avx2", *extensions), True), "cpu_name": name}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)


@pytest.mark.parametrize(
    ("name", "extensions", "expected"),
    [
        ("AMD EPYC", ("avx512_bf16",), "bf16-mixed"),
        ("Intel Xeon", ("avx512_bf16", "amx_bf16"), "bf16-mixed"),
        ("Intel Xeon", ("avx512_bf16",), "32-true"),  # has the instructions, and they are slower there
        ("AMD EPYC", ("avx512_f",), "32-true"),  # would emulate it
    ],
)
def test_bfloat16_where_the_processor_gains_from_it_and_the_batch_is_large_enough(
    monkeypatch: pytest.MonkeyPatch, name: str, extensions: tuple[str, ...], expected: str
):
    have(monkeypatch, *extensions, name=name)
    assert choose_precision("cpu", LEAST_MULTIPLY_ADDS) == expected
    assert choose_precision("cpu", LEAST_MULTIPLY_ADDS - 1) == "32-true"


def test_float32_where_torch_cannot_say_what_the_processor_has(monkeypatch: pytest.MonkeyPatch):
    have(monkeypatch, "avx512_bf16")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision("cpu", 10**12) == "32-true"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_graphics_card_is_asked(monkeypatch: pytest.MonkeyPatch, supported: bool, expected: str):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation)
    assert choose_precision("cuda", 10**12) == expected


def test_other_devices_compute_in_float32():
    assert choose_precision("mps", 10**12) == "32-true"


FAKE = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--data.num_images", "300", "--trainer.max_epochs", "1"]


@pytest.mark.parametrize(("batch_size", "expected"), [(2, "32-true"), (128, "bf16-mixed")])
def test_the_choice_is_printed_and_recorded_and_kept(
    monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path, batch_size: int, expected: str
):
    have(monkeypatch, "avx512_bf16")
    done = lit_cnn(*FAKE, "--data.batch_size", batch_size, "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert f", {expected}; seed 0" in done.stdout
    (run,) = tmp_path.glob("runs/*/*/*")
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == expected
    assert json.loads((run / "environment.json").read_text())["precision"] == expected


def test_what_is_given_is_what_is_used(lit_cnn: Command):
    done = lit_cnn(*FAKE, "--data.batch_size", 2, "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu")
    assert ", bf16-mixed; seed 0" in done.stdout


def test_an_image_size_that_does_not_fit_is_still_explained(lit_cnn: Command):
    done = lit_cnn(*FAKE, "--data.image_size", 5)
    assert done.returncode == 2
    assert "set image_size (--data.image_size)" in done.stderr
