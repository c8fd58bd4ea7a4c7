"""Test-time augmentation: which views there are, and what is averaged."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from lit_cnn.commands.tta import CHOICES
from lit_cnn.network.tta import NUM_VIEWS, Tta, describe_tta, mean_log_probabilities, pixel_of, read_tta, views


@pytest.mark.parametrize("tta", get_args(Tta))
def test_the_mean_is_of_probabilities(tta: Tta):
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4)), torch.randn(7, 3, 6, 5)
    each = [network(view).softmax(dim=1) for view in views(images, tta)]
    assert len(each) == NUM_VIEWS[tta]
    mean = mean_log_probabilities(network, images, tta).exp()
    torch.testing.assert_close(mean, torch.stack(each).mean(dim=0))
    torch.testing.assert_close(mean.sum(dim=1), torch.ones(7))


@pytest.mark.parametrize("pixel", [1, 2])
def test_shifts_are_all_nine_with_repeated_edges(pixel: int):
    images = torch.arange(30.0).view(1, 1, 5, 6)
    found = {tuple(view.flatten().tolist()) for view in views(images, "shifts", pixel)}
    expected = set()
    for down in (-pixel, 0, pixel):
        for right in (-pixel, 0, pixel):
            rows = (torch.arange(5) + down).clamp(0, 4)
            columns = (torch.arange(6) + right).clamp(0, 5)
            expected.add(tuple(images[0, 0][rows][:, columns].flatten().tolist()))
    assert len(expected) == 9
    assert found == expected


@pytest.mark.parametrize("tta", get_args(Tta))
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_views_keep_the_memory_format(tta: Tta, memory_format: torch.memory_format):
    images = torch.randn(2, 3, 6, 6).to(memory_format=memory_format)
    assert all(view.is_contiguous(memory_format=memory_format) for view in views(images, tta))


def test_a_shift_of_a_stored_pixel_is_as_many_pixels_as_it_covers():
    assert [pixel_of(28, 28), pixel_of(56, 28), pixel_of(224, 28), pixel_of(14, 28), pixel_of(224, 280)] == [1, 2, 8, 1, 1]


def test_names_are_those_of_the_commands():
    assert get_args(Tta) == CHOICES
    assert [read_tta(one) for one in (None, False, True, *CHOICES)] == [None, None, "flip", *CHOICES]
    with pytest.raises(ValueError, match="tta must be flip or shifts, got 'mirror'"):
        read_tta("mirror")
    assert "in 9 times the time" in describe_tta("shifts")
