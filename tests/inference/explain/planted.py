"""Small networks that learn to tell images by a bright figure in noise, and where the figure is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.trained import Trained
from lit_cnn.network.base import Network, Variant
from lit_cnn.training.classifier import LitClassifier

SIZE = 24
SIDE = 6  # of a figure, in pixels


class Small(Network):
    """Two convolutions with layers that work in place, and a head.

    Args:
        averages: Whether the head is an average and a linear layer, for which the class activation map is exact; otherwise
            two linear layers on the flattened maps, which see the place.
    """

    def __init__(self, averages: bool) -> None:
        super().__init__(Variant(paper="none", image_size=SIZE), num_classes=2, in_channels=1)
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden = [nn.Linear(12 * (SIZE // 2) ** 2, 16), nn.ReLU(inplace=True), nn.Linear(16, 2)]
        self.head = nn.Linear(12, 2) if averages else nn.Sequential(*hidden)
        self.averages = averages

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head((self.avgpool(x) if self.averages else x).flatten(1))


def make_images(number: int, by_place: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images uint8 (N, 1, SIZE, SIZE), their classes (N,), and where their figures are (N, SIZE, SIZE).

    Args:
        number: Of images.
        by_place: Whether a square is in the left or in the right half. Otherwise it is filled or striped, anywhere.
        seed: Of the noise and the places.
    """
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 30, (number, 1, SIZE, SIZE), generator=random)
    labels = torch.arange(number) % 2
    inside = torch.zeros(number, SIZE, SIZE, dtype=torch.bool)
    for index, label in enumerate(labels.tolist()):
        top, left = torch.randint(0, SIZE - SIDE + 1, (2,), generator=random).tolist()
        if by_place:
            left = left % (SIZE // 2 - SIDE + 1) + label * SIZE // 2
        images[index, 0, top : top + SIDE, left : left + SIDE] = 220
        if not by_place and label == 1:
            images[index, 0, top : top + SIDE : 2, left : left + SIDE] = 0
        inside[index, top : top + SIDE, left : left + SIDE] = True
    return images.to(torch.uint8), labels, inside


def train_small(by_place: bool) -> Trained:
    """A network that tells the images apart."""
    torch.manual_seed(0)
    classifier = LitClassifier(Small(averages=not by_place), 2, 1)
    preprocessing = Preprocessing(SIZE, (0.1,), (0.2,))
    names = ("left", "right") if by_place else ("filled", "striped")
    trained = Trained(classifier.eval(), preprocessing, names, Reading(SIZE, 1), None, "planted figures")
    images, labels, _ = make_images(128, by_place, seed=1)
    batch = trained.preprocess(images)
    optimizer = torch.optim.Adam(classifier.network.parameters(), lr=1e-2)
    for step in range(80):
        part = torch.arange(32) + 32 * (step % 4)
        loss = nn.functional.cross_entropy(classifier.network(batch[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    return trained
