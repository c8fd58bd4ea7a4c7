from collections.abc import Callable

import pytest
import torch
from test_geometry import photographs
from torchvision.transforms.v2 import functional

from lit_cnn.data.augment import colour

FACTORS = torch.linspace(0, 2, 12)
WITH_STRENGTH: dict[str, torch.Tensor] = {
    "adjust_brightness": FACTORS,
    "adjust_contrast": FACTORS,
    "adjust_saturation": FACTORS,
    "adjust_sharpness": FACTORS,
    "adjust_hue": torch.linspace(-0.5, 0.5, 12),
    "posterize": torch.arange(12) % 9,
    "solarize": torch.linspace(0, 255, 12),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", WITH_STRENGTH)
def test_equals_torchvision(name: str, channels: int):
    images, strengths = photographs(channels), WITH_STRENGTH[name]
    ours = getattr(colour, name)(images, strengths)
    reference: Callable = getattr(functional, name)
    given = strengths.tolist()
    theirs = torch.stack([reference(image, strength) for image, strength in zip(images, given, strict=True)])
    assert ours.dtype == torch.uint8
    assert (ours.int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_equals_torchvision_without_strength(name: str, channels: int):
    images = torch.cat([photographs(channels), photographs(channels) // 4 + 60])
    ours = getattr(colour, name)(images)
    theirs = torch.stack([getattr(functional, name)(image) for image in images])
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_only_chosen_images_lose_their_colours():
    images = photographs(3)
    chosen = torch.arange(12) < 5
    grey = colour.to_grayscale(images, chosen)
    theirs = functional.rgb_to_grayscale(images, num_output_channels=3)
    assert torch.equal(grey[5:], images[5:])
    assert (grey[:5].int() - theirs[:5].int()).abs().max() <= 1
