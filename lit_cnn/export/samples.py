"""Real images of a run, as files, with what its network answers for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_cnn.analysis.run_images import data_of_run
from lit_cnn.data.depth import low_bytes_tiles
from lit_cnn.data.formats import SUFFIXES
from lit_cnn.data.loader import Images
from lit_cnn.data.metadata import upright
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.opening import despite_metadata, open_image
from lit_cnn.data.reading import MAX_PIXELS
from lit_cnn.export.network import MAX_SIDE
from lit_cnn.inference.trained import Trained
from lit_cnn.network.base import evaluating
from lit_cnn.runs.folder import Run

# Images for which an export is compared with its run: validation images, and training images if those are fewer.
NUM_IMAGES = 256
BATCH = 64


@dataclass(frozen=True, eq=False)
class Samples:
    """Images with their files and labels.

    Args:
        files: The files. Images of datasets that are not made of files were written as PNG.
        pixels: As the run reads the files, uint8 (N, C, H, W).
        labels: Class of each, (N,) int64.
        num_validation: So many are validation images, the others training images.
        trained: The network of the run.
    """

    files: tuple[Path, ...]
    pixels: Tensor
    labels: np.ndarray
    num_validation: int
    trained: Trained

    @cached_property
    def probabilities(self) -> np.ndarray:
        """What the run answers in PyTorch, float32 (N, num_classes)."""
        parts = []
        with torch.inference_mode(), evaluating(self.trained.classifier):
            for pixels in self.pixels.split(BATCH):
                parts.append(self.trained.classifier(self.trained.preprocess(pixels)).float().softmax(dim=1))
        return torch.cat(parts).numpy(force=True)

    def whole(self, number: int) -> Iterator[tuple[int, Tensor]]:
        """Positions and pixels of the first images, uint8 (1, C, H, W) as large as their files are.

        Args:
            number: At most so many. Left out are transparent images, those of other kinds than grey and colour of 8 bits,
                and those larger than an exported network takes.
        """
        num_images = 0
        for position, file in enumerate(self.files):
            if num_images == number:
                return
            pixels = despite_metadata(self._whole, file)
            if pixels is not None:
                num_images += 1
                yield position, pixels

    def _whole(self, file: Path | IO[bytes]) -> Tensor | None:
        with open_image(file) as image:
            is_small = image.width * image.height <= MAX_PIXELS and max(image.size) <= MAX_SIDE
            is_plain = image.mode in ("L", "RGB") and low_bytes_tiles(image) is None and not image.has_transparency_data
            if not (is_small and is_plain):
                return None
            opened = upright(image).convert("L" if self.trained.channels == 1 else "RGB")
            pixels = np.array(opened).reshape(opened.height, opened.width, -1)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    @classmethod
    def of(cls, run: Run, trained: Trained, folder: Path) -> Samples:
        """Validation images of a run, and training images if there are fewer than :data:`NUM_IMAGES`.

        Args:
            run: The run.
            trained: Its network, on the processor.
            folder: Where images that are in no file are written.

        Raises:
            ValueError: If its images are not there.
        """
        module = set_up(run)
        validation, training = module.splits["val"], module.splits["train"]
        num_validation = min(len(validation.labels), NUM_IMAGES)
        chosen = [*_spread(validation, num_validation), *_spread(training, NUM_IMAGES - num_validation)]
        folder.mkdir(parents=True, exist_ok=True)
        files, labels = [], []
        for number, (images, position) in enumerate(chosen):
            files.append(_place(images, position, folder / f"{number:04d}"))
            labels.append(int(images.labels[position]))
        pixels = torch.stack([trained.reading.read(file) for file in files])
        return cls(tuple(files), pixels, np.array(labels, dtype=np.int64), num_validation, trained)


def set_up(run: Run) -> ImageDataModule:
    """The training and validation images of a run. Nothing is downloaded.

    Raises:
        ValueError: If they are not there.
    """
    module = data_of_run(run)
    try:
        module.setup("validate")
    except (OSError, RuntimeError) as error:  # as torchvision names missing files
        raise ValueError(
            f"an export is compared on the run's images, but those of {module.name} are not there "
            f"({' '.join(str(error).split())})"
        ) from error
    return module


def _spread(images: Images, number: int) -> Iterator[tuple[Images, int]]:
    """So many images at even distances, or all."""
    size = len(images.labels)
    for position in np.linspace(0, size - 1, min(number, size)).round().astype(int):
        yield images, int(position)


def _place(images: Images, position: int, place: Path) -> Path:
    """A copy of an image's file, or a PNG of an image that is in no file."""
    file = Path(images.name(position))
    if file.is_file():
        # The content decides how it is read; the stand-alone script takes files of the usual endings alone.
        target = place.with_suffix(file.suffix if file.suffix.lower() in SUFFIXES else ".png")
        shutil.copyfile(file, target)
        return target
    pixels = images.fetch(torch.tensor([position]))[0].cpu().permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(place.with_suffix(".png"))
    return place.with_suffix(".png")
