"""An augmentation with all its numbers: what a batch goes through before and after it becomes the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.augment import colour
from lit_cnn.data.augment import draws as columns
from lit_cnn.data.augment.draws import more_draws
from lit_cnn.data.augment.erasing import cutout_boxes, erase, erasing_boxes
from lit_cnn.data.augment.geometry import (
    affine_matrices,
    crop_and_flip,
    crop_boxes,
    crop_matrices,
    is_flipped,
    resized_crop,
    shifts,
    warp,
)
from lit_cnn.data.augment.mixing import mix, partner_shares
from lit_cnn.data.augment.policies import Policy, rand_augment, trivial_augment
from lit_cnn.data.augment.settings import Augment, Crop, preset_parts
from lit_cnn.data.frame import start_of_centre

# Images may be so many times larger than the network sees them: one map, without zoom, still meets nearly every pixel.
MAX_SHRINKING = 1.5
# How many bits of each value posterising keeps, and from which value solarising inverts.
POSTERISED_BITS, SOLARISED_FROM = 4, 128


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images. The arguments are those of :class:`lit_cnn.data.augment.settings.Augment`."""

    flip: bool = False
    crop_padding: int = 0
    rotate: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    zoom: float = 0.0
    min_area: float = 1.0
    policy: Policy = "none"
    num_ops: int = 2
    magnitude: int = 9
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    sharpness: float = 0.0
    posterise: float = 0.0
    solarise: float = 0.0
    autocontrast: float = 0.0
    equalise: float = 0.0
    erasing: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def of(
        cls, settings: Augment, flip: bool | None, crop_padding: int | None, crop: Crop, mirrors: bool, native_size: int
    ) -> Augmentation:
        """What a user's settings mean for a dataset.

        Args:
            settings: Preset and parts.
            flip: Whether images are mirrored; None: as in the preset.
            crop_padding: Largest shift in pixels; None: as in the preset.
            crop: How the images of the dataset are cropped.
            mirrors: Whether a mirrored image is still one of its class.
            native_size: Height and width of the images, in pixels.

        Raises:
            ValueError: If parts exclude each other, or one has no effect or leaves nothing of the images.
        """
        own = {"flip": flip, "crop_padding": crop_padding}
        chosen = settings.given | {name: value for name, value in own.items() if value is not None}
        parts = preset_parts(settings.preset, crop, mirrors, native_size)
        # Both crop at random: the one that was chosen replaces that of the preset.
        if chosen.get("min_area", 1) < 1 and "crop_padding" not in chosen:
            parts.pop("crop_padding", None)
        if chosen.get("crop_padding") and "min_area" not in chosen:
            parts.pop("min_area", None)
        result = cls(**parts | chosen)
        if result.min_area < 1 and result.crop_padding:
            raise ValueError(
                f"crop_padding={result.crop_padding} and augment.min_area={result.min_area:g} both crop: choose one"
            )
        if result.crop_padding >= native_size:
            raise ValueError(
                f"crop_padding={result.crop_padding} moves images of {native_size}×{native_size} out of sight: give less"
            )
        for name in ("num_ops", "magnitude"):
            if name in chosen and result.policy != "randaugment":
                raise ValueError(f"augment.{name} belongs to RandAugment: add augment.policy=randaugment, or leave it out")
        return result

    def check(self, name: str, channels: int, num_classes: int, image_size: int, batch_size: int) -> None:
        """Refuses parts that do nothing to the images of a dataset, or may leave nothing of them.

        Raises:
            ValueError: If there is one; names it.
        """
        for part in ("saturation", "hue", "grey"):
            if channels == 1 and getattr(self, part):
                raise ValueError(f"augment.{part}={getattr(self, part):g} changes nothing in grey images: leave it out")
        if self.cutout >= image_size:
            raise ValueError(
                f"augment.cutout={self.cutout} can hide a whole image of {image_size}×{image_size}: give a smaller side"
            )
        if self.mixes and batch_size < 2:
            raise ValueError("MixUp and CutMix mix images of a batch: batch_size must be at least 2, got 1")
        if self.mixes and num_classes < 2:
            raise ValueError(f"MixUp and CutMix mix classes, and {name} has one: leave augment.mixup and augment.cutmix out")

    @property
    def draws_more(self) -> bool:
        """Whether it needs more random numbers than those of shift and flip."""
        return self != Augmentation(flip=self.flip, crop_padding=self.crop_padding)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others of their batch."""
        return bool(self.mixup or self.cutmix)

    def draw_more(self, seed: int, epoch: int, num_images: int) -> Tensor | None:
        """The random numbers of an epoch besides those of shift and flip; None if none are needed.

        Shape:
            Output (N, NUM_ALL - NUM_DRAWS).
        """
        return more_draws(seed, epoch, num_images, self.mixup, self.cutmix) if self.draws_more else None

    # Before the images are normalised

    def transform(self, images: Tensor, draws: Tensor, image_size: int, framed: bool = False) -> Tensor:
        """Moves pixels and changes colours.

        Args:
            images: uint8 images as they are stored.
            draws: Their random numbers, or the bits of these.
            image_size: Height and width that the network sees.
            framed: Whether it sees the centre of the images, at that size, where nothing is drawn. Crops by area are taken
                from all of an image, shifts and maps move within it.

        Shape:
            Images (N, C, H, W), draws (N, NUM_DRAWS) or (N, NUM_ALL); output (N, C, H, W), or with another height and width.
        """
        draws = columns.as_numbers(draws)
        images = self._move(images, draws, image_size, framed)
        if self.policy == "trivial":
            images = trivial_augment(images, draws[:, columns.POLICY])
        elif self.policy == "randaugment":
            images = rand_augment(images, draws[:, columns.POLICY], self.num_ops, self.magnitude)
        return self._levels(self._colour(images, draws), draws)

    def _move(self, images: Tensor, draws: Tensor, image_size: int, framed: bool) -> Tensor:
        height, width = images.shape[-2:]
        seen = (image_size, image_size) if framed else (height, width)
        turns = bool(self.rotate or self.shear or self.translate or self.zoom)
        if not turns and self.min_area == 1:
            if not (self.flip or self.crop_padding or framed):
                return images
            return crop_and_flip(images, draws, self.crop_padding, self.flip, image_size if framed else None)
        flipped = is_flipped(draws[:, columns.FLIP]) & self.flip
        if self.min_area < 1:
            boxes, largest = crop_boxes(draws[:, columns.AREA], height, width, self.min_area), height
        else:
            shift = shifts(draws[:, columns.SHIFT], self.crop_padding)
            centre = (start_of_centre(height, seen[0]), start_of_centre(width, seen[1]), *seen)
            boxes = torch.tensor(centre, device=shift.device, dtype=shift.dtype) + F.pad(shift, (0, 2))
            largest = seen[0]
        # Images that the network sees enlarged stay as they are until the end: what follows counts in pixels, and a map
        # would darken the borders that it enlarges.
        size = min(image_size, largest)
        if not turns:
            return resized_crop(images, boxes, size, flipped)
        # A map without antialiasing skips pixels if it makes an image much smaller: it is then resized in a second step.
        if largest > MAX_SHRINKING * size:
            size = largest
        crops = crop_matrices(boxes, (size, size), flipped)
        return warp(images, self._affine(draws, height, width, seen) @ crops, (size, size))

    def _affine(self, draws: Tensor, height: int, width: int, seen: tuple[int, int]) -> Tensor:
        signed = 2 * draws[:, columns.AFFINE] - 1
        angle, shear, zoom = self.rotate * signed[:, 0], self.shear * signed[:, 1], 1 + self.zoom * signed[:, 2]
        shift = self.translate * signed[:, 3:5] * torch.tensor([seen[1], seen[0]], device=draws.device)
        return affine_matrices(angle, shift, zoom, torch.stack([shear, torch.zeros_like(shear)], 1), height, width)

    def _colour(self, images: Tensor, draws: Tensor) -> Tensor:
        drawn = draws[:, columns.COLOUR]
        changes = (
            (self.brightness, colour.adjust_brightness),
            (self.contrast, colour.adjust_contrast),
            (self.saturation, colour.adjust_saturation),
        )
        for column, (largest, change) in enumerate(changes):
            if largest:
                images = change(images, 1 + largest * (2 * drawn[:, column] - 1))
        if self.hue:
            images = colour.adjust_hue(images, self.hue * (2 * drawn[:, 3] - 1))
        return colour.to_grayscale(images, drawn[:, 4] < self.grey) if self.grey else images

    def _levels(self, images: Tensor, draws: Tensor) -> Tensor:
        drawn = draws[:, columns.LEVELS]
        if self.sharpness:
            images = colour.adjust_sharpness(images, 1 + self.sharpness * (2 * drawn[:, 0] - 1))
        changes = (
            (self.posterise, lambda own: colour.posterize(own, torch.full_like(drawn[:, 1], POSTERISED_BITS))),
            (self.solarise, lambda own: colour.solarize(own, torch.full_like(drawn[:, 2], SOLARISED_FROM))),
            (self.autocontrast, colour.autocontrast),
            (self.equalise, colour.equalize),
        )
        for column, (share, change) in enumerate(changes, start=1):
            if share:
                images = torch.where((drawn[:, column] < share)[:, None, None, None], change(images), images)
        return images

    # After the images are normalised

    def finish(self, images: Tensor, labels: Tensor, draws: Tensor, num_classes: int) -> tuple[Tensor, Tensor | None]:
        """Hides parts of the images and mixes them.

        Args:
            images: Normalised images.
            labels: Their classes.
            draws: Their random numbers.
            num_classes: Number of classes.

        Shape:
            Images (N, C, H, W), labels (N,); output (N, C, H, W), and (N, num_classes) whose rows sum to 1, or None if the
            labels stay.
        """
        draws = columns.as_numbers(draws)
        height, width = images.shape[-2:]
        if self.erasing:
            images = erase(images, erasing_boxes(draws[:, columns.ERASING], height, width, self.erasing))
        if self.cutout:
            images = erase(images, cutout_boxes(draws[:, columns.CUTOUT], height, width, self.cutout))
        if not self.mixes:
            return images, None
        numbers, shares = draws[:, columns.MIXING], draws[:, columns.SHARE]
        return mix(images, labels, partner_shares(numbers, shares, height, width, self.mixup, self.cutmix), num_classes)

    def describe(self) -> str:
        """In a few words, for a user."""
        shift = f"shifts of up to {self.crop_padding} pixel{'s' if self.crop_padding > 1 else ''}"
        named: tuple[tuple[Any, str], ...] = (
            (self.crop_padding, shift),
            (self.min_area < 1, f"crops of {self.min_area:.0%} of the area or more"),
            (self.flip, "flips"),
            (self.rotate, f"rotations of up to {self.rotate:g} degrees"),
            (self.shear, f"shears of up to {self.shear:g} degrees"),
            (self.translate, f"translations of up to {self.translate:.0%}"),
            (self.zoom, f"zooms of up to {self.zoom:.0%}"),
            (self.policy == "trivial", "TrivialAugment"),
            (self.policy == "randaugment", f"RandAugment ({self.num_ops} operations of strength {self.magnitude})"),
            (self.brightness, f"brightness ±{self.brightness:.0%}"),
            (self.contrast, f"contrast ±{self.contrast:.0%}"),
            (self.saturation, f"saturation ±{self.saturation:.0%}"),
            (self.hue, f"hue ±{self.hue:g}"),
            (self.grey, f"grey in {self.grey:.0%} of the images"),
            (self.sharpness, f"sharpness ±{self.sharpness:.0%}"),
            (self.posterise, f"posterising of {self.posterise:.0%} of the images"),
            (self.solarise, f"solarising of {self.solarise:.0%} of the images"),
            (self.autocontrast, f"autocontrast of {self.autocontrast:.0%} of the images"),
            (self.equalise, f"equalising of {self.equalise:.0%} of the images"),
            (self.erasing, f"erasing in {self.erasing:.0%} of the images"),
            (self.cutout, f"Cutout of {self.cutout} pixels"),
            (self.mixup, f"MixUp {self.mixup:g}"),
            (self.cutmix, f"CutMix {self.cutmix:g}"),
        )
        *first, last = [text for holds, text in named if holds] or ["none"]
        return f"{', '.join(first)} and {last}" if first else last
