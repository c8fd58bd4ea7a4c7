import math
from collections.abc import Callable

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
)

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.training.schedule import rate_factor


def course(schedule: str, num_steps: int = 100, warmup_ratio: float = 0.0) -> list[float]:
    factor = rate_factor(schedule, num_steps, warmup_ratio)
    return [factor(step) for step in range(num_steps + 1)]


def test_constant():
    assert set(course("constant")) == {1.0}


def test_step_falls_to_a_tenth_twice():
    factors = course("step")
    assert factors[49] == 1
    assert factors[50] == factors[74] == pytest.approx(0.1)
    assert factors[75] == pytest.approx(0.01)


def test_cosine_falls_from_one_to_zero_and_is_half_way_in_the_middle():
    factors = course("cosine")
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert factors == sorted(factors, reverse=True)


def test_one_cycle_peaks_at_thirty_per_cent():
    factors = course("one_cycle")
    assert factors[0] == pytest.approx(1 / 25)
    assert max(range(101), key=factors.__getitem__) == 30
    assert factors[30] == pytest.approx(1)
    assert factors[100] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_warm_up_rises_linearly_into_the_schedule(schedule: str):
    factors = course(schedule, warmup_ratio=0.1)
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    rates = course(schedule, num_steps=90)
    assert factors[10:] == pytest.approx(rates)


def test_past_the_end_the_rate_stays():
    factor = rate_factor("cosine", 10)
    assert factor(25) == factor(10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", 10), "schedule must be one of constant, step, cosine, one_cycle, got 'linear'"),
        (("cosine", 10, 1.0), r"warmup_ratio must be at least 0 and below 1, got 1\.0"),
        (("one_cycle", 10, 0.1), "one_cycle has its own warm-up"),
    ],
)
def test_nonsense_is_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        rate_factor(*arguments)


# In training


class Rates(Callback):
    """Keeps the learning rate of each optimiser step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[-1]["lr"])


MakeTrainer = Callable[..., Trainer]
NUM_BATCHES = 12  # of an epoch


def rates_of(
    trainer: MakeTrainer, model: dict | None = None, callbacks: tuple[Callback, ...] = (), **settings
) -> list[float]:
    rates = Rates()
    fitted = trainer(max_epochs=2, limit_val_batches=0, callbacks=[*callbacks, rates], **settings)
    data = FakeImages(num_images=5 * NUM_BATCHES, batch_size=4, val_fraction=0.2)
    fitted.fit(LitLeNet(lr=0.1, **model or {}), datamodule=data)
    return rates.rates


def cosine(share: float) -> float:
    return 0.1 * (1 + math.cos(math.pi * share)) / 2


def test_the_schedule_ends_with_the_training(trainer: MakeTrainer):
    expected = [cosine(step / 24) for step in range(24)]
    assert rates_of(trainer) == expected
    assert rates_of(trainer, accumulate_grad_batches=4) == expected[::4]
    assert rates_of(trainer, limit_train_batches=3) == [cosine(step / 6) for step in range(6)]


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({"max_steps": 6}, [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]),  # ends before the second epoch
        ({"max_steps": 6, "accumulate_grad_batches": 4}, [0, 4 / 24, 8 / 24, 12 / 24, 16 / 24, 20 / 24]),
        ({"max_steps": 3, "accumulate_grad_batches": 4}, [0, 1 / 3, 2 / 3]),
        ({"max_steps": 99, "accumulate_grad_batches": 5}, [0, 5 / 24, 10 / 24, 12 / 24, 17 / 24, 22 / 24]),
    ],
    ids=str,
)
def test_epochs_or_steps_end_the_schedule_whichever_comes_first(trainer: MakeTrainer, settings: dict, shares: list[float]):
    assert rates_of(trainer, **settings) == pytest.approx([cosine(share) for share in shares])


def test_accumulation_may_change_between_epochs(trainer: MakeTrainer):
    rates = rates_of(trainer, callbacks=(GradientAccumulationScheduler({0: 6, 1: 3}),))
    assert rates == pytest.approx([cosine(done / 24) for done in (0, 6, 12, 15, 18, 21)])


def test_warm_up_is_a_share_of_the_training_too(trainer: MakeTrainer):
    model = {"warmup_ratio": 0.5, "schedule": "constant"}
    assert rates_of(trainer, model) == pytest.approx([0.1 * min(1, (step + 1) / 13) for step in range(24)])
    rates = rates_of(trainer, model, accumulate_grad_batches=4)
    assert rates == pytest.approx([0.1 / 13, 0.5 / 13, 0.9 / 13, 0.1, 0.1, 0.1])


def test_a_found_rate_is_the_highest_of_the_schedule(trainer: MakeTrainer):
    finder = LearningRateFinder(num_training_steps=20)
    rates = Rates()
    classifier = LitLeNet(lr=0.1, backbone_lr_scale=0.5, norm_weight_decay=0)
    fitted = trainer(max_epochs=2, limit_val_batches=0, callbacks=[finder, rates])
    fitted.fit(classifier, datamodule=FakeImages(num_images=120, batch_size=4, val_fraction=0.2))
    found = finder.optimal_lr.suggestion()
    assert classifier.hparams["lr"] == found
    own = rates.rates[-48:]
    assert own == pytest.approx([found / 0.1 * cosine(step / 48) for step in range(48)])
    assert [group["initial_lr"] for group in fitted.optimizers[0].param_groups] == [*[found * 0.5] * 2, *[found] * 2]


@pytest.mark.slow
def test_a_found_batch_size_changes_the_number_of_steps(trainer: MakeTrainer):
    finder, rates = BatchSizeFinder(), Rates()
    data = FakeImages(num_images=60, batch_size=4, val_fraction=0.2)
    fitted = trainer(max_epochs=4, limit_val_batches=0, callbacks=[finder, rates])
    fitted.fit(LitLeNet(lr=0.1), datamodule=data)
    assert data.batch_size == data.hparams["batch_size"] == 48
    assert rates.rates[-4:] == [cosine(step / 4) for step in range(4)]


class OneMore(Callback):
    """Adds an epoch, as StochasticWeightAveraging does for a network with BatchNorm."""

    def on_fit_start(self, trainer, pl_module):
        trainer.fit_loop.max_epochs += 1


def test_a_callback_that_adds_an_epoch_does_not_stretch_the_schedule(trainer: MakeTrainer):
    rates = rates_of(trainer, callbacks=(OneMore(),))
    assert rates == [cosine(min(step, 24) / 24) for step in range(36)]


def test_an_endless_training_has_no_schedule(trainer: MakeTrainer):
    with pytest.raises(ValueError, match=r"schedule cosine needs an end: set --trainer\.max_epochs"):
        trainer(max_epochs=-1).fit(LitLeNet(), datamodule=FakeImages(num_images=64))
