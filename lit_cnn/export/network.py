"""A trained network with its normalisation inside: pixels in, probabilities out."""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.trained import Trained

Layout: TypeAlias = Literal["nhwc", "nchw"]
Dtype: TypeAlias = Literal["uint8", "float32"]
# Largest height and width of images that the network resizes, in pixels.
MAX_SIDE = 2**15


class ExportedNetwork(nn.Module):
    """From pixels to probabilities, in evaluation mode and float32.

    Args:
        network: From normalised images to logits.
        preprocessing: Of the run; becomes part of the network.
        layout: ``nhwc`` as Pillow and numpy have images, ``nchw`` as torch has them.
        dtype: ``uint8`` from 0 to 255, or ``float32`` from 0 to 1.
        reading: If given, images of any height and width are made square and resized as files are.

    Shape:
        Input (N, H, W, C) or (N, C, H, W) of the size at which the run reads files, or of any size with a ``reading``;
        output float32 (N, num_classes).

    Raises:
        ValueError: If the reading fills up with bars.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        layout: Layout = "nhwc",
        dtype: Dtype = "uint8",
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        if reading is not None and reading.resize == "pad":
            raise ValueError("--resize puts crop and squash into the network, but the run has data.resize=pad: leave it out")
        self.reading = reading
        self.network = network
        self.layout, self.dtype = layout, dtype
        self.image_size, self.resize_size = preprocessing.image_size, preprocessing.resize_size or preprocessing.image_size
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        self.register_buffer("scale", 1 / ((255 if dtype == "uint8" else 1) * std))
        self.register_buffer("shift", -mean / std)

    @classmethod
    def of(
        cls, trained: Trained, layout: Layout = "nhwc", dtype: Dtype = "uint8", takes_any_size: bool = False
    ) -> ExportedNetwork:
        """A copy of the network of a run.

        Args:
            trained: The run.
            layout: See above.
            dtype: See above.
            takes_any_size: Whether it resizes images.
        """
        # torch.export saves weights of standard strides alone without a warning.
        network = copy.deepcopy(trained.network).requires_grad_(False).to(memory_format=torch.contiguous_format)
        reading = trained.reading if takes_any_size else None
        return cls(network, trained.preprocessing, layout, dtype, reading).eval()

    def forward(self, images: Tensor) -> Tensor:
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        images = images.to(self.scale.dtype)
        if self.reading is not None:
            images = self._resized(images, self.reading)
        images = images * self.scale + self.shift
        size = self.resize_size
        if images.shape[2] != size or images.shape[3] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=images.shape[-1] > size)
        start = round((size - self.image_size) / 2)
        images = images[..., start : start + self.image_size, start : start + self.image_size]
        return self.network(images).softmax(dim=1)

    @staticmethod
    def _resized(images: Tensor, reading: Reading) -> Tensor:
        """As :class:`Reading` resizes, but without rounding to whole values."""
        if reading.resize == "crop":
            height, width = images.shape[2:]
            side = torch.sym_min(height, width)
            # Not slices: torch.export takes a slice of the whole length for none, and then refuses other shapes.
            places = torch.arange(side, device=images.device)
            images = images.index_select(2, places + (height - side) // 2).index_select(3, places + (width - side) // 2)
        return F.interpolate(images, (reading.image_size,) * 2, mode="bilinear", antialias=True)

    @property
    def dynamic_shapes(self) -> tuple[dict[int, Any]]:
        """The axes of the input whose lengths are free, for torch.export."""
        free = {0: torch.export.Dim("batch")}
        if self.reading is not None:
            first = 1 if self.layout == "nhwc" else 2
            sides = (torch.export.Dim(name, min=1, max=MAX_SIDE) for name in ("height", "width"))
            free |= dict(zip((first, first + 1), sides, strict=True))
        return (free,)

    def example(self, num_images: int, size: int, channels: int) -> Tensor:
        """Images of the form that it takes, black."""
        height, width = (size, size) if self.reading is None else (size + 3, size + 7)  # free, and not equal
        shape = (height, width, channels) if self.layout == "nhwc" else (channels, height, width)
        return torch.zeros(num_images, *shape, dtype=torch.uint8 if self.dtype == "uint8" else torch.float32)

    def as_input(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (N, C, H, W), as a run reads files, in the form that it takes."""
        pixels = pixels if self.dtype == "uint8" else pixels.to(torch.float32) / 255
        return pixels.permute(0, 2, 3, 1).contiguous() if self.layout == "nhwc" else pixels
