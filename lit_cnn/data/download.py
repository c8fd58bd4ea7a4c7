"""Datasets that torchvision downloads and reads."""

from __future__ import annotations

import contextlib
import io
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch

from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.sharing import read_once
from lit_cnn.data.splits import ArrayImages, Split


class DownloadedDataModule(ImageDataModule):
    """A dataset with an official test set, read by a class of ``torchvision.datasets``.

    Missing files are downloaded to ``data_dir``. Existing files are used.

    Args:
        data_dir: Folder of the dataset's files.

    Raises:
        OSError: If files are missing and cannot be downloaded; names the folder to put them in.
    """

    # The folder below data_dir where torchvision looks, and the files that it looks for.
    folder: str
    files: tuple[str, ...]

    def __init__(self, data_dir: str = "data", **kwargs: Any) -> None:
        super().__init__(data_dir, **kwargs)

    @property
    def _folder(self) -> Path:
        return self.data_dir / self.folder

    @abstractmethod
    def torchvision_dataset(self, train: bool, download: bool) -> Any:
        """torchvision's dataset of the training or of the test images."""

    def prepare_data(self) -> None:
        # One download brings training and test images. Training does not read the test images.
        testing = self.trainer is not None and self.trainer.state.fn == "test"
        missing = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        try:
            # Progress goes to stderr. Messages about mirrors go to stdout and would hide the error.
            with contextlib.redirect_stdout(io.StringIO()):
                self.torchvision_dataset(not testing, download=True)
        except (OSError, RuntimeError) as error:
            for folder in missing:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            raise OSError(
                f"{type(self).__name__} is not in {self._folder} and could not be downloaded ({error}): "
                f"put {', '.join(self.files)} there, or name another folder with --data.data_dir"
            ) from error

    def read(self, split: Split) -> ArrayImages | None:
        if split == "val":
            return None
        return read_once((type(self), self._folder.resolve(), split), lambda: self._read(split))

    def _read(self, split: Split) -> ArrayImages:
        dataset = self.torchvision_dataset(split == "train", download=False)
        pixels = torch.as_tensor(dataset.data)
        # Grey images come as (N, H, W), colour ones as (N, H, W, C).
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
        return ArrayImages(pixels, torch.as_tensor(dataset.targets).long())
