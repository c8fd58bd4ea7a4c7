"""``Trainer.predict`` with a data module: it predicts the validation images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import write_fashion_mnist
from pytorch_lightning import Trainer

from lit_cnn.data import Digits, FakeImages, FashionMNIST, ImageDataModule, ImageFolder
from lit_cnn.models import LitLeNet

MakeTrainer = Callable[..., Trainer]


def expected(classifier: LitLeNet, data: ImageDataModule) -> torch.Tensor:
    """Probabilities of all validation images, in order."""
    val = data.splits["val"]
    images = data.preprocessing(val.fetch(torch.arange(len(val.labels))))
    with torch.inference_mode():
        return classifier.eval()(images).softmax(dim=1)


def test_predict_gives_the_probabilities_of_the_validation_images(trainer: MakeTrainer):
    classifier, data = LitLeNet(), FakeImages(num_images=100, batch_size=8, crop_padding=2, flip=True)
    probabilities = torch.cat(trainer().predict(classifier, datamodule=data))
    assert probabilities.shape == (25, 10)
    torch.testing.assert_close(probabilities, expected(classifier, data))
    assert "test" not in data.splits


def test_predict_with_a_checkpoint(trainer: MakeTrainer, tmp_path: Path):
    fitted = trainer()
    fitted.fit(LitLeNet(lr=0.1), datamodule=FakeImages(num_images=100))
    fitted.save_checkpoint(tmp_path / "fitted.ckpt")
    classifier, data = LitLeNet(), FakeImages(num_images=100)
    predictions = trainer().predict(classifier, datamodule=data, ckpt_path=tmp_path / "fitted.ckpt", weights_only=True)
    torch.testing.assert_close(torch.cat(predictions), expected(classifier, data))
    torch.testing.assert_close(classifier.state_dict(), fitted.lightning_module.state_dict(), rtol=0, atol=0)


def test_predict_refuses_a_checkpoint_that_trained_on_these_images(trainer: MakeTrainer, tmp_path: Path):
    fitted = trainer()
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=100, seed=1))
    fitted.save_checkpoint(tmp_path / "fitted.ckpt")
    with pytest.raises(ValueError, match="it would be evaluated on images that it was trained on"):
        trainer().predict(
            LitLeNet(), datamodule=FakeImages(num_images=100, seed=2), ckpt_path=tmp_path / "fitted.ckpt", weights_only=True
        )


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_predict_on_a_folder(trainer: MakeTrainer, photos: Path, tmp_path: Path, memory_gb: float):
    classifier = LitLeNet(num_classes=3, in_channels=3)
    data = ImageFolder(str(photos), image_size=28, memory_gb=memory_gb, cache_dir=str(tmp_path / "cache"))
    probabilities = torch.cat(trainer().predict(classifier, datamodule=data))
    assert len(probabilities) == len(data.splits["val"].labels) == sum(data.counts()["val"])
    torch.testing.assert_close(probabilities, expected(classifier, data))


def test_predict_on_other_datasets(trainer: MakeTrainer, tmp_path: Path):
    write_fashion_mnist(tmp_path, 40, 20)
    for data, num_images in ((Digits(image_size=28), 144), (FashionMNIST(str(tmp_path), val_fraction=0.25), 10)):
        classifier = LitLeNet()
        probabilities = torch.cat(trainer().predict(classifier, datamodule=data))
        assert len(probabilities) == num_images
        torch.testing.assert_close(probabilities, expected(classifier, data))


class Own(pl.LightningModule):
    """A user's own module, which knows nothing of normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))

    def test_step(self, batch: tuple[torch.Tensor, ...], batch_idx: int) -> None:
        self.log("test/mean", self.network(batch[0]).mean(), batch_size=len(batch[0]))

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize("saved", [False, True])
def test_a_module_of_ones_own_is_tested_on_a_folder(
    trainer: Callable[..., Trainer], photos: Path, tmp_path: Path, saved: bool
):
    model, checkpoint = Own(), None
    if saved:
        first = trainer()
        first.test(model, datamodule=ImageFolder(photos, image_size=16), verbose=False)
        first.save_checkpoint(tmp_path / "own.ckpt")
        content = torch.load(tmp_path / "own.ckpt", weights_only=True)
        content["ImageFolder"] |= {"mean": [0.25] * 3, "std": [0.125] * 3}
        checkpoint = tmp_path / "edited.ckpt"
        torch.save(content, checkpoint)
    fresh = ImageFolder(photos, image_size=16)
    trainer().test(model, datamodule=fresh, ckpt_path=checkpoint, verbose=False, weights_only=True)
    assert (fresh.preprocessing.mean == (0.25,) * 3) == saved
