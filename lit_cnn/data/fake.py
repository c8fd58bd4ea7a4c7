"""Made-up images, for tests and measurements of speed."""

from typing import Any

import torch

from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.splits import ArrayImages, Split


class FakeImages(ImageDataModule):
    """One random pattern for each class, with noise: any shape, no files, and a network can learn it.

    Args:
        data_dir: Must not be given: there are no files.
        num_images: Training and validation images together; the test set has a quarter as many.
        num_classes: Number of classes.
        channels: Channels of an image.
        native_size: Height and width of an image, in pixels.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that becomes the validation set.
    """

    name = "fake_images"
    source_without_files = "are made up"

    def __init__(
        self,
        data_dir: str | None = None,
        num_images: int = 256,
        num_classes: int = 10,
        channels: int = 1,
        native_size: int = 28,
        batch_size: int = 32,
        val_fraction: float = 0.25,
        **kwargs: Any,
    ) -> None:
        for argument, value in (("num_images", num_images), ("num_classes", num_classes), ("native_size", native_size)):
            if value < 1:
                raise ValueError(f"{argument} must be at least 1, got {value}")
        self.native_size = native_size
        super().__init__(data_dir, batch_size=batch_size, val_fraction=val_fraction, **kwargs)
        self.channels = channels
        self.class_names = tuple(f"class {i}" for i in range(num_classes))
        self.num_images = num_images

    def read(self, split: Split) -> ArrayImages | None:
        if split == "val":
            return None
        shape = (self.channels, self.native_size, self.native_size)
        patterns = torch.rand(self.num_classes, *shape, generator=torch.Generator().manual_seed(0))
        num_images = self.num_images if split == "train" else max(self.num_classes, self.num_images // 4)
        noise = torch.Generator().manual_seed(1 if split == "train" else 2)
        labels = torch.arange(num_images) % self.num_classes
        pixels = torch.empty(num_images, *shape, dtype=torch.uint8)
        # In parts: as floats, all images together would take many times the memory.
        for part, part_labels in zip(pixels.split(1000), labels.split(1000), strict=True):
            part.copy_(patterns[part_labels] * 200 + torch.rand(part.shape, generator=noise) * 55)
        return ArrayImages(pixels, labels)
