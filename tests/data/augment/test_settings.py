from dataclasses import fields, replace

import pytest
import torch

from lit_cnn.data import Digits, FashionMNIST
from lit_cnn.data.augment import Augment, Augmentation
from lit_cnn.data.fake import FakeImages


def test_a_preset_is_what_is_usual_for_the_dataset():
    fashion = FashionMNIST("data", augment="standard").augmentation
    assert fashion == Augmentation(flip=True, crop_padding=4)
    assert Digits(augment="trivial").augmentation == Augmentation(flip=False, crop_padding=1, policy="trivial")
    assert Digits(augment="flip").augmentation == Augmentation(flip=True)
    assert FashionMNIST("data").augmentation == Augmentation()


def test_parts_override_the_preset():
    data = FashionMNIST("data", augment=Augment("strong", cutmix=0, mixup=0.2), flip=False, crop_padding=2)
    assert data.augmentation == Augmentation(crop_padding=2, policy="trivial", erasing=0.25, mixup=0.2)
    assert data.hparams["augment"] == {"preset": "strong", "cutmix": 0, "mixup": 0.2}
    again = FashionMNIST(**data.hparams)  # as from a checkpoint
    assert again.augmentation == data.augmentation
    area = FashionMNIST("data", augment=Augment("standard", min_area=0.5)).augmentation
    assert area == Augmentation(flip=True, min_area=0.5)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("strongest", "augment.preset must be one of none, flip, standard, trivial, randaugment, strong, got 'strongest'"),
        ({"mixup": -1}, "augment.mixup must be between 0 and 1000, got -1"),
        ({"cutmix": float("inf")}, "augment.cutmix must be between 0 and 1000, got inf"),
        ({"posterise": 4}, "augment.posterise must be between 0 and 1, got 4"),
        ({"brightness": 1.5}, "augment.brightness must be between 0 and 1, got 1.5"),
        ({"hue": 0.6}, "augment.hue must be between 0 and 0.5, got 0.6"),
        ({"erasing": 2}, "augment.erasing must be between 0 and 1, got 2"),
        ({"min_area": 0}, "augment.min_area must be above 0"),
        ({"policy": "auto"}, "augment.policy must be one of none, trivial, randaugment, got 'auto'"),
        ({"magnitude": 5}, "augment.magnitude belongs to RandAugment"),
        ({"blur": 1}, "augment has no part blur: there are preset, rotate"),
    ],
)
def test_what_makes_no_sense_is_refused(augment, message: str):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        FakeImages(augment=augment)


def test_shifts_leave_something_of_the_images():
    with pytest.raises(ValueError, match=r"crop_padding=28 moves images of 28×28 out of sight: give less"):
        FakeImages(crop_padding=28)


def test_two_crops_exclude_each_other():
    with pytest.raises(ValueError, match=r"crop_padding=2 and augment\.min_area=0\.3 both crop: choose one"):
        FakeImages(augment={"min_area": 0.3}, crop_padding=2)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"hue": 0.1}, "augment.hue=0.1 changes nothing in grey images: leave it out"),
        ({"saturation": 0.1}, "augment.saturation=0.1 changes nothing in grey images"),
        ({"grey": 0.1}, "augment.grey=0.1 changes nothing in grey images"),
    ],
)
def test_colours_of_grey_images_cannot_change(augment, message: str):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        FakeImages(augment=augment).setup("fit")
    FakeImages(augment=augment, channels=3).setup("fit")


def test_one_class_cannot_be_mixed():
    data = FakeImages(num_classes=1, augment={"mixup": 0.2})
    with pytest.raises(ValueError, match="MixUp and CutMix mix classes, and fake_images has one"):
        data.setup("fit")


def test_the_numbers_of_one_operation_do_not_depend_on_another():
    alone, together = Augmentation(erasing=0.5), Augmentation(erasing=0.5, mixup=0.3, policy="trivial", rotate=5)
    one, other = alone.draw_more(3, 1, 50), together.draw_more(3, 1, 50)
    assert torch.equal(one[:, :43], other[:, :43])
    assert not torch.equal(one, alone.draw_more(3, 2, 50))
    assert Augmentation(flip=True, crop_padding=4).draw_more(3, 1, 50) is None


def test_every_part_changes_images():
    images = FakeImages(channels=3).read("train").fetch(torch.arange(64))
    labels = torch.arange(64) % 10
    parts = {"flip": True, "crop_padding": 2, "min_area": 0.3, "rotate": 10, "shear": 10, "translate": 0.1, "zoom": 0.2}
    parts |= {"policy": "trivial", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "grey": 0.5}
    parts |= {"sharpness": 0.9, "posterise": 0.5, "solarise": 0.5, "autocontrast": 0.5, "equalise": 0.5}
    parts |= {"erasing": 0.5, "cutout": 8, "mixup": 1.0, "cutmix": 1.0}
    assert parts.keys() | {"num_ops", "magnitude"} == {field.name for field in fields(Augmentation)}
    cases = [{name: value} for name, value in parts.items()]
    cases += [{"policy": "randaugment"}, {"policy": "randaugment", "num_ops": 4}, {"policy": "randaugment", "magnitude": 20}]
    uniform = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for case in cases:
        augmentation = Augmentation(**case)
        more = replace(augmentation, rotate=1).draw_more(0, 0, 64)  # as long as with any other part
        draws = torch.cat([uniform, more], 1)
        changed = augmentation.transform(images, draws, 28)
        assert changed.dtype == torch.uint8
        assert changed.shape == images.shape
        finished, targets = augmentation.finish(changed.float(), labels, draws, 10)
        assert (targets is not None) == augmentation.mixes
        assert all(not torch.equal(finished, other) for other in [images.float(), *results]), case
        results.append(finished)
        assert augmentation.describe() != "none"
