"""Four ways to train or evaluate the same network on the same images. Each is measured in a process of its own.

``plain``: the loop that tutorials teach. ``lightning``: the same network and loader in a plain LightningModule.
``lit_cnn``: the command, as users get it. ``ceiling``: a loop by hand on one batch that lies on the device already, in the
precision and memory format that are fastest on this machine. It loads nothing, so nothing can be much faster.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.optimisations import leave_out
from lit_cnn.benchmark.stopwatch import Stopwatch, Timing, await_device
from lit_cnn.models import build, lightning_module_of
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.training.precision import has_bfloat16

# Batches of one evaluation. An evaluation is measured as a whole, and repeated until the time is up.
EVAL_BATCHES = 50
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


class PlainDataset(Dataset):
    """Reads one image at a time through Pillow, as torchvision's datasets do."""

    def __init__(self, pixels: Tensor, labels: Tensor, transform: Callable[[Image.Image], Tensor]) -> None:
        self.pixels, self.labels, self.transform = pixels.permute(0, 2, 3, 1).squeeze(-1).numpy(), labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def plain_loader(case: Case, num_workers: int) -> tuple[DataLoader, int, int]:
    """A DataLoader as tutorials make it, with the numbers of classes and channels."""
    resize = transforms.Resize((case.image_size, case.image_size))
    if case.is_folder:
        steps = [transforms.Resize(case.image_size), transforms.CenterCrop(case.image_size), transforms.ToTensor()]
        steps += [transforms.RandomHorizontalFlip(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
        dataset: Any = datasets.ImageFolder(case.data, transforms.Compose(steps))
        num_classes, channels = len(dataset.classes), 3
    else:
        data = case.data_class(**case.arguments())
        data.setup("fit")
        images = data.splits["train" if case.phase == "train" else "val"]
        pixels = images.fetch(torch.arange(len(images.labels)))
        steps = [] if case.image_size == pixels.shape[-1] else [resize]
        normalise = transforms.Normalize(data.mean or (0.5,) * data.channels, data.std or (0.25,) * data.channels)
        dataset = PlainDataset(pixels, images.labels, transforms.Compose([*steps, transforms.ToTensor(), normalise]))
        num_classes, channels = data.num_classes, data.channels
    loader = DataLoader(
        dataset,
        case.batch_size,
        shuffle=case.phase == "train",
        num_workers=num_workers,
        drop_last=True,
        pin_memory=case.device != "cpu",
        persistent_workers=num_workers > 0,
    )
    return loader, num_classes, channels


def run_plain(case: Case, num_workers: int, stopwatch: Stopwatch) -> None:
    loader, num_classes, channels = plain_loader(case, num_workers)
    network = build(case.model, num_classes, channels).to(case.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    training = case.phase == "train"
    network.train(training)
    correct = 0
    with contextlib.nullcontext() if training else torch.no_grad():
        for _ in itertools.count():
            for batch in loader:
                images, labels = (tensor.to(case.device) for tensor in batch)
                logits = network(images)
                if training:
                    optimizer.zero_grad()
                    F.cross_entropy(logits, labels).backward()
                    optimizer.step()
                else:
                    correct += (logits.argmax(dim=1) == labels).sum().item()
                if stopwatch.step(len(labels)):
                    return
            stopwatch.end_epoch()


class PlainModule(pl.LightningModule):
    """A classifier as tutorials of Lightning write it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.network(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self.network(images)
        self.log("val_loss", F.cross_entropy(logits, labels))
        self.log("val_acc", (logits.argmax(dim=1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def run_lightning(case: Case, num_workers: int, stopwatch: Stopwatch) -> None:
    loader, num_classes, channels = plain_loader(case, num_workers)
    model = PlainModule(build(case.model, num_classes, channels))
    Timing.stopwatch = stopwatch
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1000,
            accelerator="cpu" if case.device == "cpu" else "gpu",
            devices=1,
            limit_val_batches=EVAL_BATCHES,
            default_root_dir=folder,
            callbacks=[Timing()],
        )
        if case.phase == "train":
            trainer.fit(model, loader)
        while case.phase == "eval" and not stopwatch.done:
            trainer.validate(model, loader, verbose=False)


def run_lit_cnn(case: Case, _: int, stopwatch: Stopwatch) -> None:
    main = importlib.import_module("lit_cnn.__main__").main  # the command, which no room imports

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["fit", "--model", lightning_module_of(case.model).__name__, "--model.variant", case.model]
        arguments += ["--data", case.data_class.__name__, "--runs_dir", folder]
        arguments += [f"--data.{name}={value}" for name, value in case.arguments().items()]
        arguments += ["--trainer.accelerator", "cpu" if case.device == "cpu" else "gpu", "--trainer.devices", "1"]
        arguments += ["--compile", case.compile] if case.compile else []
        timing = [f"--trainer.callbacks+={Timing.__module__}.{Timing.__qualname__}", *leave_out(case.without)]
        Timing.stopwatch = stopwatch
        if case.phase == "train":
            sys.argv = ["lit-cnn", *arguments, *timing, "--trainer.max_epochs", "1000", "--trainer.limit_val_batches", "0"]
            main()
            return
        short = [sys.executable, "-m", "lit_cnn", *arguments, "--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]
        subprocess.run(short, check=True, stdout=subprocess.DEVNULL)
        stopwatch.restart()
        (run,) = Path(folder).glob("*/*/*")
        sys.argv = ["lit-cnn", "validate", "--run", str(run), *timing, "--trainer.limit_val_batches", str(EVAL_BATCHES)]
        while not stopwatch.done:
            main()


def bare_steps(case: Case, ceiling: str) -> Iterator[None]:
    """Steps of a loop by hand on one batch. ``ceiling`` is a precision and a memory format: ``float32, channels last``."""
    precision, memory_format = ceiling.split(", ")
    dtype, layout = PRECISIONS[precision], MEMORY_FORMATS[memory_format]
    channels, num_classes = (3, 10) if case.is_folder else (case.channels, case.num_classes)
    shape = (case.batch_size, channels, case.image_size, case.image_size)
    labels = torch.randint(num_classes, (case.batch_size,), device=case.device)
    network = build(case.model, num_classes, channels).to(case.device, memory_format=layout)
    if case.compile:
        network.compile(mode=case.compile)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(shape, device=case.device).to(memory_format=layout)
    autocast = torch.autocast(case.device, dtype, enabled=dtype != torch.float32)
    network.train(case.phase == "train")
    while True:
        with autocast, torch.set_grad_enabled(case.phase == "train"):
            loss = F.cross_entropy(network(images), labels)
        if case.phase == "train":
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def run_ceiling(case: Case, _: int, stopwatch: Stopwatch) -> None:
    keep_freed_memory()  # as lit-cnn does: the ceiling is not torch's default
    for _step in bare_steps(case, case.ceiling):
        if stopwatch.step(case.batch_size):
            return


def find_ceiling(case: Case) -> dict[str, float]:
    """Images per second in each precision and memory format: the better of two short trials, taken alternately."""
    keep_freed_memory()
    # One step takes minutes where bfloat16 is emulated.
    precisions = [name for name in PRECISIONS if name == "float32" or has_bfloat16(case.device)]
    speeds = {", ".join(choice): 0.0 for choice in itertools.product(precisions, MEMORY_FORMATS)}
    for choice in [*speeds, *speeds]:
        trial = Stopwatch(seconds=min(1.0, case.seconds / 4))
        for _step in bare_steps(case, choice):
            if trial.step(case.batch_size):
                break
        speeds[choice] = max(speeds[choice], trial.images_per_s)
    return speeds


ARMS = {"plain": run_plain, "lightning": run_lightning, "lit_cnn": run_lit_cnn, "ceiling": run_ceiling}


def measure(arm: str, case: Case, num_workers: int = 0) -> dict[str, Any]:
    """Measures one arm in this process.

    Returns:
        Images per second, seconds from the end of the imports to the first step, and peak memory of this process in MB,
        without its loading processes. For folders, also images per second of the first epoch, preparation included.
    """
    skip_epoch = case.is_folder and arm != "ceiling" and case.phase == "train"
    in_passes = case.phase == "eval" and arm in ("lightning", "lit_cnn")
    stopwatch = Stopwatch(case.seconds, skip_epoch=skip_epoch, in_passes=in_passes)
    ARMS[arm](case, num_workers, stopwatch)
    await_device()
    result = {
        "images_per_s": stopwatch.images_per_s,
        "first_step_s": stopwatch.first_step_s,
        "first_epoch_images_per_s": stopwatch.first_epoch_images_per_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if case.device != "cpu":
        result["peak_device_memory_mb"] = torch.accelerator.max_memory_allocated() / 2**20
    return result


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    case = Case(**request["case"])
    result = find_ceiling(case) if request["arm"] == "trials" else measure(request["arm"], case, request["num_workers"])
    # The arms print to stdout, so the result goes into a file.
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")
