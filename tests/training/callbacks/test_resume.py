"""A run that was stopped anywhere and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import network_with_all_states
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, GradientAccumulationScheduler

from lit_cnn.data import FakeImages
from lit_cnn.errors import Interrupted
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.resume import step_seed
from lit_cnn.training.classifier import LitClassifier

MakeTrainer = Callable[..., Trainer]
BATCHES = 6  # of an epoch: 66 images train in batches of 11, 22 validate in two
EPOCHS = 3


class WithDropout(LitClassifier):
    """Small, with all that has a state of its own: dropout, BatchNorm, momentum, a schedule by steps."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1, schedule: str = "one_cycle", **kwargs: Any) -> None:
        network = network_with_all_states(num_classes, in_channels)
        super().__init__(network, num_classes, in_channels, lr=0.05, schedule=schedule, **kwargs)


@dataclass
class Stop(Callback):
    """Sends a signal to this process at one moment of the training."""

    hook: str
    epoch: int
    batch: int = -1

    def __post_init__(self) -> None:
        setattr(self, self.hook, self._maybe)

    def _maybe(self, trainer: Trainer, module: Any, *rest: Any) -> None:
        batch = next((value for value in rest if isinstance(value, int)), -1)
        if (trainer.current_epoch, batch) == (self.epoch, self.batch) and not trainer.sanity_checking:
            signal.raise_signal(signal.SIGTERM)


