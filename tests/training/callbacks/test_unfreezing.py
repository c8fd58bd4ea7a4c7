"""A frozen part that is trained too, from a share of the training on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Command, network_with_all_states
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import BatchSizeFinder, Callback

from lit_cnn.data import FakeImages
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.classifier import LitClassifier

MakeTrainer = Callable[..., Trainer]
BATCHES = 6  # of an epoch


class Small(LitClassifier):
    def __init__(self, num_classes: int = 10, in_channels: int = 1, **kwargs: Any) -> None:
        arguments = {"freeze": "backbone", "schedule": "constant", "lr": 0.05} | kwargs
        super().__init__(network_with_all_states(num_classes, in_channels), num_classes, in_channels, **arguments)


class Trained(Callback):
    """Notes before each step how many parameters have gradients, and whether the BatchNorm learns."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.norms: list[bool] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.numbers.append(sum(parameter.grad is not None for parameter in pl_module.network.parameters()))
        self.norms.append(pl_module.network[1].training)


def fit(
    trainer: MakeTrainer, *callbacks: Callback, seed: int = 0, classifier: Small | None = None, **settings: Any
) -> Small:
    torch.manual_seed(seed)
    classifier = classifier or Small(unfreeze_at=0.5)
    data = FakeImages(num_images=88, batch_size=11, seed=0)
    trainer(**{"max_epochs": 2, "callbacks": [*callbacks], **settings}).fit(classifier, datamodule=data)
    return classifier


@pytest.mark.parametrize(
    ("share", "settings", "frozen", "steps"),
    [
        (0.5, {}, 6, 12),  # the first step at the half
        (0.45, {}, 6, 12),
        (0.01, {}, 1, 12),
        (0.5, {"accumulate_grad_batches": 4}, 2, 4),  # an epoch ends with a step
        (0.4, {"accumulate_grad_batches": 4}, 2, 4),
        (0.3, {"accumulate_grad_batches": 4}, 1, 4),
        (0.5, {"max_steps": 4}, 2, 4),
        (0.5, {"max_epochs": -1, "max_steps": 4}, 2, 4),
        (0.3, {"val_check_interval": 0.5}, 4, 12),
    ],
)
def test_it_begins_with_the_first_step_at_the_share(
    trainer: MakeTrainer, share: float, settings: dict[str, Any], frozen: int, steps: int
):
    trained = Trained()
    fit(trainer, trained, classifier=Small(unfreeze_at=share), **settings)
    assert trained.numbers == [2] * frozen + [6] * (steps - frozen)
    assert trained.norms == [False] * frozen + [True] * (steps - frozen)


def test_until_then_the_frozen_part_is_as_at_the_start_and_its_optimiser_state_is_new(trainer: MakeTrainer):
    class AtTheEnd(Callback):
        """Whether the parameters and statistics of the frozen part have changed, and have a momentum, after each step."""

        def __init__(self) -> None:
            self.changed: list[bool] = []
            self.momenta: list[int] = []

        def on_train_start(self, trainer, pl_module):
            self.start = {key: value.clone() for key, value in pl_module.network[:2].state_dict().items()}

        def on_train_batch_end(self, trainer, pl_module, *_):
            now = pl_module.network[:2].state_dict()
            self.changed.append(any(not torch.equal(now[key], value) for key, value in self.start.items()))
            self.momenta.append(len(trainer.optimizers[0].state))

    watch = AtTheEnd()
    fit(trainer, watch)
    assert watch.changed == [False] * 6 + [True] * 6
    assert watch.momenta == [2] * 6 + [6] * 6


def test_the_first_half_is_the_training_of_a_network_that_stays_frozen(trainer: MakeTrainer):
    half = {"limit_val_batches": 0, "max_epochs": -1, "max_steps": 6}
    torch.manual_seed(0)
    frozen = fit(trainer, classifier=Small(), **half)

    class Half(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 6:
                self.weights = {key: value.clone() for key, value in pl_module.network.state_dict().items()}

    kept = Half()
    torch.manual_seed(0)
    fit(trainer, kept, classifier=Small(unfreeze_at=0.5), limit_val_batches=0)
    torch.testing.assert_close(kept.weights, frozen.network.state_dict(), rtol=0, atol=0)


def test_a_second_training_begins_frozen_too(trainer: MakeTrainer):
    classifier = fit(trainer)
    trained = Trained()
    fit(trainer, trained, classifier=classifier)
    assert trained.numbers == [2] * 6 + [6] * 6


def test_averaged_weights_follow(trainer: MakeTrainer):
    class Weights(Callback):
        def __init__(self) -> None:
            self.of_steps: list[torch.Tensor] = []

        def on_train_batch_end(self, trainer, pl_module, *rest):
            self.of_steps.append(pl_module.network[0].weight.detach().clone())

    every = Weights()
    averaged = fit(trainer, EMA(0.5), every).network[0].weight
    expected = every.of_steps[0]
    for update, weight in enumerate(every.of_steps):
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(averaged, expected)
    assert torch.equal(every.of_steps[0], every.of_steps[5])
    assert not torch.equal(averaged, every.of_steps[5])
    assert not torch.equal(averaged, every.of_steps[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unfreeze_at": 0.0}, r"unfreeze_at must be above 0 and below 1, a share of the training, got 0\.0"),
        ({"unfreeze_at": 1}, "unfreeze_at must be above 0 and below 1, a share of the training, got 1"),
        ({"unfreeze_at": float("nan")}, "unfreeze_at must be above 0 and below 1"),
        ({"unfreeze_at": 0.3, "freeze": "none"}, r"unfreeze_at=0\.3 needs a frozen part: set freeze"),
    ],
)
def test_other_shares_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Small(**arguments)


@pytest.mark.parametrize(
    ("share", "settings", "message"),
    [
        (0.95, {}, r"unfreeze_at=0\.95 is later than the last step, which begins at 0\.917 of the training: lower it"),
        (0.9, {"accumulate_grad_batches": 4}, r"unfreeze_at=0\.9 is later than the last step, which begins at 0\.833"),
        (0.8, {"max_steps": 4}, r"unfreeze_at=0\.8 is later than the last step, which begins at 0\.75"),
        (0.5, {"max_epochs": -1}, r"unfreeze_at needs an end: set --trainer\.max_epochs"),
        (0.5, {"callbacks": [BatchSizeFinder()]}, "BatchSizeFinder measures the frozen network, which unfreeze_at ends"),
    ],
)
def test_a_share_that_never_comes_is_refused(trainer: MakeTrainer, share: float, settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        fit(trainer, classifier=Small(unfreeze_at=share), **settings)


def test_a_training_that_is_stopped_before_says_so(trainer: MakeTrainer):
    class Stops(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = True

    with pytest.warns(UserWarning, match=r"the training ended before unfreeze_at=0\.5: the frozen part is as it was"):
        fit(trainer, Stops())


@pytest.mark.slow
def test_the_command_prints_it_and_keeps_the_length_of_a_resumed_run(lit_cnn: Command):
    small = ["--model", "lenet", "--data", "digits", "--data.image_size", "28", "--data.batch_size", "500", "--name", "run"]
    options = ["--model.freeze", "backbone", "--model.unfreeze_at", "0.3", "--model.schedule", "constant"]
    done = lit_cnn("fit", *small, *options, "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert "freeze=backbone: 850 parameters are trained, all from 0.3 of the training on" in done.stdout
    longer = lit_cnn("resume", "runs/digits/lenet/run", "--trainer.max_epochs", "3")
    assert longer.returncode == 2
    assert "the schedule constant with unfreeze_at depends on the length of the training" in longer.stderr
