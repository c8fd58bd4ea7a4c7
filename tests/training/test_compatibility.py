"""A training is resumed from Python with the settings with which it began, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, LearningRateFinder
from torch import nn

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.checkpointing import Last
from lit_cnn.training.classifier import LitClassifier

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def fit(trainer: MakeTrainer, tmp_path: Path) -> Callable[..., Trainer]:
    """Trains for an epoch; resumes if there is a checkpoint."""

    def run(model: dict[str, Any], data: dict[str, Any], **settings: Any) -> Trainer:
        last = Run(tmp_path).last
        fitted = trainer(enable_checkpointing=True, callbacks=[Last(Run(tmp_path))], **settings)
        images = FakeImages(**{"num_images": 64, "batch_size": 8} | data)
        path = last if last.exists() else None
        fitted.fit(LitLeNet(**model), datamodule=images, ckpt_path=path, weights_only=True)
        return fitted

    return run


CONSTANT = {"schedule": "constant"}


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({"lr": 0.5}, {}, r"began with model\.lr=0\.01 and cannot be resumed with 0\.5"),
        ({"optimizer": "Adam"}, {}, r"began with model\.optimizer=SGD and cannot be resumed with Adam"),
        ({"optimizer_args": {"momentum": 0.5}}, {}, r"began with model\.optimizer_args=None"),
        ({"schedule": "step"}, {}, r"began with model\.schedule=constant"),
        ({}, {"batch_size": 16}, r"began with data\.batch_size=8 and cannot be resumed with 16"),
        ({}, {"flip": True}, r"began with data\.flip=None"),
        ({}, {"augmentation_seed": 4}, r"began with data\.augmentation_seed=None"),
    ],
    ids=str,
)
def test_another_setting_is_refused(fit: Callable[..., Trainer], model: dict, data: dict, message: str):
    fit(CONSTANT, {})
    with pytest.raises(ValueError, match=message):
        fit(CONSTANT | model, data, max_epochs=2)


@pytest.mark.parametrize(
    "setting", [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.1}, {"precision": "bf16-mixed"}], ids=str
)
def test_another_setting_of_the_trainer_is_refused(fit: Callable[..., Trainer], setting: dict[str, Any]):
    fit(CONSTANT, {})
    (name,) = setting
    with pytest.raises(ValueError, match=f"began with {name}=.* and cannot be resumed with {setting[name]}"):
        fit(CONSTANT, {}, max_epochs=2, **setting)


def test_another_seed_is_refused(fit: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch):
    fit(CONSTANT, {"split_seed": 0})
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    with pytest.raises(ValueError, match=r"began with seed 0 and cannot be resumed with 5: call seed_everything\(0\) first"):
        fit(CONSTANT, {"split_seed": 0}, max_epochs=2)


@pytest.mark.parametrize("model", [{"schedule": "cosine"}, {"schedule": "constant", "warmup_ratio": 0.2}], ids=str)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 2}, "began with max_epochs=1 and cannot be resumed with 2: the schedule"),
        ({"max_steps": 5}, "began with max_steps=-1 and cannot be resumed with 5"),
        ({"limit_train_batches": 2}, r"began with limit_train_batches=1\.0 and cannot be resumed with 2"),
    ],
    ids=str,
)
def test_another_length_is_refused_where_the_schedule_depends_on_it(
    fit: Callable[..., Trainer], model: dict, settings: dict, message: str
):
    fit(model, {})
    with pytest.raises(ValueError, match=message):
        fit(model, {}, **settings)


def test_another_length_is_refused_where_unfreezing_depends_on_it(fit: Callable[..., Trainer]):
    model = CONSTANT | {"freeze": "backbone", "unfreeze_at": 0.5}
    fit(model, {})
    with pytest.raises(ValueError, match="began with max_epochs=1 and cannot be resumed with 2: unfreeze_at depends on its"):
        fit(model, {}, max_epochs=2)


def test_a_checkpoint_of_an_earlier_version_is_resumed_as_before(fit: Callable[..., Trainer], tmp_path: Path):
    fit(CONSTANT, {})
    content = torch.load(Run(tmp_path).last, weights_only=True)
    for name in ("norm_weight_decay", "unfreeze_at"):
        del content["hyper_parameters"][name]
    del content["datamodule_hyper_parameters"]["balance"]
    torch.save(content, Run(tmp_path).last)
    with pytest.raises(ValueError, match=r"began with model\.norm_weight_decay=None and cannot be resumed with 0"):
        fit(CONSTANT | {"norm_weight_decay": 0}, {}, max_epochs=2)
    with pytest.raises(ValueError, match=r"began with data\.balance=none and cannot be resumed with sampler"):
        fit(CONSTANT, {"balance": "sampler"}, max_epochs=2)
    assert fit(CONSTANT, {}, max_epochs=2).current_epoch == 2


class OneMore(Callback):
    """Adds an epoch, as StochasticWeightAveraging does for a network with BatchNorm."""

    def on_fit_start(self, trainer, pl_module):
        trainer.fit_loop.max_epochs += 1


def test_the_planned_length_is_that_before_a_callback_changed_it(trainer: MakeTrainer, tmp_path: Path):
    run = Run(tmp_path)
    for path in (None, run.last):
        fitted = trainer(enable_checkpointing=True, callbacks=[OneMore(), Last(run)])
        fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=64), ckpt_path=path, weights_only=True)


def test_a_resumed_training_is_not_searched_again(trainer: MakeTrainer, tmp_path: Path, fit: Callable[..., Trainer]):
    fit(CONSTANT, {})
    fitted = trainer(callbacks=[LearningRateFinder()], max_epochs=2)
    images = FakeImages(num_images=64, batch_size=8)
    with pytest.raises(ValueError, match="keeps its rate and its batch size: remove LearningRateFinder"):
        fitted.fit(LitLeNet(**CONSTANT), datamodule=images, ckpt_path=Run(tmp_path).last, weights_only=True)


def test_what_may_change_is_taken(fit: Callable[..., Trainer]):
    steps = fit(CONSTANT, {}).global_step
    longer = fit(CONSTANT, {"num_workers": 1}, max_epochs=3, limit_train_batches=2)
    assert longer.global_step == steps + 4


class Pooled(LitClassifier):
    """BatchNorm on a map of ``size`` × ``size``."""

    def __init__(self, size: int = 1, **kwargs: Any) -> None:
        norm = [nn.AdaptiveAvgPool2d(size), nn.BatchNorm2d(4), nn.Flatten()]
        super().__init__(nn.Sequential(nn.Conv2d(1, 4, 3), *norm, nn.Linear(4 * size * size, 10)), 10, 1, **kwargs)


@pytest.mark.parametrize(
    ("model", "data", "refused"),
    [
        ({}, {"batch_size": 1}, True),
        ({}, {"batch_size": 2}, False),
        ({"size": 2}, {"batch_size": 1}, False),
        ({"freeze": "2"}, {"batch_size": 1}, False),
    ],
    ids=str,
)
def test_a_batch_of_one_image_is_refused_where_batch_norm_needs_two(
    trainer: MakeTrainer, model: dict[str, Any], data: dict[str, Any], refused: bool
):
    images = FakeImages(**{"num_images": 40} | data)
    if not refused:
        trainer(max_steps=1).fit(Pooled(**model), datamodule=images)
        return
    with pytest.raises(ValueError, match=r"BatchNorm 2 needs more than one image, .* set batch_size to at least 2"):
        trainer(max_steps=1).fit(Pooled(**model), datamodule=images)


def test_batch_norm_that_is_written_out_is_not_said_to_share_its_statistics(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
):
    ours = trainer(max_steps=1)
    monkeypatch.setattr(ours.strategy, "_layer_sync", object(), raising=False)
    monkeypatch.setattr(type(ours), "world_size", property(lambda _: 2))
    with pytest.raises(
        ValueError, match=r"sync_batchnorm reaches torch's BatchNorm alone, not the one that lit_cnn\.layers"
    ):
        ours.fit(LitLeNet(variant="lenet_bn", batch_norm="lit_cnn"), datamodule=FakeImages(num_images=40))
