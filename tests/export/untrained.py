"""Networks with random weights, and images for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.export.samples import Samples
from lit_cnn.inference.trained import Trained
from lit_cnn.models import LitLeNet

CLASSES = ("ant", "bee", "cat")


def untrained(channels: int = 3, reading: Reading | None = None) -> Trained:
    """A LeNet for 28×28, which reads files at 32×32."""
    torch.manual_seed(0)
    classifier = LitLeNet(len(CLASSES), channels).eval()
    preprocessing = Preprocessing(28, (0.4, 0.5, 0.6)[:channels], (0.25, 0.3, 0.2)[:channels])
    return Trained(classifier, preprocessing, CLASSES, reading or Reading(32, channels), "photos", "nowhere")


def samples_of(trained: Trained, number: int = 20) -> Samples:
    """Noise."""
    pixels = torch.randint(0, 256, (number, trained.channels, 32, 32), generator=torch.Generator().manual_seed(1))
    files = tuple(Path(f"{position}.png") for position in range(number))
    return Samples(files, pixels.to(torch.uint8), np.zeros(number, np.int64), number, trained)
