"""Devices that there are not, and more processes than a machine bears, are refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lit_cnn.commands.devices import check_backend, check_device, check_number_of_processes

PROCESSORS = {"class_path": "pytorch_lightning.accelerators.CPUAccelerator"}


@pytest.mark.parametrize("accelerator", ["cpu", "CPU", "auto", None, PROCESSORS], ids=str)
@pytest.mark.parametrize("devices", [9, "9", 999])
def test_no_more_processes_than_processors_bear(monkeypatch: pytest.MonkeyPatch, accelerator: Any, devices: Any):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr("lit_cnn.commands.devices.usable_processors", lambda: 1)
    with pytest.raises(ValueError, match=rf"trainer\.devices: {devices} would start as many .* has 1 processor; .* most 8$"):
        check_number_of_processes({"accelerator": accelerator, "devices": devices})


@pytest.mark.parametrize(
    ("accelerator", "devices"), [("cpu", 8), ("cpu", "auto"), ("cuda", 99), ("auto", [0, 1]), ("cpu", None)], ids=str
)
def test_a_few_more_are_taken(monkeypatch: pytest.MonkeyPatch, accelerator: str, devices: Any):
    monkeypatch.setattr("lit_cnn.commands.devices.usable_processors", lambda: 1)
    check_number_of_processes({"accelerator": accelerator, "devices": devices})
    monkeypatch.setattr("lit_cnn.commands.devices.usable_processors", lambda: 16)
    check_number_of_processes({"accelerator": "cpu", "devices": 32})


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda:0", "a: this machine has no cuda device; give cpu"), ("nope", "a: nope is no device"), (0, "a: ")],
    ids=str,
)
def test_a_device_that_there_is_not(monkeypatch: pytest.MonkeyPatch, device: Any, message: str):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        check_device(device, "a")
    for there_is in (None, "cpu"):
        check_device(there_is, "a")


def test_processes_talk_in_a_way_that_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("nope", "nccl"):
        with pytest.raises(ValueError, match=f"a: {name} cannot be used on this machine; there is gloo"):
            check_backend(name, "a")
    check_backend("gloo", "a")
    check_backend(None, "a")
