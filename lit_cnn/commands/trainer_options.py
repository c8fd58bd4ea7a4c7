"""Which of Lightning's callbacks, loggers, profilers, strategies and plugins the commands take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.devices import check_backend, check_device
from lit_cnn.commands.lengths import read_duration
from lit_cnn.commands.policy import refuse_servers

# Classes of Lightning and of this package that fit does not take, with the reason and what to use.
_ABSTRACT = "it is a base class and does nothing by itself"
_OWN = "every training has one already; leave it out"
_CHECKPOINTS = "checkpoints of a run are written and verified by lit_cnn itself; leave it out"
_SHARDED = "checkpoints of a run hold whole weights, not shards; use --trainer.strategy ddp"
_LAUNCHED = "it is chosen from the environment of the launcher; leave it out"
_XLA = "no TPU is supported; use --trainer.accelerator cpu or gpu"
REFUSED: dict[str, str] = {
    # callbacks
    "BackboneFinetuning": "it needs a network with a part named backbone; use --model.freeze backbone",
    "BaseFinetuning": f"{_ABSTRACT}; use --model.freeze",
    "BasePredictionWriter": f"{_ABSTRACT}; lit-cnn predict writes predictions",
    "Best": _OWN,
    "Callback": _ABSTRACT,
    "Checkpoint": f"{_ABSTRACT}; use ModelCheckpoint",
    "Compile": "use --compile",
    "EMA": "use --ema",
    "ExactResume": _OWN,
    "FiniteLoss": _OWN,
    "Interrupts": _OWN,
    "Introduction": _OWN,
    "Last": _OWN,
    "LateAverage": _OWN,
    "LookRecorder": _OWN,
    "ModelPruning": "it replaces the weights by others, which cannot be resumed",
    "OnExceptionCheckpoint": "a run saves last.ckpt already; use --save_every_minutes or --save_every_steps",
    "PrintsEpochs": f"{_ABSTRACT}; use EpochLines",
    "ProgressBar": f"{_ABSTRACT}; use RichProgressBar or TQDMProgressBar",
    "Recorder": _OWN,
    "SpeedTrial": "use --time_limit",
    "SpikeDetection": "it cannot be resumed; a loss that is not finite ends every training",
    "StochasticWeightAveraging": (
        "checkpoints are saved before its average is in place; use EMAWeightAveraging or WeightAveraging, "
        "whose average is validated, saved and tested"
    ),
    "Unfreezing": "use --model.unfreeze_at",
    "VitalSigns": "use --diagnose",
    "ThroughputMonitor": "it needs a function; every training logs train/images_per_s",
    # loggers
    "Logger": _ABSTRACT,
    "RunLogger": _OWN,
    # profilers
    "Profiler": f"{_ABSTRACT}; use SimpleProfiler, AdvancedProfiler or PyTorchProfiler",
    "XLAProfiler": _XLA,
    # strategies
    "DeepSpeedStrategy": _SHARDED,
    "FSDPStrategy": _SHARDED,
    "ModelParallelStrategy": _SHARDED,
    "ParallelStrategy": f"{_ABSTRACT}; use DDPStrategy",
    "SingleDeviceXLAStrategy": _XLA,
    "Strategy": f"{_ABSTRACT}; use DDPStrategy or SingleDeviceStrategy",
    "XLAStrategy": _XLA,
    # accelerators
    "Accelerator": f"{_ABSTRACT}; use cpu, gpu, cuda or mps",
    "XLAAccelerator": _XLA,
    # plugins
    "AsyncCheckpointIO": _CHECKPOINTS,
    "BitsandbytesPrecision": "quantised weights cannot be trained, nor saved as those of the network",
    "CheckpointIO": _CHECKPOINTS,
    "ClusterEnvironment": _LAUNCHED,
    "DeepSpeedPrecision": _SHARDED,
    "FSDPPrecision": _SHARDED,
    "KubeflowEnvironment": _LAUNCHED,
    "LSFEnvironment": _LAUNCHED,
    "LayerSync": f"{_ABSTRACT}; use --trainer.sync_batchnorm true",
    "LightningEnvironment": _LAUNCHED,
    "MPIEnvironment": _LAUNCHED,
    "SLURMEnvironment": _LAUNCHED,
    "SafeCheckpointIO": _CHECKPOINTS,
    "TorchCheckpointIO": _CHECKPOINTS,
    "TorchElasticEnvironment": _LAUNCHED,
    "TorchSyncBatchNorm": "use --trainer.sync_batchnorm true",
    "TransformerEnginePrecision": "it replaces layers by others, whose weights do not fit the network",
    "XLACheckpointIO": _CHECKPOINTS,
    "XLAEnvironment": _LAUNCHED,
    "XLAPrecision": _XLA,
}
# Strategies and profilers that are named without a class.
STRATEGIES = (
    "auto",
    "ddp",
    "ddp_find_unused_parameters_false",
    "ddp_find_unused_parameters_true",
    "single_device",
)
PROFILERS = ("simple", "advanced", "pytorch")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
# The least that these numbers may be; Lightning takes less and fails later, or does nothing.
_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "min_epochs": 0,
    "min_steps": 0,
    "num_nodes": 1,
}
# Processes that DDP may start in other ways cannot share what the command holds.
_START_METHODS = ("popen", None)
# Packages whose classes are judged here; whoever allows others knows them.
_JUDGED = ("lit_cnn", "pytorch_lightning", "lightning_fabric")
# Loggers that need another package.
_PACKAGES = {"CometLogger": "comet_ml", "LitLogger": "litlogger", "MLFlowLogger": "mlflow", "WandbLogger": "wandb"}
# Callbacks that put an average in the place of the weights.
AVERAGING = ("EMAWeightAveraging", "WeightAveraging")
# Names of settings that hold classes.
GROUPS = ("callbacks", "logger", "profiler", "strategy", "accelerator", "plugins")


def check_trainer(settings: Mapping[str, Any], command: str = "fit") -> None:
    """Refuses what the command cannot do right.

    Args:
        settings: Of the Trainer, as plain values.
        command: ``fit``, ``validate`` or ``test``. An evaluation takes every callback that trained a run.

    Raises:
        ValueError: At the first setting; says why, and what to use.
    """
    for group in GROUPS:
        if command != "fit" and group == "callbacks":
            continue
        for one in _classes(settings.get(group)):
            _check_class(group, one)
    averaging = [name for name in map(_name_of, _classes(settings.get("callbacks"))) if name in AVERAGING]
    if command == "fit" and len(averaging) > 1:
        raise ValueError(f"trainer.callbacks: {' and '.join(averaging)} both average the weights; give one of them")
    if settings.get("model_registry") is not None:
        refuse_servers("trainer.model_registry sends checkpoints to a server; leave it out")
    _check_name("strategy", settings.get("strategy"), STRATEGIES)
    _check_name("profiler", settings.get("profiler"), PROFILERS)
    _check_name("accelerator", settings.get("accelerator"), ACCELERATORS)
    for name, least in _LEAST.items():
        if isinstance(settings.get(name), int | float) and settings[name] < least:
            raise ValueError(f"trainer.{name} must be at least {least}, got {settings[name]}")
    interval = settings.get("val_check_interval")
    if isinstance(interval, str | Mapping) and not read_duration(interval, "trainer.val_check_interval"):
        interval = 0
    if isinstance(interval, int | float) and interval <= 0:
        raise ValueError(
            f"trainer.val_check_interval must be above 0, got {interval}; to skip validation: --trainer.limit_val_batches 0"
        )
    if command == "fit" and settings.get("barebones"):
        raise ValueError("trainer.barebones trains without checkpoints and metrics, which a run needs: leave it out")


def _classes(value: Any) -> Iterator[Mapping[str, Any]]:
    for one in as_list(value):
        if isinstance(one, Mapping) and "class_path" in one:
            yield one


def _name_of(settings: Mapping[str, Any]) -> str:
    return str(settings["class_path"]).rpartition(".")[2]


def refuse_class(group: str, class_path: str) -> None:
    """Refuses a class that no command takes.

    Args:
        group: Name of the setting below ``trainer``.
        class_path: Its name with its package: whoever allows others knows them.

    Raises:
        ValueError: Says why, and what to use.
    """
    package, _, name = class_path.rpartition(".")
    if name in REFUSED and package.partition(".")[0] in _JUDGED:
        raise ValueError(f"trainer.{group}: {name} cannot be used: {REFUSED[name]}")


def refuse_named_classes(arguments: Arguments) -> None:
    """Refuses classes that no command takes by the names that a user types, before the parser asks for their arguments.

    Raises:
        ValueError: At the first one; says why, and what to use.
    """
    for name, value in arguments.options:
        group = re.fullmatch(r"--trainer\.(\w+)\+?(?:\.class_path)?", name)
        if group and group[1] in GROUPS and value and re.fullmatch(r"[\w.]+", value):
            refuse_class(group[1], value if "." in value else f"pytorch_lightning.{value}")


def _check_class(group: str, settings: Mapping[str, Any]) -> None:
    package, _, name = str(settings["class_path"]).rpartition(".")
    arguments = settings.get("init_args") or {}
    if package.partition(".")[0] not in _JUDGED:
        return
    refuse_class(group, str(settings["class_path"]))
    if arguments.get("start_method", "popen") not in _START_METHODS:
        raise ValueError(f"trainer.{group}: start_method must be popen, got {arguments['start_method']}")
    missing = name in _PACKAGES and find_spec(_PACKAGES[name]) is None
    package = f"needs another package: pip install {_PACKAGES[name].replace('_', '-')}" if missing else ""
    _check_arguments(f"trainer.{group}: {name}", name, arguments)
    is_online = name in ("CometLogger", "LitLogger") or (name == "WandbLogger" and not arguments.get("offline"))
    tracking = arguments.get("tracking_uri")
    if is_online or (name == "MLFlowLogger" and tracking is not None and not str(tracking).startswith("file:")):
        refuse_servers(f"trainer.{group}: {name} sends data to a server{package and f', and {package}'}; use CSVLogger")
    if package:
        raise ValueError(f"trainer.{group}: {name} {package}")


def _check_arguments(place: str, name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of a class that Lightning meets in the middle of a training, or never."""
    if "device" in arguments:
        check_device(arguments["device"], f"{place}.device")
    if "process_group_backend" in arguments:
        check_backend(arguments["process_group_backend"], f"{place}.process_group_backend")
    duration = arguments.get("duration") if name == "Timer" else None
    if duration is not None and not read_duration(duration, f"{place}.duration"):
        raise ValueError(f"{place}.duration is 0: nothing would be trained; give a longer time")
    every, epoch = arguments.get("update_every_n_steps", 1), arguments.get("update_starting_at_epoch")
    if name == "EMAWeightAveraging" and (every < 0 or (every == 0 and epoch is None)):
        raise ValueError(f"{place}.update_every_n_steps must be at least 1, got {every}: the average would never be updated")


def _check_name(setting: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value.lower() in known:
        return
    raise ValueError(f"trainer.{setting}: {value} cannot be used; there are {', '.join(known)}")


def as_list(value: Any) -> list[Any]:
    """What an option of the Trainer holds that may be nothing, one object or a list of them."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