@dataclass
class History(Callback):
    """What every epoch reported, and every step's loss."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append((trainer.global_step, float(outputs["loss"])))

    def on_train_epoch_end(self, trainer, pl_module):
        names = ("train/loss", "train/acc", "val/loss", "val/acc", "val/f1", "val/ece")
        self.epochs.append(
            {name: float(trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics}
        )


@dataclass
class Fit:
    """A training in a folder, stopped or not."""

    folder: Path
    trainer: MakeTrainer
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    save_every_steps: int | None = None
    averaging: bool | float = False  # a decay: by this package
    starts: int | None = None  # step from which weights are averaged
    scheduling: dict[int, int] | None = None  # of the accumulation of gradients, by epoch
    stopping: dict[str, Any] | None = None  # arguments of EarlyStopping
    schedule: str = "one_cycle"
    model: dict[str, Any] = field(default_factory=dict)

    def run(self, stop: Callback | None = None, resume: bool = False) -> tuple[dict[str, Any], History]:
        torch.manual_seed(99 if resume else 0)
        run = Run(self.folder)
        history = History()
        last = Last(run)
        averaging: list[Callback] = []
        if self.averaging is True:
            averaging = [EMAWeightAveraging(decay=0.8, update_starting_at_step=self.starts)]
        elif self.averaging:
            averaging = [EMA(self.averaging)]
        accumulation = [GradientAccumulationScheduler(dict(self.scheduling))] if self.scheduling else []
        own = [history, Best(run), last, Interrupts(last, every_steps=self.save_every_steps)]
        stopping = [EarlyStopping(**self.stopping, check_on_train_epoch_end=False)] if self.stopping else []
        callbacks = [*averaging, *stopping, *accumulation, *own]
        settings = {"max_epochs": EPOCHS, "enable_checkpointing": True} | self.settings
        fitted = self.trainer(**settings, callbacks=[*callbacks, *([stop] if stop else [])])
        images = {"num_images": 88, "val_fraction": 0.25, "batch_size": 11, "crop_padding": 2, "flip": True} | self.data
        module = WithDropout(schedule=self.schedule, **self.model)
        checkpoint = str(run.last) if resume else None
        fitted.fit(module, datamodule=FakeImages(**images), ckpt_path=checkpoint, weights_only=True)
        state = torch.load(run.last, weights_only=True)
        names = ["state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"]
        names += ["current_model_state", "averaging_state"] if self.averaging else []
        kept = {key: state[key] for key in names}
        kept["stopping"] = [callback.state_dict() for callback in stopping]
        return kept | {"batches": fitted.fit_loop.epoch_loop._batches_that_stepped}, history

    def stopped_and_resumed(self, stop: Stop) -> tuple[dict[str, Any], History]:
        with pytest.raises(Interrupted) as stopped:
            self.run(stop)
        assert stopped.value.code == 128 + signal.SIGTERM
        return self.run(resume=True)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def check(tmp_path: Path, trainer: MakeTrainer, stop: Stop, **arguments: Any) -> None:
    whole, history = Fit(tmp_path / "whole", trainer, **arguments).run()
    resumed, rest = Fit(tmp_path / "stopped", trainer, **arguments).stopped_and_resumed(stop)
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert rest.epochs == history.epochs[-len(rest.epochs) :]
    assert rest.steps == history.steps[len(history.steps) - len(rest.steps) :]


MOMENTS = {
    "the first batch": Stop("on_train_batch_start", 0, 0),
    "amid an epoch": Stop("on_train_batch_start", 1, 3),
    "the last batch": Stop("on_train_batch_start", 1, BATCHES - 1),
    "the first batch of the last epoch": Stop("on_train_batch_start", EPOCHS - 1, 0),
    "the last batch of all": Stop("on_train_batch_start", EPOCHS - 1, BATCHES - 1),
    "the end of an epoch": Stop("on_train_epoch_end", 0),
    "the start of an epoch": Stop("on_train_epoch_start", 1),
    "validation begins": Stop("on_validation_start", 1),
    "amid validation": Stop("on_validation_batch_start", 1, 1),
    "amid the last validation": Stop("on_validation_batch_start", EPOCHS - 1, 0),
    "validation ends": Stop("on_validation_end", 0),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_it_was_stopped(tmp_path: Path, trainer: MakeTrainer, moment: str):
    check(tmp_path, trainer, MOMENTS[moment])


@pytest.mark.parametrize("moment", ["amid an epoch", "the last batch", "amid validation"])
@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate_grad_batches": 2},
        {"accumulate_grad_batches": 4},
        {"val_check_interval": 0.5},
        {"check_val_every_n_epoch": 2},
        {"max_epochs": -1, "max_steps": 15},
        {"max_steps": 15},
        {"overfit_batches": 3},
        {"num_sanity_val_steps": 1},
    ],
    ids=str,
)
def test_however_it_trains(tmp_path: Path, trainer: MakeTrainer, settings: dict[str, Any], moment: str):
    batches = settings.get("overfit_batches", BATCHES)
    stop = {
        "amid an epoch": Stop("on_train_batch_start", 1, batches // 2),
        "the last batch": Stop("on_train_batch_start", 1, batches - 1),
        "amid validation": Stop("on_validation_batch_start", 1, 0),
    }[moment]
    check(tmp_path, trainer, stop, settings=settings)


@pytest.mark.parametrize("averaging", [True, 0.9], ids=["Lightning's", "own"])
@pytest.mark.parametrize("moment", ["amid an epoch", "the last batch", "amid validation", "the end of an epoch"])
def test_with_averaged_weights(tmp_path: Path, trainer: MakeTrainer, moment: str, averaging: bool | float):
    check(tmp_path, trainer, MOMENTS[moment], averaging=averaging)


@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("mode", ["min", "max"])  # the loss falls: of "max", no epoch but the first is better
@pytest.mark.parametrize("averaging", [False, 0.9], ids=["trained", "averaged"])
def test_a_validation_is_counted_once(
    tmp_path: Path, trainer: MakeTrainer, averaging: bool | float, mode: str, patience: int
):
    stopping = {"monitor": "val/loss", "mode": mode, "patience": patience}
    check(tmp_path, trainer, MOMENTS["amid validation"], averaging=averaging, stopping=stopping)


def test_a_training_that_reached_its_aim_at_once_stays_as_it_is(tmp_path: Path, trainer: MakeTrainer):
    fit = Fit(tmp_path, trainer, stopping={"monitor": "val/loss", "stopping_threshold": 1e9})
    whole, history = fit.run()
    resumed, rest = fit.run(resume=True)
    assert (len(history.epochs), len(rest.epochs)) == (1, 0)
    assert same(resumed, whole)


def test_without_the_average_that_it_began_with_it_is_refused(tmp_path: Path, trainer: MakeTrainer):
    Fit(tmp_path, trainer, averaging=0.8).run()
    last = Run(tmp_path).last
    with pytest.raises(ValueError, match=r"averages its weights and cannot be resumed without: give --ema"):
        trainer(max_epochs=9).fit(WithDropout(), datamodule=FakeImages(num_images=88, val_fraction=0.25), ckpt_path=last)


def test_with_another_decay_than_it_began_with_it_is_refused(tmp_path: Path, trainer: MakeTrainer):
    Fit(tmp_path, trainer, averaging=0.8).run()
    with pytest.raises(ValueError, match=r"began with EMA\(0\.8\) and cannot be resumed with EMA\(0\.9\)"):
        Fit(tmp_path, trainer, averaging=0.9).run(resume=True)


def test_with_averaged_weights_of_accumulated_steps(tmp_path: Path, trainer: MakeTrainer):
    check(tmp_path, trainer, MOMENTS["amid an epoch"], settings={"accumulate_grad_batches": 2}, averaging=0.9)


def test_with_averaged_weights_of_double_precision(tmp_path: Path, trainer: MakeTrainer):
    check(tmp_path, trainer, MOMENTS["amid an epoch"], settings={"precision": "64-true"}, averaging=0.9)


@pytest.mark.parametrize("moment", ["amid an epoch", "the last batch", "amid validation", "the end of an epoch"])
def test_with_accumulation_that_changes(tmp_path: Path, trainer: MakeTrainer, moment: str):
    check(tmp_path, trainer, MOMENTS[moment], scheduling={0: 1, 1: 2})


@pytest.mark.parametrize("moment", ["amid an epoch", "the last batch", "the end of an epoch"])
def test_with_mixed_and_erased_images(tmp_path: Path, trainer: MakeTrainer, moment: str):
    augment = {"preset": "strong", "mixup": 0.2, "rotate": 10}
    check(tmp_path, trainer, MOMENTS[moment], data={"augment": augment})


def test_with_a_balanced_order(tmp_path: Path, trainer: MakeTrainer):
    check(tmp_path, trainer, MOMENTS["amid an epoch"], data={"balance": "sampler"})


# Unfrozen before step 10 of 18, which is batch 3 of the second epoch. A stop at the start of a batch comes after it.
@pytest.mark.parametrize(
    ("batch", "arguments"),
    [
        pytest.param(1, {}, marks=pytest.mark.slow),
        (2, {"averaging": True}),
        pytest.param(3, {"settings": {"accumulate_grad_batches": 2}}, marks=pytest.mark.slow),
    ],
    ids=["before", "at, averaged", "after, accumulated"],
)
def test_around_the_step_that_unfreezes(tmp_path: Path, trainer: MakeTrainer, batch: int, arguments: dict[str, Any]):
    model = {"freeze": "backbone", "unfreeze_at": 0.5, "norm_weight_decay": 0.0}
    check(tmp_path, trainer, Stop("on_train_batch_start", 1, batch), model=model, **arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_differs_by_rounding_alone(tmp_path: Path, trainer: MakeTrainer):
    settings = {"accelerator": "gpu", "devices": 1}
    whole, history = Fit(tmp_path / "whole", trainer, settings=settings).run()
    stopped = Fit(tmp_path / "stopped", trainer, settings=settings)
    resumed, rest = stopped.stopped_and_resumed(MOMENTS["amid an epoch"])
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=1e-3)
    assert [step for step, _ in rest.steps] == [step for step, _ in history.steps[-len(rest.steps) :]]


@dataclass
class Copy(Callback):
    """Keeps the checkpoint of the first epoch's end."""

    run: Run

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            shutil.copy(self.run.last, self.run.path / "copy.ckpt")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_epochs": -1, "max_steps": 15},
        {"max_steps": 15},
        {"max_steps": 12},
        {"max_steps": 15, "limit_val_batches": 0},
        {"limit_val_batches": 0},
        {"check_val_every_n_epoch": 2},
    ],
    ids=str,
)
def test_from_the_end_of_an_epoch(tmp_path: Path, trainer: MakeTrainer, settings: dict[str, Any]):
    fit = Fit(tmp_path, trainer, settings=settings)
    whole, history = fit.run(Copy(Run(tmp_path)))
    (tmp_path / "copy.ckpt").replace(Run(tmp_path).last)
    resumed, rest = fit.run(resume=True)
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert rest.epochs == history.epochs[1:]
    assert rest.steps == history.steps[BATCHES:]


