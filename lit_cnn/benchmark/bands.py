"""The band in which the test accuracy of another training with a recipe is expected, and the recipe's line about it."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lit_cnn.analysis.markdown import percent

# The band has so many standard deviations on either side of the mean …
NUM_SDS = 3
# … and at least so many percentage points, and so many test images: a few seeds tell little about a spread.
LEAST_POINTS = 0.3
LEAST_IMAGES = 2
# Fewer seeds have no band.
LEAST_SEEDS = 3
# Digits of a percentage that are shown, and compared.
_DIGITS = 2
_LABEL = r"(?: \((?P<label>[^();]+)(?:; images (?P<digest>[0-9a-f]+))?\))?"
_BAND = r"\bband (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?) %"
_LINE = re.compile(rf"^# Expected: .*{_BAND}{_LABEL}.*?; (?P<machine>.+)\.$", re.MULTILINE)


@dataclass(frozen=True)
class Band:
    """Test accuracies, in percent.

    Args:
        low: The lowest.
        high: The highest.
    """

    low: float
    high: float

    @classmethod
    def around(cls, accuracies: Sequence[float], num_images: float) -> Band | None:
        """The mean of these accuracies ± three standard deviations, rounded outwards to tenths of a percent.

        Args:
            accuracies: Of one seed each, as shares.
            num_images: Number of test images.
        Returns:
            The band; None of fewer than three seeds.
        """
        if len(accuracies) < LEAST_SEEDS:
            return None
        mean, sd = 100 * statistics.mean(accuracies), 100 * statistics.stdev(accuracies)
        width = max(NUM_SDS * sd, LEAST_POINTS, LEAST_IMAGES * 100 / num_images)
        low = math.floor(round(10 * (mean - width), 4)) / 10
        high = math.ceil(round(10 * (mean + width), 4)) / 10
        return cls(max(low, 0.0), min(high, 100.0))

    def __contains__(self, accuracy: float) -> bool:
        return self.low <= round(100 * accuracy, _DIGITS) <= self.high

    def __str__(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f} %"


def digest_of_all(train: str, test: str) -> str:
    """One short digest of all images, from that of the training and validation images and that of the test images."""
    return hashlib.blake2b(f"{train} {test}".encode(), digest_size=4).hexdigest()


@dataclass(frozen=True)
class Expectation:
    """What the ``# Expected:`` line of a recipe tells about another training.

    Args:
        band: Of its test accuracy.
        label: What the images are if they are not those of the dataset's name, such as ``JPEG copy``.
        digest: :func:`digest_of_all` of its images; None if the dataset's name tells which they are.
        machine: Where it was measured, and the precision.
    """

    band: Band
    label: str | None
    digest: str | None
    machine: str

    @classmethod
    def read(cls, text: str) -> Expectation | None:
        """The expectation of a recipe's text; None if it has no band."""
        match = _LINE.search(text)
        return cls(Band(float(match[1]), float(match[2])), **match.groupdict()) if match else None

    def judge(self, accuracy: float, recipe: str) -> str:
        """A line on whether a test accuracy lies in the band.

        Args:
            accuracy: As a share.
            recipe: Path of the recipe.
        """
        band = f"{self.band} ({self.label})" if self.label else str(self.band)
        if accuracy in self.band:
            return f"expected: {band} ({recipe}): inside"
        return f"test accuracy {percent(accuracy)} is outside the expected {band} of {recipe}, measured on {self.machine}"
