"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lit_cnn.data import FakeImages, FashionMNIST, ImageFolder
from lit_cnn.data.module import ImageDataModule

# The synthetic data's training images, as far as their pixels take no more bytes than this; most of them, in evaluation.
NUM_SYNTHETIC = 20_000
SYNTHETIC_BYTES = 10**9
VAL_FRACTION = {"train": 0.1, "eval": 0.9}


@dataclass(frozen=True)
class Case:
    """What is measured.

    Args:
        model: Variant.
        data: ``fashion_mnist``, ``synthetic``, or a folder with a folder of images for each class.
        image_size: Height and width that the network sees, in pixels.
        batch_size: Images in a step.
        phase: ``train`` or ``eval``.
        device: ``cpu`` or ``cuda``.
        seconds: How long each measurement takes, warm-up and start left out.
        data_dir: Where Fashion-MNIST lies.
        compile: How torch.compile compiles the network of ``lit_cnn`` and ``ceiling``; None for not at all.
        channels: Of a synthetic image; as of the others, those of Fashion-MNIST are the default.
        native_size: Its height and width, in pixels.
        num_classes: Of the synthetic data.
        ceiling: Precision and memory format of ``ceiling``, see :func:`find_ceiling`.
        without: A means of speed that ``lit_cnn`` does without, see :mod:`lit_cnn.benchmark.optimisations`; none if empty.
    """

    model: str
    data: str
    image_size: int
    batch_size: int
    phase: str = "train"
    device: str = "cpu"
    seconds: float = 8.0
    data_dir: str = "data"
    compile: str | None = None
    channels: int = 1
    native_size: int = 28
    num_classes: int = 10
    ceiling: str = "float32, channels last"
    without: str = ""

    @property
    def is_folder(self) -> bool:
        return self.data not in ("fashion_mnist", "synthetic")

    def arguments(self) -> dict[str, Any]:
        """Of the data module."""
        arguments: dict[str, Any] = {"image_size": self.image_size, "batch_size": self.batch_size}
        if self.data == "synthetic":
            as_many_as_fit = min(NUM_SYNTHETIC, SYNTHETIC_BYTES // (self.channels * self.native_size**2))
            arguments["num_images"] = max(as_many_as_fit, 10 * self.num_classes)  # a tenth must hold every class
            arguments |= {"channels": self.channels, "native_size": self.native_size, "num_classes": self.num_classes}
        else:
            arguments["data_dir"] = self.data if self.is_folder else self.data_dir
        return arguments | {"val_fraction": VAL_FRACTION[self.phase]}

    @property
    def data_class(self) -> type[ImageDataModule]:
        return {"fashion_mnist": FashionMNIST, "synthetic": FakeImages}.get(self.data, ImageFolder)
