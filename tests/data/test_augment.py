import torch

from lit_cnn.data.augment import NUM_DRAWS, crop_and_flip


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
