"""Which checkpoint of a training is kept as the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.record import Recorder

MakeTrainer = Callable[..., Trainer]
SCORES = {
    "val/acc": [0.2, 0.9, 0.9, 0.5, 0.9, 0.1],
    "val/loss": [2.0, 0.5, 0.9, 0.5, 0.7, 0.6],
    "val/f1": [0.1, 0.2, 0.6, 0.4, 0.3, 0.5],
}


class Scripted(LitLeNet):
    """Reports given validation metrics."""

    def __init__(self) -> None:
        super().__init__(schedule="constant")

    def on_validation_epoch_end(self) -> None:
        self.log_dict({name: values[self.current_epoch] for name, values in SCORES.items()})


def fit(trainer: MakeTrainer, run: Run, judged_by: str, epochs: int, recorder: Recorder | None = None) -> Best:
    best = Best(run, judged_by)
    callbacks = [*([recorder] if recorder else []), best, Last(run)]
    fitted = trainer(max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks)
    checkpoint = run.last if run.last.is_file() else None
    fitted.fit(Scripted(), datamodule=FakeImages(num_images=64), ckpt_path=checkpoint, weights_only=True)
    return best


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("judged_by", "epoch"), [("val/acc", 4), ("val/loss", 3), ("val/f1", 2), ("last", 5)])
def test_the_best_is_judged_by_what_is_named(
    trainer: MakeTrainer, tmp_path: Path, judged_by: str, epoch: int, resumed: bool
):
    run, recorder = Run(tmp_path), Recorder(None)
    if resumed:
        fit(trainer, run, judged_by, 3)
    best = fit(trainer, run, judged_by, 6, recorder)
    assert torch.load(run.best, weights_only=True)["epoch"] == epoch
    assert best.scores == {name: pytest.approx(values[epoch]) for name, values in SCORES.items()}
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_checkpoints_of_earlier_versions_keep_their_best(trainer: MakeTrainer, tmp_path: Path):
    run = Run(tmp_path)
    fit(trainer, run, "val/acc", 3)
    checkpoint = torch.load(run.last, weights_only=True)
    (key,) = (key for key in checkpoint["callbacks"] if key.startswith("Best"))
    for name in ("scores", "class_counts"):
        del checkpoint["callbacks"][key][name]
    torch.save(checkpoint, run.last)
    best = fit(trainer, run, "val/acc", 4)
    assert best.scores == {"val/acc": pytest.approx(0.9)}
    assert torch.load(run.best, weights_only=True)["epoch"] == 2
