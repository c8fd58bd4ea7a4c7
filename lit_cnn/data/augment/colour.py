"""Operations on the values of pixels, with a strength for each image.

Each takes and gives uint8 images, and cuts fractions off. It equals torchvision's function of the same name for the same
strength: exactly, or to within one level where a sum is rounded otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Luma of red, green and blue (ITU-R BT.601).
LUMA = (0.2989, 0.587, 0.114)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies all values: 0 gives black, 1 the image.

    Shape:
        Images (N, C, H, W), factor (N,); output (N, C, H, W).
    """
    return _as_uint8(images.float().mul_(_each(factor)))


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Moves all values from the mean grey of the image: 0 gives that grey, 1 the image.

    Shape:
        Images (N, C, H, W), factor (N,); output (N, C, H, W).
    """
    pixels = images.float()
    return _as_uint8(_blend(pixels, _grey(pixels).mean((1, 2, 3), keepdim=True), factor))


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Moves colours away from grey: 0 gives a grey image, 1 the image. Grey images stay.

    Shape:
        Images (N, C, H, W), factor (N,); output (N, C, H, W).
    """
    if images.shape[1] == 1:
        return images
    pixels = images.float()
    return _as_uint8(_blend(pixels, _grey(pixels), factor))


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour circle by a share of it, from -0.5 to 0.5. Grey images stay.

    Shape:
        Images (N, C, H, W), shift (N,); output (N, C, H, W).
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = (images.float() / 255).unbind(1)
    value, lowest = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    spread = value - lowest
    safe = torch.where(spread == 0, 1, spread)
    # Where on the circle of six colours, from red: the largest channel decides the third, the other two the place in it.
    of_red = (green - blue) / safe
    of_green, of_blue = (blue - red) / safe + 2, (red - green) / safe + 4
    sixths = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue))
    sixths = (sixths + 6 * shift[:, None, None]) % 6
    # A channel falls from the value to the lowest within one sixth, two sixths away from its own colour.
    offsets = torch.tensor([5, 3, 1], device=images.device)[None, :, None, None]
    place = (offsets + sixths[:, None]) % 6
    return _as_uint8((value[:, None] - spread[:, None] * torch.minimum(place, 4 - place).clamp_(0, 1)) * 255.999)


def to_grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Takes the colours from the chosen images.

    Shape:
        Images (N, C, H, W), chosen (N,) bool; output (N, C, H, W).
    """
    return torch.where(_each(chosen), _as_uint8(_grey(images.float())), images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the upper bits of each value.

    Shape:
        Images (N, C, H, W), bits (N,) from 0 to 8; output (N, C, H, W).
    """
    step = torch.exp2(8 - bits.round().float())
    mask = (256 - step).clamp(max=255).to(torch.uint8)
    return images & _each(mask)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the values at or above a threshold.

    Shape:
        Images (N, C, H, W), threshold (N,) from 0 to 255; output (N, C, H, W).
    """
    # A whole number is at or above a threshold if it is at or above the next whole number. All bits turned are 255 - value.
    return images ^ (images >= _each(threshold.ceil().to(torch.uint8))).to(torch.uint8).mul_(255)


def autocontrast(images: Tensor) -> Tensor:
    """Stretches each channel to the full scale; one of a single value stays.

    Shape:
        Images (N, C, H, W); output (N, C, H, W).
    """
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    stretched = images.float().sub_(low).mul_(255 / (high - low).clamp(min=1))
    return torch.where(high > low, _as_uint8(stretched), images)


def equalize(images: Tensor) -> Tensor:
    """Spreads the values of each channel so that every grey level is about as frequent.

    Shape:
        Images (N, C, H, W); output (N, C, H, W).
    """
    planes = images.reshape(-1, images.shape[-2] * images.shape[-1]).long()  # (N·C, H·W)
    counts = torch.zeros(len(planes), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, planes, torch.ones((), dtype=torch.long, device=images.device).expand_as(planes))
    brightest = planes.amax(1, keepdim=True)
    # Pixels for each level of the result, without those of the brightest value.
    step = (planes.shape[1] - counts.gather(1, brightest)) // 255
    levels = (counts.cumsum(1) - counts + step // 2) // step.clamp(min=1)
    levels = torch.where(step > 0, levels.clamp(max=255), torch.arange(256, device=images.device))
    return levels.gather(1, planes).to(torch.uint8).view(images.shape)


def adjust_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Moves all values from a blurred image: 0 gives the blurred one, 1 the image. The outermost pixels stay.

    Shape:
        Images (N, C, H, W), factor (N,); output (N, C, H, W).
    """
    if min(images.shape[-2:]) < 3:
        return images
    pixels = images.float()
    # Each pixel with its eight neighbours, itself five times: sums of rows, then of columns, are quicker than a convolution.
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    blurred = pixels.clone()
    blurred[..., 1:-1, 1:-1] = around.add_(pixels[..., 1:-1, 1:-1], alpha=4).div_(13)
    return _as_uint8(_blend(pixels, blurred, factor))


def _each(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """``other`` at factor 0, ``pixels`` at 1, and beyond."""
    return other + (pixels - other) * _each(factor)


def _grey(pixels: Tensor) -> Tensor:
    """Grey values (N, 1, H, W), whole numbers."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = (weight * pixels[:, channel : channel + 1] for channel, weight in enumerate(LUMA))
    return (red + green + blue).floor_()


def _as_uint8(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).to(torch.uint8)
