"""What a batch goes through, as a data module calls it."""

from collections.abc import Callable

import pytest
import torch
from pytorch_lightning import Trainer

from lit_cnn import LitLeNet
from lit_cnn.data.augment import Augment, Augmentation, as_bits, shuffled
from lit_cnn.data.augment.draws import NUM_ALL
from lit_cnn.data.fake import FakeImages


def numbers(augmentation: Augmentation, count: int) -> torch.Tensor:
    more = augmentation.draw_more(0, 0, count)
    _, draws = shuffled(0, 0, count)
    return draws if more is None else torch.cat([draws, more], 1)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "64-true"])
def test_the_precision_of_the_weights_does_not_change_the_random_numbers(
    trainer: Callable[..., Trainer], precision: str, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    transform = Augmentation.transform
    monkeypatch.setattr(
        Augmentation, "transform", lambda *given, **named: seen.append(transform(*given, **named)) or seen[-1]
    )
    data = FakeImages(num_images=64, batch_size=16, crop_padding=2, flip=True, augment={"rotate": 10, "preset": "trivial"})
    trainer(max_epochs=1, precision=precision).fit(LitLeNet(), datamodule=data)
    images = torch.cat(seen)
    seen.clear()
    again = FakeImages(num_images=64, batch_size=16, crop_padding=2, flip=True, augment={"rotate": 10, "preset": "trivial"})
    trainer(max_epochs=1).fit(LitLeNet(), datamodule=again)
    assert torch.equal(images, torch.cat(seen))


def test_a_photograph_is_cropped_and_turned_in_one_resampling():
    augmentation = Augmentation(min_area=0.5, rotate=10.0)
    images = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)
    draws = numbers(augmentation, 4)
    assert augmentation.transform(images, as_bits(draws), 32, framed=True).shape == (4, 3, 32, 32)
    # Much smaller ones are made by the resizing with antialiasing that follows.
    assert augmentation.transform(images, as_bits(draws), 20).shape == (4, 3, 40, 40)


def test_random_numbers_at_the_end_of_their_range_stay_in_the_image():
    augmentation = Augmentation(min_area=0.05, rotate=1)
    draws = torch.full((1, NUM_ALL), 1 - 2**-24)
    image = torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)
    assert Augmentation(min_area=0.05).transform(image, draws, 8).float().mean() > 150
    assert augmentation.transform(image, draws, 8).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("augment", "arguments", "message"),
    [
        ({"cutout": 28}, {}, "augment.cutout=28 can hide a whole image of 28×28: give a smaller side"),
        ({"mixup": 0.2}, {"batch_size": 1}, "MixUp and CutMix mix images of a batch: batch_size must be at least 2, got 1"),
    ],
)
def test_what_leaves_nothing_of_the_images_is_refused(augment: dict, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        FakeImages(augment=augment, **arguments).setup("fit")


def test_small_images_are_not_moved_out_of_sight():
    images = torch.full((2000, 1, 8, 8), 200, dtype=torch.uint8)
    augmentation = Augmentation.of(Augment("trivial"), None, 0, "shift", False, 8)
    changed = augmentation.transform(images, numbers(augmentation, 2000), 8)
    assert ((changed == 0).flatten(1).all(1)).float().mean() < 0.03


@pytest.mark.parametrize("augment", [{"mixup": 0.2}, {"cutmix": 1.0}])
def test_a_network_with_more_outputs_than_classes_learns_from_mixed_images(trainer: Callable[..., Trainer], augment: dict):
    fitted = trainer(max_epochs=1)
    fitted.fit(LitLeNet(num_classes=12), datamodule=FakeImages(num_images=64, batch_size=16, augment=augment))
    assert 0 < fitted.callback_metrics["train/loss"] < 5


def test_training_accuracy_of_mixed_images_counts_the_class_with_the_larger_share(trainer: Callable[..., Trainer]):
    class Shares(FakeImages):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            batch = super().on_after_batch_transfer(batch, dataloader_idx)
            if batch.draws is None:
                return batch
            others = (batch.labels + 1) % 10
            return batch._replace(targets=torch.nn.functional.one_hot(others, 10) * 0.9 + 0.01)

    class Knows(LitLeNet):
        def forward(self, images):
            return super().forward(images) * 0 + self.answers

        def training_step(self, batch, batch_idx):
            self.answers = batch.targets
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.answers = torch.zeros(len(batch.labels), 10)
            return super().validation_step(batch, batch_idx)

    fitted = trainer(max_epochs=1)
    fitted.fit(Knows(), datamodule=Shares(num_images=64, batch_size=16))
    assert fitted.callback_metrics["train/acc"] == 1
