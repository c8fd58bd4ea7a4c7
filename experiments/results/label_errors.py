"""Measures how many swapped labels ``lit-cnn label-errors`` finds, for ``docs/own-photos.md``.

``python experiments/results/label_errors.py --output experiments/results/label_errors.json`` takes 5 minutes on two
processors. Needs ``make extras``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import program
import torch
from PIL import Image

from lit_cnn import FashionMNIST
from lit_cnn.analysis.provenance import describe_machine
from lit_cnn.runs.environment import without_folders
from lit_cnn.system.json_files import write_object

NUM_IMAGES = 6_000
# So many get the label of another class.
SHARE_SWAPPED = 0.02
SEEDS = (0, 1, 2)
RECIPE = ("--model", "lenet_bn", "--model.lr", "0.05", "--trainer.max_epochs", "10", "--data.image_size", "28")
# Threads and precision are otherwise chosen by the machine and its load, and change the last bits.
SETTINGS = (*RECIPE, "--threads", "1", "--trainer.precision", "32-true")


def write_swapped(data_dir: str, folder: Path, seed: int) -> set[str]:
    """Writes images of Fashion-MNIST into folders of classes, and returns the names of those in a wrong one."""
    images, random = FashionMNIST(data_dir=data_dir).read("train"), np.random.default_rng(seed)
    labels = images.labels.numpy()
    of_each = [np.flatnonzero(labels == label) for label in range(10)]
    chosen = np.concatenate([random.choice(own, NUM_IMAGES // 10, replace=False) for own in of_each])
    swapped = random.choice(chosen, round(SHARE_SWAPPED * len(chosen)), replace=False)
    given = labels.copy()
    given[swapped] = (labels[swapped] + random.integers(1, 10, len(swapped))) % 10
    for number, pixels in zip(chosen, images.fetch(torch.from_numpy(chosen)).cpu(), strict=True):
        path = folder / str(given[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(path)
    return {f"{number}.png" for number in swapped}


def count_found(data_dir: str, folder: Path, seed: int) -> dict[str, int]:
    """Numbers of listed images, of swapped labels, of those in both, and of those among as many first ones."""
    swapped = write_swapped(data_dir, folder / "photos", seed)
    program.run("fit", *SETTINGS, "--data", folder / "photos", "--runs_dir", folder / "runs", "--seed_everything", seed)
    program.run("label-errors", "--run", "latest", "--runs_dir", folder / "runs", "--output", folder / "found.html")
    (manifest,) = folder.glob("runs/photos/lenet_bn/*/data.json")
    content = json.loads(manifest.read_text())
    column = content["columns"].index("split")
    # No test image is looked at, so that none of its labels can be found.
    swapped &= {Path(row[0]).name for row in content["files"] if row[column] != "test"}
    with (folder / "found.csv").open() as file:
        listed = [Path(row["file"]).name for row in csv.DictReader(file)]
    both, first = (len(swapped & set(names)) for names in (listed, listed[: len(swapped)]))
    return {"listed": len(listed), "swapped": len(swapped), "both": both, "first": first}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where Fashion-MNIST is, or is downloaded to (default: data)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    environment, seeds = describe_machine(), []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            seeds.append(count_found(options.data_dir, Path(folder), seed))
    command = ["python", "experiments/results/label_errors.py", *without_folders(sys.argv[1:])]
    measured = {"images": NUM_IMAGES, "share": SHARE_SWAPPED, "seeds": seeds}
    write_object(options.output, {"environment": environment, "command": command, **measured})


if __name__ == "__main__":
    main()
