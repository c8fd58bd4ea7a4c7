"""Which images a report shows, and what it shows of them."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lit_cnn.analysis import pictures
from lit_cnn.data.splits import ArrayImages
from lit_cnn.runs.predictions import RunPredictions

PROBABILITIES = np.array([[0.9, 0.1], [0.05, 0.95], [0.45, 0.55], [0.2, 0.8], [0.98, 0.02], [0.51, 0.49]])
LABELS = np.array([0, 0, 1, 1, 1, 0])  # the second and the fifth are mistakes


def predictions() -> RunPredictions:
    names = [f"folder/{number}.png" for number in range(6)]
    return RunPredictions(names, LABELS, np.log(PROBABILITIES).astype(np.float32), ["ant", "bee"])


def images(size: int = 8) -> ArrayImages:
    pixels = (40 * torch.arange(6)).view(6, 1, 1, 1).expand(6, 3, size, size).to(torch.uint8)
    return ArrayImages(pixels, torch.from_numpy(LABELS))


def pixels_of(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))))


def test_the_worst_images_have_the_highest_loss():
    assert pictures.worst(predictions(), 3).tolist() == [4, 1, 5]


def test_the_most_uncertain_images_have_two_classes_that_are_close():
    assert pictures.most_uncertain(predictions(), 2).tolist() == [5, 2]


def test_the_surest_right_answers_are_of_different_classes():
    assert pictures.surest(predictions(), 5).tolist() == [0, 3]


def test_an_image_is_shown_with_its_pixels_its_file_and_its_classes():
    (shown,) = pictures.show(predictions(), images(), [4])
    assert (shown.file, shown.label, shown.predicted, shown.is_right, shown.is_exact) == ("4.png", "bee", "ant", False, True)
    assert (shown.probability, shown.of_label) == (pytest.approx(0.98), pytest.approx(0.02))
    assert (pixels_of(shown.source) == 160).all()
    assert pixels_of(shown.source).shape == (8, 8, 3)


def test_large_images_are_reduced():
    (shown,) = pictures.show(predictions(), images(400), [1])
    assert not shown.is_exact
    assert pixels_of(shown.source).shape == (160, 160, 3)


def test_maps_are_of_mistakes_for_both_classes_and_of_right_answers_for_one():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = pictures.map_classes(network, lambda batch: batch.float(), predictions(), images())
    assert found.is_exact
    assert found.cells == (8, 8)
    assert [mapped.shown.file for mapped in found.images] == ["4.png", "1.png", "0.png", "3.png"]
    assert [[name for name, _ in mapped.maps] for mapped in found.images] == [
        ["ant", "bee"],
        ["bee", "ant"],
        ["ant"],
        ["bee"],
    ]
    assert pixels_of(found.images[0].maps[0][1]).shape == (112, 112, 3)


def test_maps_lie_on_the_centre_that_the_network_sees():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    cut = images(200)
    found = pictures.map_classes(network, lambda batch: batch[..., 20:180, 20:180].float(), predictions(), cut, centre=160)
    assert pixels_of(found.images[0].maps[0][1]).shape == (160, 160, 3)
