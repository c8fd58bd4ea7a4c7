import pytest
import torch
from test_geometry import photographs
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from lit_cnn.data.augment.policies import NUM_LEVELS, RANDAUGMENT, TRIVIAL, apply_operations, rand_augment, trivial_augment

NAMES = (
    "Identity ShearX ShearY TranslateX TranslateY Rotate Brightness Color Contrast Sharpness Posterize Solarize AutoContrast"
)
NAMES = [*NAMES.split(), "Equalize"]
SIGNED = NAMES[1:10]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("table", "reference"), [(TRIVIAL, TrivialAugmentWide), (RANDAUGMENT, RandAugment)])
def test_each_operation_is_that_of_torchvision(table, reference, name: str, channels: int):
    image = photographs(channels, 2, 32, 32)[1:]
    theirs = reference(interpolation=InterpolationMode.BILINEAR)
    strengths, _ = theirs._AUGMENTATION_SPACE[name]
    levels = strengths(NUM_LEVELS, 32, 32)
    which = torch.tensor([(NAMES.index(name) + 0.5) / len(NAMES)])
    for level in (9, 30):
        strength = 0.0 if levels is None else float(levels[level])
        share = torch.tensor([level / (NUM_LEVELS - 1)])
        for sign in (-1, 1) if name in SIGNED else (1,):
            expected = theirs._apply_image_or_video_transform(
                image, name, sign * strength, interpolation=InterpolationMode.BILINEAR, fill={}
            )
            ours = apply_operations(image, table, which, share, torch.tensor([0.25 if sign < 0 else 0.75]))
            # The outermost pixels of a turned image may be taken for outside or inside.
            different = (ours.int() - expected.int()).abs() > 1
            assert different.float().mean() <= (0.002 if name == "Rotate" else 0), (name, level, sign)


def test_trivial_augment_draws_an_operation_for_each_image():
    image = photographs(3, 2, 32, 32)[1:]
    draws = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    changed = trivial_augment(image.expand(400, 3, 32, 32), draws)
    assert len(torch.unique(changed.flatten(1), dim=0)) > 200
    identity = draws[:, 0] < 1 / len(NAMES)
    assert torch.equal(changed[identity], image.expand(int(identity.sum()), 3, 32, 32))
    # An image alone is changed as it is among others.
    assert torch.equal(trivial_augment(image, draws[7:8])[0], changed[7])


def test_rand_augment_applies_operations_in_turn():
    images = photographs(3, 40, 32, 32)
    draws = torch.rand(40, 6, generator=torch.Generator().manual_seed(1))
    first = rand_augment(images, draws[:, :3], num_ops=1, magnitude=15)
    assert torch.equal(rand_augment(images, draws, 2, 15), rand_augment(first, draws[:, 3:], 1, 15))
