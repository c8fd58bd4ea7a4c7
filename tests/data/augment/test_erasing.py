import pytest
import torch
from torchvision.transforms.v2 import functional

from lit_cnn.data.augment.erasing import cutout_boxes, erase, erasing_boxes


def test_erasing_is_that_of_torchvision():
    images = torch.rand(50, 3, 20, 30, generator=torch.Generator().manual_seed(0)) + 1
    boxes = erasing_boxes(torch.rand(50, 5, generator=torch.Generator().manual_seed(1)), 20, 30, probability=0.5)
    theirs = torch.stack(
        [functional.erase(image, *box, torch.zeros(1, 1, 1)) for image, box in zip(images, boxes.tolist(), strict=True)]
    )
    assert torch.equal(erase(images.clone(), boxes), theirs)


def test_boxes_are_as_large_and_as_frequent_as_in_the_paper():
    boxes = erasing_boxes(torch.rand(4000, 5, generator=torch.Generator().manual_seed(0)), 200, 200, probability=0.25)
    erased = boxes[boxes[:, 2] > 0].float()
    assert len(erased) / 4000 == pytest.approx(0.25, abs=0.03)
    share, ratio = erased[:, 2] * erased[:, 3] / 200**2, erased[:, 3] / erased[:, 2]
    assert share.min() > 0.015
    assert share.max() < 0.34
    assert 0.28 < ratio.min() < 0.35
    assert 3 < ratio.max() < 3.5
    assert (erased[:, 0] + erased[:, 2]).max() <= 200


def test_cutout_hides_a_square_of_which_parts_may_lie_outside():
    images = torch.ones(300, 2, 10, 10)
    hidden = erase(images, cutout_boxes(torch.rand(300, 2, generator=torch.Generator().manual_seed(0)), 10, 10, side=4)) == 0
    counts = hidden[:, 0].sum((1, 2))
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert counts.max() == 16
    assert counts.min() == 4  # at a corner
    assert hidden[:, 0].any(0).all()
