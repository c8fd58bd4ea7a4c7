"""Averaged weights that begin late: until then, what is trained is validated and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from test_resume import BATCHES, MOMENTS, Fit, History, WithDropout, same

from lit_cnn.data import FakeImages
from lit_cnn.runs.folder import Run
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
