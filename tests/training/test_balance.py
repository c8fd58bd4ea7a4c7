"""Classes with few images count as much as those with many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import Command
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from sklearn.utils.class_weight import compute_class_weight
from torch.utils.data import DataLoader, TensorDataset

from lit_cnn.data import FakeImages
from lit_cnn.data.splits import ArrayImages, Split
from lit_cnn.models import LitLeNet
from lit_cnn.training.balance import balanced_weights, cross_entropy
from lit_cnn.training.callbacks.introduction import Introduction

MakeTrainer = Callable[..., Trainer]
COUNTS = (60, 24, 8)


class Unequal(FakeImages):
    """Three classes, of which the last is rare."""

    def __init__(self, counts: tuple[int, ...] = COUNTS, **arguments: object) -> None:
        super().__init__(num_images=sum(counts), num_classes=len(counts), batch_size=9, **arguments)
        self._counts = counts

    def read(self, split: Split) -> ArrayImages | None:
        images = super().read(split)
        if split != "train":
            return images
        return ArrayImages(
            images.pixels, torch.repeat_interleave(torch.arange(len(self._counts)), torch.tensor(self._counts))
        )


class Labels(Callback):
    """Notes the classes of each training batch."""

    def __init__(self) -> None:
        self.labels: list[list[int]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.labels.append(batch.labels.tolist())


def test_the_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], COUNTS)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(COUNTS) == pytest.approx(theirs.tolist())
    assert np.mean(np.array(balanced_weights(COUNTS))[labels]) == pytest.approx(1)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_both_settings_are_the_same_training_as_with_the_numbers(trainer: MakeTrainer, precision: str):
    def weights(model: object, data: str) -> torch.Tensor:
        torch.manual_seed(0)
        classifier = LitLeNet(num_classes=3, class_weights=model)
        images = Unequal(balance=data, seed=0)
        trainer(limit_val_batches=0, precision=precision).fit(classifier, datamodule=images)
        return torch.cat([parameter.detach().flatten() for parameter in classifier.parameters()])

    counts = [45, 18, 6]  # after a quarter of the images became the validation set
    by_hand = weights(balanced_weights(counts), "none")
    assert torch.equal(weights("balanced", "none"), weights(None, "weights"))
    torch.testing.assert_close(weights("balanced", "none"), by_hand, rtol=1e-5, atol=1e-6)
    assert not torch.equal(weights(None, "none"), by_hand)


def test_a_second_training_has_the_weights_of_its_own_data(trainer: MakeTrainer):
    classifier = LitLeNet(num_classes=3)
    for balance, known in (("weights", True), ("none", False)):
        trainer(limit_val_batches=0).fit(classifier, datamodule=Unequal(balance=balance))
        assert (classifier.class_weights is not None) == known


def test_the_weights_move_with_the_network_and_are_not_saved():
    classifier = LitLeNet(num_classes=3, class_weights=[1, 2, 3])
    assert classifier.class_weights.dtype == torch.float32
    assert classifier.double().class_weights.tolist() == [1, 2, 3]
    assert classifier.class_weights.dtype == torch.float64
    assert classifier.to("meta").class_weights.is_meta
    assert "class_weights" not in classifier.state_dict()


def test_the_numbers_are_printed_at_the_start(trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]):
    for balance in ("weights", "sampler"):
        trainer(limit_val_batches=0, limit_train_batches=1, callbacks=[Introduction(0)]).fit(
            LitLeNet(num_classes=3), datamodule=Unequal(balance=balance)
        )
    printed = capsys.readouterr().out
    assert "class weights: class 0 0.511, class 1 1.28, class 2 3.83\n" in printed
    assert "sampler: each epoch draws as many images with replacement, every class equally likely\n" in printed


def test_the_sampler_draws_every_class_equally_often(trainer: MakeTrainer):
    seen = Labels()
    data = Unequal(balance="sampler", seed=0)
    trainer(max_epochs=8, limit_val_batches=0, callbacks=[seen]).fit(LitLeNet(num_classes=3), datamodule=data)
    assert len(seen.labels) == 8 * (69 // 9)
    shares = np.bincount(np.concatenate(seen.labels), minlength=3) / (8 * 63)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.08)  # four standard deviations


@pytest.mark.parametrize(
    ("model", "data", "settings", "message"),
    [
        ("balanced", {"balance": "weights"}, {}, "data.balance=weights and model.class_weights both weight the classes"),
        ([1.0, 2.0, 3.0], {"balance": "weights"}, {}, "data.balance=weights and model.class_weights both weight"),
        ([1.0, 0.0, 3.0], {}, {}, "class_weights must be above 0 and finite, got"),
        ([1.0, float("nan"), 3.0], {}, {}, "class_weights must be above 0 and finite, got"),
        (
            "balanced",
            {"balance": "sampler"},
            {},
            "data.balance=sampler and model.class_weights=balanced would balance twice",
        ),
        (None, {"balance": "sampler"}, {"overfit_batches": 1}, "draws other images in each epoch, overfit_batches does not"),
        ("balanced", {"counts": (40, 40, 0)}, {}, "needs training images of each class, and class 2 has none: add images"),
        (
            None,
            {"balance": "weights", "counts": (40, 40, 0)},
            {},
            "data.balance=weights needs training images of each class",
        ),
        (
            None,
            {"balance": "sampler", "counts": (40, 40, 0)},
            {},
            "data.balance=sampler needs training images of each class",
        ),
        (
            "balanced",
            {"counts": (40, 40)},
            {},
            "each of 3 outputs, and fake_images has 2 classes: build the network with num",
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:no validation images of class 2:lit_cnn.errors.DataWarning")
def test_what_cannot_be_balanced_is_refused(trainer: MakeTrainer, model: object, data: dict, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        trainer(**settings).fit(LitLeNet(num_classes=3, class_weights=model), datamodule=Unequal(**data))


def test_numbers_and_a_sampler_may_be_combined(trainer: MakeTrainer):
    classifier = LitLeNet(num_classes=3, class_weights=[1.0, 2.0, 3.0])
    trainer(limit_val_batches=0).fit(classifier, datamodule=Unequal(balance="sampler"))
    assert classifier.class_weights.tolist() == [1, 2, 3]


def test_loaders_without_a_data_module_cannot_be_counted(trainer: MakeTrainer):
    loader = DataLoader(TensorDataset(torch.zeros(4, 1, 28, 28), torch.arange(4) % 3))
    with pytest.raises(
        ValueError, match="needs a data module of lit_cnn, which counts its images: give class_weights as num"
    ):
        trainer().fit(LitLeNet(num_classes=3, class_weights="balanced"), loader, loader)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--model.class_weights", "balance", "class_weights: expected list or expected one of balanced. Got value: balance"),
        ("--data.balance", "sample", "balance: expected one of none, weights, sampler. Got value: sample"),
    ],
)
def test_other_words_are_one_line(lit_cnn: Command, option: str, value: str, message: str):
    done = lit_cnn("fit", "--model", "lenet", "--data", "digits", "--data.image_size", "28", option, value)
    assert (done.returncode, done.stderr) == (2, f"lit-cnn: error: {message}\n")


def test_the_weights_of_mixed_images_are_summed_exactly_in_mixed_precision():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(128, 10, generator=generator), torch.rand(128, 10, generator=generator).softmax(1)
    weights = torch.rand(10, generator=generator) * 3
    expected = -(weights * labels * logits.log_softmax(1)).sum() / (labels * weights).sum()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(cross_entropy(logits, labels, weights, 0.0), expected)


def test_mixed_images_of_one_class_are_weighted_as_unmixed_ones():
    logits, labels, weights = torch.randn(16, 5), torch.arange(16) % 5, torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    shares = torch.nn.functional.one_hot(labels, 5).float()
    both = [cross_entropy(logits, one, weights, 0.1) for one in (labels, shares)]
    torch.testing.assert_close(*both)
