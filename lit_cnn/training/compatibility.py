"""Decides whether weights and data fit a network; explains it in one line, where torch would list every key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from inspect import signature
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BatchSizeFinder, WeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from lit_cnn import layers
from lit_cnn.network.base import evaluating
from lit_cnn.network.parts import BATCH_NORMS, frozen_norms
from lit_cnn.network.sizes import describe_sizes, takes
from lit_cnn.runs.format import CHECKPOINT_KEY, check_format
from lit_cnn.runs.identity import Rule, rule_of
from lit_cnn.system.paths import quoted
from lit_cnn.training.callbacks.finders import FINDERS, is_search_file
from lit_cnn.training.schedule import depends_on_length, planned_length
from lit_cnn.training.seen_images import warn_of_seen_images

WRITTEN_OUT = (layers.BatchNorm1d, layers.BatchNorm2d)
# Arguments that checkpoints of earlier versions do not have, with the values that are as before.
_NEWER_ARGUMENTS = {
    "model": {"norm_weight_decay": None, "unfreeze_at": None},
    "data": {"augment": "none", "balance": "none", "frame": None},
}


def compare_checkpoint(classifier: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
    """Refuses a checkpoint that does not fit a network, or from which its training cannot be resumed.

    Raises:
        ValueError: At the first difference.
    """
    path, fitting = _source(classifier)
    if CHECKPOINT_KEY not in checkpoint:
        _refuse(classifier, "an unknown network", f"which is {_class_path(classifier)}")
    metadata = checkpoint[CHECKPOINT_KEY]
    check_format(metadata, path or "the checkpoint")
    class_path = metadata["class_path"]
    # Another class may compute something else from tensors of the same shapes.
    if class_path != _class_path(classifier):
        _refuse(classifier, class_path, f"which is {_class_path(classifier)}")
    compare_arguments(classifier, class_path, checkpoint.get("hyper_parameters", {}))
    _compare_tensors(classifier, class_path, checkpoint["state_dict"])
    if fitting and "optimizer_states" not in checkpoint:
        raise ValueError(
            f"training cannot be resumed from {path}: it holds only weights; resume from last.ckpt (--ckpt_path last), "
            f"or start a new run from its weights (--model.weights RUN)"
        )
    is_average = "current_model_state" in checkpoint
    if fitting and is_average and not any(isinstance(one, WeightAveraging) for one in classifier.trainer.callbacks):
        raise ValueError(
            f"the training of {path} averages its weights and cannot be resumed without: give --ema as it had it "
            f"(in Python, the callback EMA), or start a new run from its weights (--model.weights {quoted(path)})"
        )
    if fitting and path is not None and not is_search_file(path):
        _compare_settings(classifier, path, checkpoint)


def _compare_settings(classifier: pl.LightningModule, path: Any, checkpoint: dict[str, Any]) -> None:
    """Refuses to resume a training with other settings than those with which it began."""
    finder = next((callback for callback in classifier.trainer.callbacks if isinstance(callback, FINDERS)), None)
    if finder is not None:
        raise ValueError(f"a resumed training keeps its rate and its batch size: remove {type(finder).__name__}")
    data = classifier.trainer.datamodule
    pairs = [("model", checkpoint.get("hyper_parameters", {}), classifier.hparams)]
    if data is not None:
        began, now = checkpoint.get("datamodule_hyper_parameters", {}), dict(data.hparams)
        if "augment" not in began and "augment" in now:  # of an earlier version, which had no presets
            augmentation = data.augmentation
            now |= {"flip": augmentation.flip, "crop_padding": augmentation.crop_padding}
            now["augment"] = now["augment"] if augmentation.draws_more else "none"
        pairs.append(("data", began, now))
    anew = f"or start a new run from its weights (--model.weights {quoted(path)})"
    for group, known, current in pairs:
        saved = {**_NEWER_ARGUMENTS[group], **known}
        for name in sorted(saved.keys() & current.keys() - {"weights"}):  # a checkpoint brings its own
            if saved[name] != current[name] and rule_of(f"{group}.{name}") is Rule.EQUAL:
                raise ValueError(
                    f"the training of {path} began with {group}.{name}={saved[name]} and cannot be resumed with "
                    f"{current[name]}: give its own value, {anew}"
                )
    schedule, warmup_ratio = classifier.hparams["schedule"], classifier.hparams["warmup_ratio"]
    planned = checkpoint.get("lit_cnn_resume", {}).get("length")
    if planned is None or not depends_on_length(schedule, warmup_ratio, classifier.hparams["unfreeze_at"]):
        return
    cause = f"the schedule {schedule} depends" if depends_on_length(schedule, warmup_ratio) else "unfreeze_at depends"
    for name, value in planned_length(classifier.trainer).items():
        if planned[name] != value:
            raise ValueError(
                f"the training of {path} began with {name}={planned[name]} and cannot be resumed with {value}: {cause} "
                f"on its length; give its own value, {anew}"
            )


def compare_arguments(classifier: pl.LightningModule, class_path: str, arguments: dict[str, Any]) -> None:
    """Refuses weights whose shapes may fit, but that were trained in a network that computes something else.

    Args:
        classifier: The classifier that shall get the weights.
        class_path: Class of the LightningModule in which the weights were trained.
        arguments: Arguments of that LightningModule.

    Raises:
        ValueError: If an argument differs that does not only matter in training.
    """
    own = signature(type(classifier).__init__).parameters.keys()
    current = {name: value for name, value in classifier.hparams.items() if name in own}
    if difference := find_difference(type(classifier), current, class_path, arguments):
        _compare(classifier, class_path, *difference)


def find_difference(
    cls: type[pl.LightningModule], current: Mapping[str, Any], class_path: str, saved: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """The first argument by which two networks of one class compute different things.

    Args:
        cls: Class of the LightningModule that shall get the weights.
        current: Arguments of its network.
        class_path: Class of the LightningModule in which the weights were trained.
        saved: Arguments of that LightningModule.

    Returns:
        Name, saved value, current value; None if there is no difference, or the classes differ, which the tensors show.
    """
    if class_path != f"{cls.__module__}.{cls.__qualname__}":
        return None
    compared = current.keys() & saved.keys() - {"num_classes", "in_channels", *cls.training_only}
    return next(((name, saved[name], current[name]) for name in sorted(compared) if saved[name] != current[name]), None)


def compare_with_data(classifier: pl.LightningModule, data: Any, stage: str) -> None:
    """Refuses data that do not fit a network.

    Args:
        classifier: The network.
        data: The data.
        stage: As Lightning names it; with ``fit`` the size of the batches is compared too.

    Raises:
        ValueError: If channels, classes, image size or batch size do not fit; names what would.
    """
    name = type(classifier).__name__
    channels = getattr(data, "channels", classifier.in_channels)
    if channels != classifier.in_channels:
        raise ValueError(
            f"{name} takes {classifier.in_channels} channels, but the images of {data.name} have {channels}: "
            f"build it with in_channels={channels}"
        )
    num_classes = getattr(data, "num_classes", classifier.num_classes)
    if num_classes > classifier.num_classes:
        raise ValueError(
            f"{name} has {classifier.num_classes} outputs, but {data.name} has {num_classes} classes: "
            f"build it with num_classes={num_classes}"
        )
    names = classifier.pretrained.class_names if classifier.pretrained else None
    if names and tuple(getattr(data, "class_names", names)) != names:
        rank_zero_warn(
            f"the last layer is that of {classifier.pretrained.source}, whose {len(names)} classes "
            f"({', '.join(names[:3])}, …) are not those of {data.name}: it must learn them first"
        )
    size = getattr(data, "image_size", None)
    takes_size = partial(takes, classifier.network, classifier.in_channels)
    if size is not None and not takes_size(size):
        raise ValueError(
            f"{name} cannot take images of {size}×{size}; it takes {describe_sizes(takes_size)}: "
            f"set image_size (--data.image_size)"
        )
    if stage == "fit":
        _compare_batch(classifier, data)
        if classifier.pretrained and data is not None:
            warn_of_seen_images(classifier.pretrained, data)


def _compare_batch(classifier: pl.LightningModule, data: Any) -> None:
    """Refuses batches of one image, if a BatchNorm of the network would get one value for each channel.

    Raises:
        ValueError: If a process gets one image of a batch; names ``batch_size``. If statistics are to be those of all
            processes, and a BatchNorm does not take part.
    """
    train = getattr(data, "splits", {}).get("train")
    if train is None:
        return
    trainer = classifier.trainer
    shared = trainer.world_size > 1 and getattr(trainer.strategy, "_layer_sync", None) is not None
    if shared and any(isinstance(module, WRITTEN_OUT) for module in classifier.modules()):
        raise ValueError(
            "trainer.sync_batchnorm reaches torch's BatchNorm alone, not the one that lit_cnn.layers writes out: "
            "leave it out, or take torch's"
        )
    images = min(data.batch_size, len(train.labels))
    searched = any(isinstance(callback, BatchSizeFinder) for callback in trainer.callbacks)
    if images // trainer.world_size > 1 or shared or searched:
        return
    alone: list[str] = []

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            alone.append(name)

    network = classifier.network
    norms = {name: norm for name, norm in network.named_modules() if isinstance(norm, BATCH_NORMS)}
    stay_frozen = classifier.hparams["freeze"] != "none" and classifier.hparams["unfreeze_at"] is None
    frozen = set(frozen_norms(network)) if stay_frozen else set()
    hooks = [norm.register_forward_pre_hook(partial(note, name)) for name, norm in norms.items() if norm not in frozen]
    parameter = next(network.parameters())
    image = torch.zeros(1, classifier.in_channels, data.image_size, data.image_size)
    try:
        with evaluating(network), torch.no_grad():
            network(image.to(parameter))
    finally:
        for hook in hooks:
            hook.remove()
    if alone:
        raise ValueError(
            f"BatchNorm {alone[0]} needs more than one image, but each device gets one of a batch of {images}: "
            f"set batch_size to at least {2 * trainer.world_size} (--data.batch_size), or give more training images"
        )


def _compare_tensors(classifier: pl.LightningModule, class_path: str, state_dict: dict[str, Any]) -> None:
    """Refuses tensors of other names or shapes."""
    own = classifier.state_dict()
    for name in [*own, *state_dict]:
        if name not in own or name not in state_dict:
            _refuse(classifier, class_path, f"only the {'checkpoint' if name in state_dict else 'network'} has {name}")
        _compare(classifier, class_path, name, tuple(state_dict[name].shape), tuple(own[name].shape))


def _compare(classifier: pl.LightningModule, class_path: str, name: str, checkpoint_value: Any, current_value: Any) -> None:
    if checkpoint_value != current_value:
        difference = f"{name} is {checkpoint_value} in the checkpoint and {current_value} in the network"
        _refuse(classifier, class_path, difference)


def _class_path(classifier: pl.LightningModule) -> str:
    cls = type(classifier)
    return f"{cls.__module__}.{cls.__qualname__}"


def _source(classifier: pl.LightningModule) -> tuple[Any, bool]:
    """The file from which a Trainer reads the checkpoint, None without a Trainer; whether it will train."""
    trainer = getattr(classifier, "_trainer", None)
    return (None, False) if trainer is None else (trainer.ckpt_path, trainer.state.fn == "fit")


def _refuse(classifier: pl.LightningModule, class_path: str, difference: str) -> NoReturn:
    path, _ = _source(classifier)
    hparams = classifier.hparams
    arguments = ", ".join(f"{key}={hparams[key]}" for key in ("variant", "num_classes", "in_channels") if key in hparams)
    raise ValueError(
        f"the weights{f' in {path}' if path else ''} do not fit: "
        f"they are of {class_path}, not of this {type(classifier).__name__}({arguments}); {difference}"
    )