class StopsAt(Callback):
    """Ends a training after a number of steps, as a time limit does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *rest):
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


LENGTHS = [{}, {"val_check_interval": 2}, {"limit_val_batches": 0}, {"max_epochs": -1, "max_steps": 15}]
ENDS = [(by, steps, length) for by in ("max_steps", "callback") for steps in (4, BATCHES, BATCHES + 2) for length in LENGTHS]
QUICK = [("max_steps", 4, {}), ("max_steps", BATCHES, {}), ("callback", BATCHES + 2, {"val_check_interval": 2})]


@pytest.mark.parametrize(
    ("by", "steps", "settings"),
    [pytest.param(*end, marks=[] if end in QUICK else pytest.mark.slow) for end in ENDS],
    ids=str,
)
def test_the_rest_of_an_epoch_that_was_cut_short(
    tmp_path: Path, trainer: MakeTrainer, by: str, steps: int, settings: dict[str, Any]
):
    whole, history = Fit(tmp_path / "whole", trainer, settings, schedule="constant").run()
    limit = {"max_steps": steps} if by == "max_steps" else {}
    Fit(tmp_path / "short", trainer, settings | limit, schedule="constant").run(None if limit else StopsAt(steps))
    resumed, rest = Fit(tmp_path / "short", trainer, settings, schedule="constant").run(resume=True)
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert rest.steps == history.steps[steps:]
    assert rest.epochs == history.epochs[-len(rest.epochs) :]


class StopsAfter(Callback):
    """Ends a training after a number of batches, as a time limit does, also while gradients accumulate."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches -= 1
        trainer.should_stop = trainer.should_stop or self.batches == 0


