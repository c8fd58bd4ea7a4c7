import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import affine

from lit_cnn.data.augment import NUM_DRAWS, Augmentation, crop_and_flip
from lit_cnn.data.augment.draws import AFFINE, AREA, FLIP
from lit_cnn.data.augment.geometry import affine_matrices, crop_boxes, resized_crop, warp


def test_within_one_batch_some_images_flip_and_some_do_not():
    images = torch.arange(3 * 5 * 5, dtype=torch.uint8).view(1, 3, 5, 5).expand(64, 3, 5, 5)
    draws = torch.rand(64, NUM_DRAWS, generator=torch.Generator().manual_seed(0))
    flipped = crop_and_flip(images, draws, crop_padding=0, flip=True)
    is_same = (flipped == images).flatten(1).all(1)
    is_mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert torch.equal(is_mirrored, draws[:, 2] < 0.5)
    assert torch.equal(is_same, ~is_mirrored)
    assert 16 < is_mirrored.sum() < 48


def test_crops_shift_each_image_by_itself_and_fill_with_black():
    images = torch.full((200, 1, 6, 6), 255, dtype=torch.uint8)
    draws = torch.rand(200, NUM_DRAWS, generator=torch.Generator().manual_seed(1))
    cropped = crop_and_flip(images, draws, crop_padding=2, flip=False)
    assert cropped.shape == images.shape
    black_rows = (cropped == 0).all(dim=(1, 3)).sum(1)
    black_columns = (cropped == 0).all(dim=(1, 2)).sum(1)
    # Shifts of -2 to 2 pixels in both directions, independent of each other.
    assert set(black_rows.tolist()) == set(black_columns.tolist()) == {0, 1, 2}
    assert len(set(zip(black_rows.tolist(), black_columns.tolist(), strict=True))) == 9


def test_a_crop_equals_the_slice_of_the_padded_image():
    image = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    draws = torch.tensor([[0.0, 0.999, 0.9]])  # first row, last column, no flip
    padded = torch.nn.functional.pad(image, (3, 3, 3, 3))
    assert torch.equal(crop_and_flip(image, draws, 3, flip=False), padded[:, :, 0:8, 6:14])
    flipped = crop_and_flip(image, torch.tensor([[0.0, 0.999, 0.1]]), 3, flip=True)
    assert torch.equal(flipped, padded[:, :, 0:8, 6:14].flip(3))


def photographs(channels: int, num_images: int = 12, height: int = 24, width: int = 32) -> torch.Tensor:
    """Images that vary smoothly, with noise, and one of a single value."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(num_images, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") * 220
    noise = torch.rand(num_images, channels, height, width, generator=generator) * 35
    images = (smooth + noise).to(torch.uint8)
    images[0] = 17
    return images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("centre", [True, False])
def test_affine_maps_equal_those_of_torchvision(channels: int, centre: bool):
    images, count = photographs(channels), 12
    angle, scale = torch.linspace(-170, 170, count), torch.linspace(0.5, 1.5, count)
    shift = torch.stack([torch.arange(count) - 6.0, 5.0 - torch.arange(count)], 1)
    shear = torch.stack([torch.linspace(-40, 40, count), torch.linspace(30, -30, count)], 1)
    ours = warp(images, affine_matrices(angle, shift, scale, shear, 24, 32, centre), (24, 32))
    for number, image in enumerate(images):
        theirs = affine(
            image,
            angle=float(angle[number]),
            translate=[int(value) for value in shift[number]],
            scale=float(scale[number]),
            shear=shear[number].tolist(),
            interpolation=InterpolationMode.BILINEAR,
            center=None if centre else [0.0, 0.0],
        )
        assert (ours[number].int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [12, 24, 48])
def test_a_resized_crop_equals_that_of_torchvision(channels: int, size: int):
    images = photographs(channels)
    boxes = crop_boxes(torch.rand(12, 4, generator=torch.Generator().manual_seed(0)), 24, 32, min_area=0.08)
    flipped = torch.arange(12) % 2 == 0
    ours, exact = resized_crop(images, boxes, size, flipped), resized_crop(images.float(), boxes, size, flipped)
    for number, (image, box) in enumerate(zip(images, boxes.tolist(), strict=True)):
        theirs = functional.resized_crop(image, *box, [size, size], antialias=True)
        as_float = functional.resized_crop(image.float(), *box, [size, size], antialias=True)
        if flipped[number]:
            theirs, as_float = theirs.flip(2), as_float.flip(2)
        assert (ours[number].int() - theirs.int()).abs().max() <= 1
        torch.testing.assert_close(exact[number], as_float, rtol=0, atol=1e-3)


def test_a_rotation_a_zoom_and_a_crop_are_one_resampling():
    image = photographs(3, 2)[1:]
    draws = torch.rand(1, 47, generator=torch.Generator().manual_seed(2))
    draws[0, FLIP], draws[0, AFFINE][:3] = 0.1, torch.tensor([1.0, 0.5, 1.0])
    ours = Augmentation(flip=True, rotate=90, zoom=0.25, min_area=0.5).transform(image, draws, 16)
    ((top, left, tall, wide),) = crop_boxes(draws[:, AREA], 24, 32, min_area=0.5).tolist()
    row, column = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    # Backwards: the crop, mirrored, of an image that was turned clockwise by a right angle and enlarged by a quarter.
    y, x = top + row * tall / 16 - 12, left + (16 - column) * wide / 16 - 16
    y, x = 12 - x / 1.25, 16 + y / 1.25
    grid = torch.stack([x / 16 - 1, y / 12 - 1], -1)[None]
    expected = torch.nn.functional.grid_sample(image.float(), grid, align_corners=False)
    assert (expected > 0).float().mean() > 0.5
    assert (ours - expected).abs().max() < 1


@pytest.mark.parametrize("size", [24, 16])
def test_a_map_shifts_and_mirrors_as_without_one(size: int):
    images = photographs(3, height=24, width=24)
    draws = torch.rand(12, 47, generator=torch.Generator().manual_seed(3))
    turned = Augmentation(flip=True, crop_padding=3, rotate=1e-6).transform(images, draws, size, framed=size < 24)
    expected = crop_and_flip(images, draws, 3, True, size if size < 24 else None)
    assert (turned.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("augmentation", [Augmentation(rotate=1e-6), Augmentation(min_area=0.9), Augmentation(flip=True)])
def test_images_that_the_network_sees_enlarged_keep_their_pixels_and_borders(augmentation: Augmentation):
    images = torch.full((4, 1, 8, 8), 200, dtype=torch.uint8)
    draws = torch.rand(4, 47, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augmentation.transform(images, draws, 32), images)


def test_boxes_have_the_area_and_the_proportions_asked_for():
    draws = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0))
    top, left, height, width = crop_boxes(draws, 100, 100, min_area=0.2).float().unbind(1)
    area, ratio = height * width / 10_000, width / height
    assert area.min() == pytest.approx(0.2, abs=0.01)
    assert area.max() <= 1
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4
    assert (top + height).max() <= 100
    assert (left + width).max() <= 100
    assert top.min() == left.min() == 0
    assert area.mean() == pytest.approx(0.6, abs=0.02)
