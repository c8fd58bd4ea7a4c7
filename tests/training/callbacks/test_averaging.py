"""Averaged weights that begin late: until then, what is trained is validated and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, WeightAveraging
from test_resume import BATCHES, MOMENTS, Fit, History, WithDropout, same

from lit_cnn.data import FakeImages
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.interrupts import Interrupts

MakeTrainer = Callable[..., Trainer]


class Weights(Callback):
    """The trained weights, and those that are validated, by epoch."""

    def __init__(self) -> None:
        self.trained: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, *rest):
        if rest[-1] == BATCHES - 1:
            self.trained.append(torch.cat([p.detach().flatten().clone() for p in pl_module.parameters()]))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *rest):
        if batch_idx == 0:
            self.validated.append(torch.cat([p.detach().flatten().clone() for p in pl_module.parameters()]))


def fit(folder: Path, trainer: MakeTrainer, averaging: dict[str, Any] | None, epochs: int = 3) -> tuple[Weights, dict]:
    torch.manual_seed(0)
    run, weights, history = Run(folder), Weights(), History()
    last = Last(run)
    average = [EMAWeightAveraging(decay=0.5, **averaging)] if averaging is not None else []
    callbacks = [*average, weights, history, Best(run), last, Interrupts(last)]
    fitted = trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks)
    images = FakeImages(num_images=88, val_fraction=0.25, batch_size=11)
    fitted.fit(WithDropout(schedule="constant"), datamodule=images)
    return weights, torch.load(run.last, weights_only=True)


LATE = {
    "step": {"update_starting_at_step": BATCHES + 2},
    "epoch": {"update_every_n_steps": 0, "update_starting_at_epoch": 1},
}


def test_until_it_begins_all_is_as_without_it(tmp_path: Path, trainer: MakeTrainer):
    plain, checkpoint = fit(tmp_path / "plain", trainer, None)
    late, late_checkpoint = fit(tmp_path / "late", trainer, {"update_starting_at_step": 1000})
    assert same(late_checkpoint["state_dict"], checkpoint["state_dict"])
    best = [torch.load(Run(tmp_path / name).best, weights_only=True)["state_dict"] for name in ("plain", "late")]
    assert same(*best)
    assert all(map(torch.equal, late.validated, plain.validated))


@pytest.mark.parametrize("start", LATE)
def test_from_its_begin_the_average_is_used(tmp_path: Path, trainer: MakeTrainer, start: str):
    weights, checkpoint = fit(tmp_path, trainer, LATE[start])
    used = [torch.equal(one, other) for one, other in zip(weights.trained, weights.validated, strict=True)]
    assert used == ([True, False, False] if start == "step" else [True, True, False])
    assert not same(checkpoint["state_dict"], checkpoint["current_model_state"])


@pytest.mark.parametrize(
    "moment",
    ["amid an epoch", *(pytest.param(m, marks=pytest.mark.slow) for m in ("the end of an epoch", "amid validation"))],
)
@pytest.mark.parametrize("starts", [BATCHES - 2, pytest.param(1000, marks=pytest.mark.slow)])
def test_it_is_resumed_exactly(tmp_path: Path, trainer: MakeTrainer, moment: str, starts: int):
    arguments = {"averaging": True, "starts": starts}
    whole, history = Fit(tmp_path / "whole", trainer, **arguments).run()
    resumed, rest = Fit(tmp_path / "stopped", trainer, **arguments).stopped_and_resumed(MOMENTS[moment])
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert rest.epochs == history.epochs[-len(rest.epochs) :]


BALANCED = {
    "by the model": {"model": {"class_weights": "balanced"}, "averaging": 0.8},
    "by the data": {"data": {"balance": "weights"}, "averaging": True, "starts": BATCHES - 2},
}


@pytest.mark.parametrize("balanced", BALANCED)
def test_a_training_that_balances_classes_is_averaged_and_resumed_exactly(
    tmp_path: Path, trainer: MakeTrainer, balanced: str
):
    whole, _ = Fit(tmp_path / "whole", trainer, **BALANCED[balanced]).run()
    resumed, _ = Fit(tmp_path / "stopped", trainer, **BALANCED[balanced]).stopped_and_resumed(MOMENTS["amid an epoch"])
    assert same(resumed, whole), [key for key in whole if not same(resumed[key], whole[key])]
    assert not same(whole["state_dict"], whole["current_model_state"])
    assert not [name for name in whole["state_dict"] if "class_weights" in name]


# The average of this package


class Every(Callback):
    """The state of the network after each step."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_fit_start(self, trainer, pl_module):
        self._add(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *rest):
        self._add(pl_module)

    def _add(self, pl_module):
        self.states.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def test_the_average_is_that_of_the_formula(tmp_path: Path, trainer: MakeTrainer):
    every, run = Every(), Run(tmp_path)
    fitted = trainer(max_epochs=2, enable_checkpointing=True, callbacks=[EMA(0.3), every, Last(run)])
    module = WithDropout()
    fitted.fit(module, datamodule=FakeImages(num_images=88, val_fraction=0.25, batch_size=11))
    decays = [0.1, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 9 / 18, 10 / 19, 11 / 20, 12 / 21]
    assert len(every.states) - 1 == len(decays) == 2 * BATCHES
    saved = torch.load(run.last, weights_only=True)
    for name, final in module.state_dict().items():
        expected = every.states[0][name].double()
        for decay, state in zip(decays, every.states[1:], strict=True):
            expected = min(decay, 0.3) * expected + (1 - min(decay, 0.3)) * state[name]
        if not final.is_floating_point():
            expected = every.states[-1][name]
        torch.testing.assert_close(final, expected.to(final.dtype))
        assert torch.equal(saved["state_dict"][name], final)
        assert torch.equal(saved["current_model_state"][name], every.states[-1][name])


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_decay_is_between_0_and_1(decay: float):
    with pytest.raises(ValueError, match=r"must be between 0 and 1, got"):
        EMA(decay)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_weights_of_16_bits_are_not_averaged(trainer: MakeTrainer, precision: str):
    with pytest.raises(ValueError, match=rf"{precision} are too coarse to be averaged; use {precision[:-4]}mixed"):
        trainer(precision=precision, callbacks=[EMA()]).fit(WithDropout(), datamodule=FakeImages(num_images=44))


