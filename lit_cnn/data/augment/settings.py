"""What a user says about augmentation: a preset, and parts of it that are chosen otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from lit_cnn.data.augment.draws import MAX_OPERATIONS
from lit_cnn.data.augment.policies import NUM_LEVELS, Policy

Preset: TypeAlias = Literal["none", "flip", "standard", "trivial", "randaugment", "strong"]
# How the images of a dataset are cropped at random: shifted within a black border, or a part of random area enlarged.
Crop: TypeAlias = Literal["shift", "area"]


@dataclass(frozen=True)
class Augment:
    """Which random changes training makes to an image; what is not given is as in the preset.

    They follow each other in the order of the arguments. Probabilities and shares are from 0 to 1.

    Args:
        preset: ``none``. ``flip``: images are mirrored. ``standard``: also cropped, as is usual for the dataset.
            ``trivial``: also TrivialAugment. ``randaugment``: also RandAugment. ``strong``: as ``trivial``, with random
            erasing of 25 % of the images and CutMix. All but ``flip`` mirror no images of characters.
        rotate: Largest rotation, in degrees.
        shear: Largest shear along rows, in degrees.
        translate: Largest shift in both directions, as a share of the image's size.
        zoom: Largest change of size: 0.2 means 0.8 to 1.2.
        min_area: Smallest share of an image's area in a crop, which is resized; 1 for no such crop.
        policy: ``none``, ``trivial`` or ``randaugment``.
        num_ops: Operations of RandAugment.
        magnitude: Strength of RandAugment, from 0 to 30.
        brightness: Largest change of the factor on all values, up to 1: 0.4 means 0.6 to 1.4.
        contrast: The same for the contrast.
        saturation: The same for the saturation.
        hue: Largest turn of the colour circle, as a share of it, up to 0.5.
        grey: Share of the images that lose their colours.
        sharpness: Largest change of the factor on the difference to a blurred image, up to 1.
        posterise: Share of the images of which each value keeps its upper four bits.
        solarise: Share of the images whose values from 128 are inverted.
        autocontrast: Share of the images of which each channel is stretched to the full scale.
        equalise: Share of the images whose levels are made about as frequent as each other.
        erasing: Share of the images that lose a random box.
        cutout: Side of the square that each image loses, in pixels that the network sees.
        mixup: Parameter of the Beta distribution from which MixUp draws the share of the other image; 0.2 is usual.
        cutmix: The same for CutMix; 1 is usual. With both, each image is mixed by one of them.

    Raises:
        ValueError: If an argument is out of its range.
    """

    preset: Preset = "none"
    rotate: float | None = None
    shear: float | None = None
    translate: float | None = None
    zoom: float | None = None
    min_area: float | None = None
    policy: Policy | None = None
    num_ops: int | None = None
    magnitude: int | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    grey: float | None = None
    sharpness: float | None = None
    posterise: float | None = None
    solarise: float | None = None
    autocontrast: float | None = None
    equalise: float | None = None
    erasing: float | None = None
    cutout: int | None = None
    mixup: float | None = None
    cutmix: float | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (("preset", self.preset, get_args(Preset)), ("policy", self.policy, get_args(Policy))):
            if value is not None and value not in choices:
                raise ValueError(f"augment.{name} must be one of {', '.join(choices)}, got {value!r}")
        for name, (low, high, meaning) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"augment.{name} {meaning}, got {value}")
        if self.min_area == 0:
            raise ValueError("augment.min_area must be above 0: a crop of no area holds nothing")

    @classmethod
    def of(cls, given: Augment | Mapping[str, Any] | str) -> Augment:
        """From what a user gives: the name of a preset, or arguments by name.

        Raises:
            ValueError: If there is no such preset or argument, or one is out of its range.
        """
        if isinstance(given, Augment):
            return given
        if isinstance(given, str):
            return cls(given)  # type: ignore[arg-type]
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in names]:
            raise ValueError(f"augment has no part {unknown[0]}: there are {', '.join(names)}")
        return cls(**given)

    @property
    def given(self) -> dict[str, Any]:
        """The parts that were chosen otherwise than by the preset."""
        return {name: value for name, value in asdict(self).items() if name != "preset" and value is not None}

    @property
    def plain(self) -> str | dict[str, Any]:
        """As a checkpoint saves it: the name of the preset, or arguments by name."""
        return {"preset": self.preset} | self.given if self.given else self.preset


_SHARE = (0, 1, "must be between 0 and 1")
_AT_LEAST_0 = (0, float("inf"), "must be at least 0")
# Of a Beta distribution. Beyond, every share is one half.
_BETA = (0, 1000, "must be between 0 and 1000")
RANGES: dict[str, tuple[float, float, str]] = {
    "min_area": _SHARE,
    "rotate": (0, 180, "must be between 0 and 180 degrees"),
    "shear": (0, 80, "must be between 0 and 80 degrees"),
    "translate": _SHARE,
    "zoom": (0, 0.9, "must be between 0 and 0.9"),
    "num_ops": (1, MAX_OPERATIONS, f"must be between 1 and {MAX_OPERATIONS}"),
    "magnitude": (0, NUM_LEVELS - 1, f"must be between 0 and {NUM_LEVELS - 1}"),
    "brightness": _SHARE,
    "contrast": _SHARE,
    "saturation": _SHARE,
    "hue": (0, 0.5, "must be between 0 and 0.5"),
    "grey": _SHARE,
    "sharpness": _SHARE,
    "posterise": _SHARE,
    "solarise": _SHARE,
    "autocontrast": _SHARE,
    "equalise": _SHARE,
    "erasing": _SHARE,
    "cutout": _AT_LEAST_0,
    "mixup": _BETA,
    "cutmix": _BETA,
}


def preset_parts(preset: Preset, crop: Crop, mirrors: bool, native_size: int) -> dict[str, Any]:
    """What a preset does to the images of a dataset.

    Args:
        preset: Its name.
        crop: How the images are cropped.
        mirrors: Whether a mirrored image is still one of its class.
        native_size: Height and width of the images, in pixels.

    Returns:
        Arguments of :class:`Augment`, and ``flip`` and ``crop_padding``.
    """
    if preset in ("none", "flip"):
        return {"flip": preset == "flip"}
    # Shifts of an eighth: 4 pixels of 32 (He et al. 2015). A third of the area and more: less would often lose the object.
    cropped = {"crop_padding": max(1, round(native_size / 8))} if crop == "shift" else {"min_area": 0.35}
    of_preset: dict[str, dict[str, Any]] = {
        "standard": {},
        "trivial": {"policy": "trivial"},
        "randaugment": {"policy": "randaugment"},
        "strong": {"policy": "trivial", "erasing": 0.25, "cutmix": 1.0},
    }
    return {"flip": mirrors} | cropped | of_preset[preset]
