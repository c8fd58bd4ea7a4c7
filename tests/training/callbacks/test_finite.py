"""A training that goes astray ends at once and spoils nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Command
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from lit_cnn.data import FakeImages
from lit_cnn.errors import TrainingError
from lit_cnn.models.lenet import LitLeNet

MakeTrainer = Callable[..., Trainer]
FIT = ["fit", "--model", "LitLeNet", "--model.variant", "lenet_bn", "--data", "FakeImages", "--trainer.accelerator", "cpu"]


class Astray(LitLeNet):
    """Its loss becomes infinite or no number in one step."""

    def __init__(self, value: float) -> None:
        super().__init__(in_channels=1, num_classes=10)
        self.value = value
        self.steps = 0

    def training_loss(self, images, labels):
        logits, loss = super().training_loss(images, labels)
        self.steps += 1
        return logits, loss * self.value if self.steps == 6 else loss


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_batch_is_named_and_the_weights_are_those_before_it(trainer: MakeTrainer, value: float):
    class Keep(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.weights = {name: tensor.clone() for name, tensor in pl_module.network.state_dict().items()}
            self.positions = batch.positions.tolist()

    keep = Keep()
    classifier = Astray(value)
    fitted = trainer(max_epochs=3, callbacks=[keep])
    data = FakeImages(num_images=160, val_fraction=0.2, batch_size=32, native_size=28)
    with pytest.raises(TrainingError) as stopped:
        fitted.fit(classifier, datamodule=data)
    says = str(stopped.value)
    assert f"the training loss is {value}" in says
    assert "in epoch 1, batch 1" in says
    assert f"({', '.join(map(data.splits['train'].name, keep.positions[:3]))}, …)" in says
    assert classifier.steps == 6
    assert all(torch.equal(tensor, keep.weights[name]) for name, tensor in classifier.network.state_dict().items())


def test_a_run_ends_with_one_line_and_a_finite_best(lit_cnn: Command, tmp_path: Path):
    # A huge rate from the second epoch on: the first leaves a good checkpoint.
    options = ["--trainer.max_epochs", "30", "--model.lr", "1e18", "--model.schedule", "one_cycle", "--data.batch_size", "8"]
    done = lit_cnn(*FIT, *options, "--model.optimizer_args", "{momentum: 0.9}")
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: the ")
    assert "loss is" in line
    for path in tmp_path.glob("runs/*/*/*/checkpoints/*.ckpt"):
        for name, tensor in torch.load(path, weights_only=True)["state_dict"].items():
            assert torch.isfinite(tensor.float()).all(), f"{path} {name}"


def test_a_validation_loss_that_is_no_number_ends_training(trainer: MakeTrainer):
    class Spoil(Callback):
        def on_validation_start(self, trainer, pl_module):
            with torch.no_grad():
                next(pl_module.network.parameters()).fill_(float("nan"))

    with pytest.raises(TrainingError, match="the validation loss is nan after epoch 0"):
        trainer(max_epochs=2, callbacks=[Spoil()]).fit(LitLeNet(), datamodule=FakeImages(num_images=64))