@pytest.mark.parametrize("callback", [WeightAveraging, EMAWeightAveraging])
@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("bf16-true", "bf16-true are too coarse to be averaged; use bf16-mixed"),
        ("64-true", "{name} rounds weights of precision 64-true to 32 bits: use --ema"),
    ],
)
def test_the_averages_of_lightning_refuse_what_they_would_round(
    trainer: MakeTrainer, callback: type[WeightAveraging], precision: str, message: str
):
    with pytest.raises(ValueError, match=message.format(name=callback.__name__)):
        trainer(precision=precision, callbacks=[callback()]).fit(WithDropout(), datamodule=FakeImages(num_images=44))


def test_it_trains_in_mixed_precision(trainer: MakeTrainer):
    module = WithDropout()
    trainer(precision="bf16-mixed", callbacks=[EMA()]).fit(module, datamodule=FakeImages(num_images=44, batch_size=11))
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_training_is_the_same_with_an_average(tmp_path: Path, trainer: MakeTrainer):
    states = []
    for number, callbacks in enumerate(([], [EMA(0.9)])):
        torch.manual_seed(0)
        run = Run(tmp_path / str(number))
        fitted = trainer(max_epochs=2, enable_checkpointing=True, callbacks=[*callbacks, Last(run)])
        fitted.fit(WithDropout(), datamodule=FakeImages(num_images=88, val_fraction=0.25, batch_size=11))
        states.append(torch.load(run.last, weights_only=True))
    assert same(states[0]["state_dict"], states[1]["current_model_state"])
    assert same(states[0]["optimizer_states"], states[1]["optimizer_states"])
