"""Whether arms had the same budget, and in which settings they differ."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lit_cnn.analysis.arm_runs import ArmRun, arguments_of, read_settings
from lit_cnn.analysis.arms import Arm, show_value
from lit_cnn.analysis.seeds import SEED_SETTINGS
from lit_cnn.network.catalogue import read_catalogue
from lit_cnn.runs.identity import Rule, find_changes, rule_of
from lit_cnn.runs.search import list_runs

# Budgets that differ by a smaller share are the same.
TOLERANCE = 0.05
# Reads the settings of all runs below a folder.
ReadSettings = Callable[[Path], list[dict[str, Any]]]


@dataclass(frozen=True)
class Budget:
    """What an arm had; means over its runs. None where the files do not contain it.

    Args:
        arm: Its name.
        epochs: Finished epochs.
        images: Images seen in training, with repetitions.
        multiply_adds: Of the forward passes of these images.
        seconds: Duration of the training.
        rates: Number of learning rates that were tried at least, of all runs there that are alike but for the rate.
        device: That computed, with its number of threads on a CPU.
        num_parameters: Of the network.
        image_multiply_adds: Of one forward pass of one image.
    """

    arm: str
    epochs: float
    images: float | None
    multiply_adds: float | None
    seconds: float | None
    rates: int
    device: str
    num_parameters: int | None = None
    image_multiply_adds: int | None = None


@dataclass(frozen=True)
class SettingDifference:
    """A setting in which arms differ.

    Args:
        setting: As it is typed, without dashes.
        values: Of each arm.
        is_meant: Whether the user named it as the difference to compare, or it is the only one.
    """

    setting: str
    values: tuple[str, ...]
    is_meant: bool


@dataclass(frozen=True)
class Fairness:
    """Budgets of the arms, and the settings in which they differ.

    Args:
        budgets: One for each arm.
        differences: In the order of the configuration.
        same_budget: Whether all arms had the same, but for seconds and device.
        warnings: What makes the comparison unfair; empty if nothing does.
    """

    budgets: tuple[Budget, ...]
    differences: tuple[SettingDifference, ...]
    same_budget: bool
    warnings: tuple[str, ...]


def judge_fairness(arms: Sequence[Arm], differ: Sequence[str] = ()) -> Fairness:
    """Compares budgets and settings.

    Args:
        arms: As read.
        differ: Settings in which arms are meant to differ.

    Raises:
        ValueError: If arms do not differ in a setting of ``differ``.
    """
    settings = list(arms[0].settings)
    for name in differ:
        if name not in settings:
            raise ValueError(f"the arms do not differ in {name}; they differ in {', '.join(settings) or 'no setting'}")
    differences = tuple(
        SettingDifference(
            name,
            tuple(show_value(arm.settings[name]) for arm in arms),
            name in differ or (not differ and len(settings) == 1),
        )
        for name in settings
    )
    settings_of = cache(_settings_of)  # several arms have the same folder
    budgets = tuple(_budget(arm, settings_of) for arm in arms)
    unequal = _warn_of_budgets(budgets)
    warnings = [unequal, _warn_of_settings(differences, bool(differ)), _warn_of_devices(arms), *_warn_of_changes(arms)]
    return Fairness(budgets, differences, not unequal, tuple(filter(None, warnings)))


def _warn_of_budgets(budgets: Sequence[Budget]) -> str:
    names = {"epochs": "epochs", "images": "images seen", "multiply_adds": "multiply-adds", "rates": "tried rates"}
    unequal = []
    for name, title in names.items():
        known = [value for budget in budgets if (value := getattr(budget, name)) is not None]
        if known and max(known) > (1 + TOLERANCE) * min(known):
            factor = f" (by a factor of {max(known) / min(known):.1f})" if min(known) else ""
            unequal.append(f"{title}{factor}")
    return f"the budgets differ: {', '.join(unequal)}" if unequal else ""


def _warn_of_settings(differences: Sequence[SettingDifference], named: bool) -> str:
    others = [difference.setting for difference in differences if not difference.is_meant]
    if not others:
        return ""
    also = "also " if named else ""
    return f"the arms {also}differ in {', '.join(others)}: what makes the difference cannot be told apart"


def _warn_of_devices(arms: Sequence[Arm]) -> str:
    """Runs with other numbers of processes. With ``sync_batchnorm``, several are as one."""
    runs = [run for arm in arms for run in arm.runs]
    alone = [run for run in runs if not (run.settings.get("trainer") or {}).get("sync_batchnorm")]
    numbers = {run.environment.get("world_size") or 1 for run in alone} | ({1} if len(alone) < len(runs) else set())
    if len(numbers) == 1:
        return ""
    processes = " and ".join(map(str, sorted(numbers)))
    return f"the runs had {processes} processes: a network with BatchNorm has in each the statistics of its images"


def _warn_of_changes(arms: Sequence[Arm]) -> list[str]:
    """Runs that were resumed with other settings."""
    return [
        f"{run.path} was resumed with another {change['setting']}"
        for arm in arms
        for run in arm.runs
        for change in run.environment.get("changes", [])
        if rule_of(change["setting"]) is not Rule.FREE
    ]


# Budgets


def _describe_device(environment: Mapping[str, Any]) -> str:
    threads, number = environment.get("threads"), environment.get("world_size") or 1
    device = f"{number} × {environment.get('device')}" if number > 1 else environment.get("device")
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}"


def _budget(arm: Arm, settings_of: ReadSettings) -> Budget:
    images = [_images_seen(run) for run in arm.runs]
    seen = float(np.mean([number for number in images if number is not None])) if None not in images else None
    num_parameters, per_image = _size_of_network(arm.runs[0])
    seconds = [run.results["seconds"] for run in arm.runs if "seconds" in run.results]
    devices = {_describe_device(run.environment) for run in arm.runs}
    return Budget(
        arm=arm.name,
        epochs=float(np.mean([len(run.metrics) for run in arm.runs])),
        images=seen,
        multiply_adds=None if seen is None or per_image is None else seen * per_image,
        seconds=float(np.mean(seconds)) if seconds else None,
        rates=_count_rates(arm.runs[0], settings_of),
        device=" and ".join(sorted(devices)),
        num_parameters=num_parameters,
        image_multiply_adds=per_image,
    )


def _images_seen(run: ArmRun) -> float | None:
    """As they were counted; of earlier versions, steps times the images of a step."""
    if run.metrics and run.metrics[-1].get("images"):
        return float(run.metrics[-1]["images"])
    batch_size = arguments_of(run.settings, "data").get("batch_size")
    if not run.metrics or not batch_size:
        return None
    accumulated = (run.settings.get("trainer") or {}).get("accumulate_grad_batches") or 1
    return float(run.metrics[-1]["step"]) * float(batch_size * accumulated)


def _size_of_network(run: ArmRun) -> tuple[int | None, int | None]:
    """Parameters, and multiply-adds of a forward pass of one image at the size of the training.

    None for what cannot be counted, because the network cannot be built or the size is not known.
    """
    variant, channels, classes = run.environment.get("variant"), run.data["channels"], run.data["classes"]
    size = arguments_of(run.settings, "data").get("image_size") or _size_in_checkpoint(run)
    entry = read_catalogue().get(str(variant))
    if entry is None or not (channels and classes and size):
        return None, None
    if (channels, size, size) == entry.input_shape and len(classes) == entry.num_classes:
        return entry.num_parameters, entry.multiply_adds
    import torch

    from lit_cnn import models
    from lit_cnn.network.counting import count_multiply_adds, count_parameters

    with torch.device("meta"):
        network = models.build(str(variant), num_classes=len(classes), in_channels=channels)
        return count_parameters(network), count_multiply_adds(network, torch.empty(1, channels, size, size))


def _size_in_checkpoint(run: ArmRun) -> int | None:
    checkpoint = run.run.checkpoint
    if checkpoint is None:
        return None
    from lit_cnn.runs.checkpoint_file import peek  # imports torch, as does the next
    from lit_cnn.training.origin import Origin

    size: int | None = Origin.of(peek(checkpoint)).data.get("image_size")
    return size


def _count_rates(run: ArmRun, settings_of: ReadSettings) -> int:
    """Learning rates of all runs of the same data and network that are alike in all other settings."""
    rates = {arguments_of(run.settings, "model").get("lr")}
    root, path = run.run.root.absolute(), run.path.absolute()
    dataset_and_variant = path.relative_to(root).parts[:-1][:2]
    for settings in settings_of(root.joinpath(*dataset_and_variant)):
        changes = find_changes(run.settings, settings)
        if {change.setting for change in changes if change.rule is not Rule.FREE} <= {*SEED_SETTINGS, "model.lr"}:
            rates.add(arguments_of(settings, "model").get("lr"))
    return len(rates)


def _settings_of(folder: Path) -> list[dict[str, Any]]:
    """Settings of all runs below a folder; without damaged ones, which tried nothing."""
    settings = []
    for run in list_runs(folder):
        with contextlib.suppress(ValueError):
            settings.append(read_settings(run))
    return settings
