"""Which settings of a run may change when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lit_cnn.runs.monitor import FIRST_MONITOR


class Rule(Enum):
    """What may happen to a setting when a run is resumed."""

    EQUAL = "must be equal"
    FREE = "may change"
    TIME = "may change, and decides what the training reaches"
    LENGTH = "may change if the schedule does not depend on the length of the training"


# So many characters of a value are shown in a message.
MAX_SHOWN = 40
# Values that mean the same; None stands for a setting that an older run does not have.
_SAME: dict[str, dict[Any, Any]] = {
    "data.balance": {None: "none"},
    "trainer.precision": {
        "32": "32-true",
        32: "32-true",
        "64": "64-true",
        64: "64-true",
        "16": "16-mixed",
        "bf16": "bf16-mixed",
    },
    "monitor": {None: FIRST_MONITOR},
    "trainer.limit_train_batches": {None: 1.0},
    "trainer.limit_val_batches": {None: 1.0},
    "trainer.val_check_interval": {None: 1.0},
}
# Here 1 is one batch, and 1.0 all of them.
_COUNTED = {
    f"trainer.{name}"
    for name in (
        *("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"),
        *("overfit_batches", "val_check_interval"),
    )
}
# Every argument of every model, every dataset, the Trainer and the command. One that is missing here must be equal.
_SETTINGS: dict[Rule, dict[str, str]] = {
    Rule.EQUAL: {
        "": "early_stopping ema monitor seed_everything",
        "model": """
            activation aux_weight backbone_lr_scale batch_norm class_weights dropout freeze in_channels init label_smoothing
            lr lrn norm_weight_decay num_classes optimizer optimizer_args pooling schedule unfreeze_at variant warmup_ratio
            weight_decay weights zero_init_residual""",
        "data": """
            augment augmentation_seed background balance batch_size channels crop_padding flip fold frame group_by image_size
            manifest native_size num_classes num_folds num_images resize seed split_seed test_fraction val_fraction
            value_range""",
        "trainer": """
            accumulate_grad_batches callbacks check_val_every_n_epoch enable_checkpointing gradient_clip_algorithm
            gradient_clip_val limit_train_batches limit_val_batches overfit_batches plugins precision sync_batchnorm
            val_check_interval""",
    },
    Rule.FREE: {
        "": """
            ckpt_path compile config diagnose lr name run runs_dir save_every_minutes save_every_steps seeds test_after_fit
            threads time_limit tta""",
        # The images are compared by their content.
        "data": "cache_dir data_dir memory_gb num_workers on_bad_image table",
        "trainer": """
            accelerator barebones benchmark default_root_dir detect_anomaly deterministic devices enable_autolog_hparams
            enable_model_summary enable_progress_bar fast_dev_run inference_mode limit_predict_batches
            limit_test_batches log_every_n_steps logger model_registry num_nodes num_sanity_val_steps profiler
            reload_dataloaders_every_n_epochs strategy use_distributed_sampler""",
    },
    Rule.TIME: {"trainer": "max_time"},
    Rule.LENGTH: {"trainer": "max_epochs max_steps min_epochs min_steps"},
}
RULES: dict[str, Rule] = {
    f"{group}.{name}" if group else name: rule
    for rule, groups in _SETTINGS.items()
    for group, names in groups.items()
    for name in names.split()
}
# Settings that older runs do not have, or that did not count in them, and what these did.
_LATER = {
    "early_stopping": None,
    "ema": None,
    "monitor": FIRST_MONITOR,
    "data.augment": "none",
    "data.balance": "none",
    "data.frame": None,
    "model.norm_weight_decay": None,
    "model.unfreeze_at": None,
    "trainer.max_time": None,
}
# Callbacks that only show, save or stop: they may be added and removed.
OBSERVERS = frozenset(
    {
        "DeviceStatsMonitor",
        "LearningRateMonitor",
        "ModelCheckpoint",
        "ModelSummary",
        "OnExceptionCheckpoint",
        "RichModelSummary",
        "RichProgressBar",
        "ThroughputMonitor",
        "Timer",
        "TQDMProgressBar",
    }
)


@dataclass(frozen=True)
class Change:
    """A setting that has another value than when the run began.

    Args:
        setting: As it is typed, without dashes.
        own: The run's value.
        given: The value that was given now.
        rule: Whether it may change.
    """

    setting: str
    own: Any
    given: Any
    rule: Rule

    def __str__(self) -> str:
        """Both values in a few words: of classes the names, and only the arguments that differ."""
        own, given = _listed(self.own), _listed(self.given)
        if not any(isinstance(value, Mapping) and "class_path" in value for value in (*own, *given)):
            return f"is {_shown(self.own)} and cannot become {_shown(self.given)}"
        before, after = [[_describe(value, others) for value in values] for values, others in ((own, given), (given, own))]
        return f"is {', '.join(before) or 'null'} and cannot become {', '.join(after) or 'null'}"


def rule_of(setting: str) -> Rule:
    """Whether a setting may change, for example ``model.lr``; an unknown one must be equal."""
    return RULES.get(setting, Rule.EQUAL)


def find_changes(own: Mapping[str, Any], given: Mapping[str, Any]) -> list[Change]:
    """The settings that differ.

    Args:
        own: Settings with which a run began: the content of its ``config.yaml``.
        given: Settings with which it is to be resumed, likewise.
    """
    before, after = dict(_flatten(own)), dict(_flatten(given))
    changes = []
    for setting in [*before, *(after.keys() - before.keys())]:
        old, new = before.get(setting), after.get(setting)
        is_equal = old == new and not (setting in _COUNTED and type(old) is not type(new))
        if is_equal or _canonical(setting, old) == _canonical(setting, new):
            continue
        rule = rule_of(setting)
        if setting == "trainer.callbacks" and _without_observers(old) == _without_observers(new):
            rule = Rule.FREE
        changes.append(Change(setting, old, new, rule))
    return changes


def digest_of_settings(settings: Mapping[str, Any], without: str) -> str:
    """Eight hexadecimal digits of all settings that are the same in comparable runs: those that are not free.

    Args:
        settings: The content of a ``config.yaml``.
        without: The setting in which the runs differ.
    """
    compared = []
    for setting, value in sorted(_flatten(settings)):
        if setting == without or rule_of(setting) is Rule.FREE:
            continue
        if setting in _LATER and value == _LATER[setting]:
            continue  # so that the runs of earlier versions are found
        own = _without_observers(value) if setting == "trainer.callbacks" else value
        compared.append((setting, *_canonical(setting, own)))
    text = json.dumps(compared, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def _canonical(setting: str, value: Any) -> Any:
    """The value by which others of the same meaning are known. A whole number counts batches and is no share."""
    same = _SAME.get(setting, {})
    hashable = value is None or isinstance(value, int | float | str)
    value = same.get(value, value) if hashable else value
    return type(value).__name__, value


def _flatten(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each setting by the name that is typed."""
    for group, value in settings.items():
        if not isinstance(value, Mapping):
            yield group, value
        elif "class_path" in value:
            # A class may be named by the module that defines it or by one that offers it.
            yield group, str(value["class_path"]).rpartition(".")[2]
            for arguments in (value.get("init_args"), value.get("dict_kwargs")):
                for name, argument in (arguments or {}).items():
                    yield f"{group}.{name}", argument
        else:
            for name, argument in value.items():
                yield f"{group}.{name}", argument


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _describe(value: Any, others: list[Any]) -> str:
    """A class with the arguments that another object of this class, among others, does not have."""
    if not isinstance(value, Mapping):
        return _shown(value)
    name, arguments = _class_name(value), value.get("init_args") or {}
    same = next((other for other in others if isinstance(other, Mapping) and _class_name(other) == name), None)
    if same is None:
        return name
    rest = same.get("init_args") or {}
    differing = [f"{key}={_shown(arguments.get(key))}" for key in arguments if arguments.get(key) != rest.get(key)]
    return f"{name}({', '.join(differing)})" if differing else name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _without_observers(callbacks: Any) -> list[Any]:
    return [one for one in _listed(callbacks) if not (isinstance(one, Mapping) and _class_name(one) in OBSERVERS)]


def _class_name(settings: Mapping[str, Any]) -> str:
    return str(settings.get("class_path")).rpartition(".")[2]
