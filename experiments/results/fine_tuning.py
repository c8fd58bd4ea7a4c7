"""Measures what is gained by starting from trained weights, for ``docs/fine-tuning.md``.

``python experiments/results/fine_tuning.py --model resnet20 --weights FASHION_MNIST --data mnist --output
experiments/results/fine_tuning.json`` trains from the weights and from random ones, on 10, 50 and all images of each class.
The same command resumes a stopped measurement; other weights and other data are added to the same file. All of it is of one
commit and one choice of rates, batches and steps.

Each seed draws its own training and validation images. Both starts have the same images, steps and choice of learning rates.
The validation images choose the rate; the test images are looked at once for each start, seed and number of images.
"""

from __future__ import annotations

import argparse
import sys
import time
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import lit_cnn
from lit_cnn import models
from lit_cnn.analysis.provenance import describe_machine, measured_commit
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.names import WITHOUT_FILES, find_dataset
from lit_cnn.data.splits import Subset
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.runs.environment import without_folders
from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import choose_precision
from lit_cnn.weights.sources import Weights, find_weights

NUM_SEEDS = 5
SIZES = (10, 50, None)
RATES = (0.01, 0.05)
RANDOM = "random"
# What tells one training from another.
KEYS = ("model", "weights", "target", "images_per_class", "seed", "start")


def make_data(options: argparse.Namespace, image_size: int, num_images: int | None, seed: int) -> ImageDataModule:
    """The target's images, of which so many of each class are trained on."""
    found = find_dataset(options.data)
    arguments: dict[str, Any] = {**found.arguments, "image_size": image_size, "seed": seed, "batch_size": options.batch_size}
    if not found.arguments and found.class_name not in WITHOUT_FILES:
        arguments["data_dir"] = options.data_dir
    data = getattr(lit_cnn, found.class_name)(**arguments)
    data.prepare_data()
    data.setup("fit")
    train = data.splits["train"]
    if num_images is not None:
        order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))
        of_each = [order[train.labels[order] == label][:num_images] for label in range(data.num_classes)]
        data.splits["train"] = Subset(train, torch.cat(of_each))
    return data


def make_classifier(variant: str, weights: Weights, name: str | None, data: ImageDataModule, lr: float) -> LitClassifier:
    """The network that the weights are of, with the target's classes and channels; random without their name."""
    cls = models.lightning_module_of(variant)
    own = signature(cls).parameters.keys() - {"num_classes", "in_channels", "kwargs", *cls.training_only}
    arguments = {key: value for key, value in weights.arguments_of(cls).items() if key in own} | {"variant": variant}
    return cls(data.num_classes, data.channels, **arguments, lr=lr, schedule="one_cycle", weights=name)


def train(options: argparse.Namespace, num_images: int | None, seed: int, start: str) -> dict[str, Any]:
    """Trains with each learning rate; returns the scores of the one that the validation images choose."""
    weights = find_weights(options.weights, options.variant)
    image_size = weights.image_size or models.describe(options.variant).image_size
    best: tuple[float, float, pl.Trainer, LitClassifier, ImageDataModule] | None = None
    began = time.perf_counter()
    for lr in options.lr:
        pl.seed_everything(seed)
        data = make_data(options, image_size, num_images, seed)
        count = len(data.splits["train"].labels)
        data.batch_size = min(options.batch_size, count)
        steps = max(options.steps, options.epochs * count // data.batch_size)
        model = make_classifier(options.variant, weights, None if start == RANDOM else options.weights, data, lr)
        image = torch.zeros(1, data.channels, data.image_size, data.image_size)
        precision = choose_precision("cpu", data.batch_size * count_multiply_adds(model.network, image))
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=10**9,
        )
        trainer.fit(model, datamodule=data)
        (scores,) = trainer.validate(model, datamodule=data, verbose=False)
        if best is None or scores["val/acc"] > best[0]:
            best = scores["val/acc"], lr, trainer, model, data
    assert best is not None
    accuracy, lr, trainer, model, data = best
    (scores,) = trainer.test(model, datamodule=data, verbose=False)
    measured = {"lr": lr, "val/acc": accuracy, "test/acc": scores["test/acc"], "test/images": int(scores["test/images"])}
    measured |= {"train_images": len(data.splits["train"].labels), "steps": trainer.global_step}
    return measured | {"precision": str(trainer.precision), "seconds": round(time.perf_counter() - began, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the variant that the weights are of, for example resnet20")
    parser.add_argument("--weights", required=True, help="their name, a file or a run; lit-cnn models lists the names")
    parser.add_argument("--data", required=True, help="the target: a dataset, or a folder or an archive of images")
    parser.add_argument("--data_dir", default="data", help="where a dataset's files are (default: data)")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help=f"number of seeds, from 0 (default: {NUM_SEEDS})")
    parser.add_argument(
        "--lr", type=float, nargs="+", default=RATES, help=f"learning rates to choose from (default: {RATES})"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images in a step (default: 64)")
    parser.add_argument("--steps", type=int, default=300, help="least number of steps (default: 300)")
    parser.add_argument("--epochs", type=int, default=2, help="least number of epochs (default: 2)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write, and to resume from")
    options = parser.parse_args()
    if min(options.seeds, options.batch_size - 1, options.steps, options.epochs) < 1:
        parser.error("--seeds, --steps and --epochs must be at least 1, --batch_size at least 2")
    try:
        options.variant = find_in_catalogue(options.model)[0]
        find_weights(options.weights, options.variant)
        find_dataset(options.data)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    known = read_object(options.output) if options.output.is_file() else {}
    runs: list[dict[str, Any]] = known.get("runs", [])
    source = {"commit": measured_commit(), "rates": list(options.lr), "batch_size": options.batch_size}
    source |= {"least_steps": options.steps, "least_epochs": options.epochs}
    for run in runs:
        if changed := next((name for name, value in source.items() if run.get(name) != value), None):
            parser.error(
                f"{options.output} has {changed} {run.get(changed)}, this is {source[changed]}: name another --output"
            )
    done = {tuple(run[key] for key in KEYS) for run in runs}
    command = ["python", "experiments/results/fine_tuning.py", *without_folders(sys.argv[1:])]
    earlier = [one for one in [*known.get("earlier_commands", []), known.get("command")] if one and one != command]
    target = Path(options.data).name.partition(".")[0]
    for num_images in SIZES:
        for seed in range(options.seeds):
            for start in (RANDOM, options.weights):
                own = dict(zip(KEYS, (options.variant, options.weights, target, num_images, seed, start), strict=True))
                if tuple(own.values()) in done:
                    continue
                measured = train(options, num_images, seed, start)
                runs.append(own | source | measured)
                content = {"environment": describe_machine(), "command": command, "earlier_commands": earlier, "runs": runs}
                write_object(options.output, content)
                print(f"{own}: {measured['test/acc']:.2%}, {measured['seconds']} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
