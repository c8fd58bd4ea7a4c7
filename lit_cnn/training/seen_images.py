"""Whether weights that a training starts from were trained on images that it evaluates on."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.manifest import FILE_NAME, Manifest, beside, count
from lit_cnn.data.splits import SPLITS
from lit_cnn.weights.sources import Weights


def warn_of_seen_images(weights: Weights, data: Any) -> None:
    """Warns if weights were trained on validation or test images.

    Files are compared by content with the images of the run whose checkpoint the weights are. Of other weights, only the
    seeds and shares that divided the images are known: they must be the same if the images are.

    Args:
        weights: What the training starts from.
        data: The data module, set up.
    """
    manifest = None if weights.file is None else beside(weights.file)
    trained = manifest and Manifest.read(manifest)
    if trained and hasattr(data, "manifest"):
        _compare_files(weights, trained, data.manifest)
    elif weights.data.get("digest") and weights.data["digest"] == getattr(data, "digest", None):
        _compare_division(weights, data.state_dict()["split"])


def _compare_files(weights: Weights, trained: Manifest, manifest: Manifest) -> None:
    seen = {entry.digest for entry in trained.of("train")}
    images = {split: manifest.of(split) for split in SPLITS if split != "train"}
    found = {split: sum(entry.digest in seen for entry in entries) for split, entries in images.items()}
    shares = [f"{number:,} of {count(len(images[split]), f'{split} image')}" for split, number in found.items() if number]
    if shares:
        rank_zero_warn(
            f"the weights of {weights.source} were trained on {' and '.join(shares)}: the accuracy will be too high; divide "
            f"the images as that run did ({FILE_NAME} names seeds and shares), or start from other weights"
        )


def _compare_division(weights: Weights, division: dict[str, Any]) -> None:
    trained = weights.data.get("split") or {}
    other = [name for name, value in division.items() if name in trained and trained[name] != value]
    if other:
        then, now = (", ".join(f"{name} {values[name]}" for name in other) for values in (trained, division))
        remedies = [
            f"leave out --data.{name}" if trained[name] is None else f"set --data.{name} {trained[name]}" for name in other
        ]
        rank_zero_warn(
            f"the weights of {weights.source} were trained on images that now validate (divided with {then}, "
            f"now with {now}): the validation accuracy will be too high; {', '.join(remedies)}"
        )