WINDOWS = [{}, {"val_check_interval": 2}, {"limit_val_batches": 0}]


@pytest.mark.parametrize(
    ("stop", "last", "settings"),
    [
        pytest.param(*stop, settings, marks=[] if (stop[0], settings) == (BATCHES + 2, {}) else pytest.mark.slow)
        for stop in ((1, 4), (4, 4), (5, BATCHES), (BATCHES + 2, BATCHES + 4))
        for settings in WINDOWS
    ],
    ids=str,
)
def test_a_time_limit_lets_the_step_of_accumulated_gradients_end(
    tmp_path: Path, trainer: MakeTrainer, stop: int, last: int, settings: dict[str, Any]
):
    settings = settings | {"accumulate_grad_batches": 4}
    whole, history = Fit(tmp_path / "whole", trainer, settings, schedule="constant").run()
    Fit(tmp_path / "short", trainer, settings, schedule="constant").run(StopsAfter(stop))
    resumed, rest = Fit(tmp_path / "short", trainer, settings, schedule="constant").run(resume=True)
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert rest.steps == history.steps[last:]
    assert rest.epochs == history.epochs[-len(rest.epochs) :]


@pytest.mark.parametrize("moment", ["amid an epoch", "the last batch"])
def test_without_validation(tmp_path: Path, trainer: MakeTrainer, moment: str):
    check(tmp_path, trainer, MOMENTS[moment], settings={"limit_val_batches": 0})


@pytest.mark.parametrize("workers", [1, 2])
def test_with_workers(tmp_path: Path, trainer: MakeTrainer, workers: int):
    check(tmp_path, trainer, MOMENTS["amid an epoch"], data={"num_workers": workers})


@dataclass
class SaveAfterValidation(Callback):
    """Saves when the first validation has ended, within its epoch."""

    path: Path

    def on_validation_end(self, trainer, pl_module):
        if trainer.current_epoch == 0 and not self.path.exists():
            trainer.save_checkpoint(self.path)


def test_from_a_checkpoint_that_was_saved_after_a_validation(tmp_path: Path, trainer: MakeTrainer):
    fit = Fit(tmp_path, trainer)
    whole, history = fit.run(SaveAfterValidation(tmp_path / "copy.ckpt"))
    (tmp_path / "copy.ckpt").replace(Run(tmp_path).last)
    resumed, rest = fit.run(resume=True)
    assert same(resumed, whole)
    assert rest.epochs == history.epochs


@pytest.mark.parametrize("averaging", [False, True])
def test_training_is_not_resumed_from_the_best(tmp_path: Path, trainer: MakeTrainer, averaging: bool):
    fit = Fit(tmp_path, trainer, averaging=averaging)
    fit.run()
    run = Run(tmp_path)
    run.best.replace(run.last)
    with pytest.raises(
        ValueError, match=r"cannot be resumed from .*last\.ckpt: it holds only weights; resume from last\.ckpt"
    ):
        fit.run(resume=True)


def test_steps_have_random_numbers_of_their_own():
    seeds = {step_seed(seed, epoch, batch) for seed in (0, 1) for epoch in (0, 1) for batch in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert step_seed(0, 1, 2) == step_seed(0, 1, 2)
