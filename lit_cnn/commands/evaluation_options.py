"""Options of ``fit`` that do nothing in ``validate`` and ``test``; nothing heavy is imported for it."""

from __future__ import annotations

from lit_cnn.commands.command_line import Arguments

_OF_FIT = (
    *("--diagnose", "--early_stopping", "--ema", "--monitor"),
    *("--save_every_minutes", "--save_every_steps", "--test_after_fit"),
)
# Settings of a training. Without --run they may be part of the description of the network and its data.
_OF_TRAINING = {
    "model": """
        backbone_lr_scale class_weights freeze label_smoothing lr norm_weight_decay optimizer optimizer_args schedule
        unfreeze_at warmup_ratio weight_decay""",
    "data": "augment augmentation_seed balance crop_padding flip",
    "trainer": """
        accumulate_grad_batches check_val_every_n_epoch gradient_clip_algorithm gradient_clip_val limit_train_batches
        max_epochs max_steps max_time min_epochs min_steps val_check_interval""",
}
_SETTINGS = {f"--{group}.{name}" for group, names in _OF_TRAINING.items() for name in names.split()}


def check_evaluation_options(command: str, arguments: Arguments) -> None:
    """Refuses the options in an evaluation, which would do nothing with them.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        arguments: Its options, as typed: a configuration may hold those of the training.

    Raises:
        ValueError: At the first one.
    """
    if command == "fit":
        return
    for name in arguments.names:
        if _setting(name) in _OF_FIT or (_setting(name) in _SETTINGS and "--run" in arguments.names):
            raise ValueError(
                f"{name.lstrip('-')} is an option of lit-cnn fit: a run that is evaluated has its own; leave it out"
            )


def is_of_fit_alone(option: str) -> bool:
    """Whether the evaluation of a run refuses an option of ``fit``."""
    return _setting(option) in _OF_FIT or _setting(option) in _SETTINGS


def _setting(option: str) -> str:
    """``--data.augment`` for each of its parts."""
    return ".".join(option.replace(".init_args", "").split(".")[:2])
