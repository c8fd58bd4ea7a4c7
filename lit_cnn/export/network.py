"""A trained network with its normalisation inside: pixels in, probabilities out."""

from __future__ import annotations

import copy
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.inference.trained import Trained

Layout: TypeAlias = Literal["nhwc", "nchw"]
Dtype: TypeAlias = Literal["uint8", "float32"]


class ExportedNetwork(nn.Module):
    """From pixels to probabilities, in evaluation mode and float32.

    Args:
        network: From normalised images to logits.
        preprocessing: Of the run; becomes part of the network.
        layout: ``nhwc`` as Pillow and numpy have images, ``nchw`` as torch has them.
        dtype: ``uint8`` from 0 to 255, or ``float32`` from 0 to 1.

    Shape:
        Input (N, H, W, C) or (N, C, H, W) of the size at which the run reads files; output float32 (N, num_classes).
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, layout: Layout = "nhwc", dtype: Dtype = "uint8"
    ) -> None:
        super().__init__()
        self.network = network
        self.layout, self.dtype = layout, dtype
        self.image_size, self.resize_size = preprocessing.image_size, preprocessing.resize_size or preprocessing.image_size
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        self.register_buffer("scale", 1 / ((255 if dtype == "uint8" else 1) * std))
        self.register_buffer("shift", -mean / std)

    @classmethod
    def of(cls, trained: Trained, layout: Layout = "nhwc", dtype: Dtype = "uint8") -> ExportedNetwork:
        """A copy of the network of a run."""
        # torch.export saves weights of standard strides alone without a warning.
        network = copy.deepcopy(trained.network).requires_grad_(False).to(memory_format=torch.contiguous_format)
        return cls(network, trained.preprocessing, layout, dtype).eval()

    def forward(self, images: Tensor) -> Tensor:
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        images = images.to(torch.float32) * self.scale + self.shift
        size = self.resize_size
        if images.shape[2] != size or images.shape[3] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=images.shape[-1] > size)
        start = round((size - self.image_size) / 2)
        images = images[..., start : start + self.image_size, start : start + self.image_size]
        return self.network(images).softmax(dim=1)

    def example(self, num_images: int, size: int, channels: int) -> Tensor:
        """Images of the form that it takes, black."""
        shape = (size, size, channels) if self.layout == "nhwc" else (channels, size, size)
        return torch.zeros(num_images, *shape, dtype=torch.uint8 if self.dtype == "uint8" else torch.float32)

    def as_input(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (N, C, H, W), as a run reads files, in the form that it takes."""
        pixels = pixels if self.dtype == "uint8" else pixels.to(torch.float32) / 255
        return pixels.permute(0, 2, 3, 1).contiguous() if self.layout == "nhwc" else pixels
