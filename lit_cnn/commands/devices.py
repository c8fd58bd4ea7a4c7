"""Devices that a training may ask for, and that this machine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lit_cnn.system.processors import usable_processors

# So many processes for each processor, and so many on any machine, are still taken: for trials.
PROCESSES_PER_PROCESSOR = 2
ALWAYS_TAKEN = 8


def check_number_of_processes(settings: Mapping[str, Any]) -> None:
    """Refuses to start many more processes than there are processors.

    Args:
        settings: Of the Trainer, as plain values.

    Raises:
        ValueError: If the devices are processors and too many.
    """
    devices = str(settings.get("devices")).strip()
    if not devices.isdigit() or not _computes_on_processors(settings.get("accelerator")):
        return
    usable = usable_processors()
    most = max(ALWAYS_TAKEN, PROCESSES_PER_PROCESSOR * usable)
    if int(devices) > most:
        raise ValueError(
            f"trainer.devices: {devices} would start as many processes, and this machine has {usable} "
            f"processor{'s' if usable > 1 else ''}; give at most {most}"
        )


def _computes_on_processors(accelerator: Any) -> bool:
    name = accelerator["class_path"] if isinstance(accelerator, Mapping) else str(accelerator)
    name = name.rpartition(".")[2].lower()
    return name in ("cpu", "cpuaccelerator") or (name in ("auto", "none") and not torch.accelerator.is_available())


def check_device(value: Any, name: str) -> None:
    """Refuses a device that there is not.

    Args:
        value: Name or number of the device; None for the default.
        name: Name of the setting.

    Raises:
        ValueError: If torch knows no such device, or this machine has none.
    """
    if value is None:
        return
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{name}: {value} is no device; give cpu, cuda or cuda:0") from error
    if device.type == "cpu":
        return
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if here is None or here.type != device.type:
        raise ValueError(f"{name}: this machine has no {device.type} device; give {here.type if here else 'cpu'}")
    if (device.index or 0) >= torch.accelerator.device_count():
        raise ValueError(f"{name}: there is no {value}; this machine has {torch.accelerator.device_count()} of them")


def check_backend(value: Any, name: str) -> None:
    """Refuses a way of talking between processes that this machine does not have.

    Raises:
        ValueError: Names those that there are.
    """
    known = ["gloo", *(["nccl"] if torch.cuda.is_available() and torch.distributed.is_nccl_available() else [])]
    if value is not None and value not in known:
        raise ValueError(f"{name}: {value} cannot be used on this machine; there is {' and '.join(known)}")
