"""What several test files need: a quiet Trainer, a folder of photographs, the command line."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from PIL import Image
from pytorch_lightning import Trainer
from torch import nn

from lit_cnn.__main__ import main
from lit_cnn.models import ARCHITECTURES, build, list_variants

ROOT = Path(__file__).parent.parent

# Decoded images and what is known of files go into the home folder: the tests have one of their own.
if "LIT_CNN_TEST_HOME" not in os.environ:
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".config" / "matplotlib"))  # a cache that takes seconds to make
    os.environ["HOME"] = os.environ["LIT_CNN_TEST_HOME"] = tempfile.mkdtemp(prefix="lit_cnn_tests_")
    atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)

# What other programs do changes no test. Where several processes test side by side, each of them, and what it starts,
# computes with its share of the processors.
os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, processors // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ["OMP_NUM_THREADS"] = str(share)
    torch.set_num_threads(share)


# The variant that each architecture has if none is named.
DEFAULTS = {signature(kind).parameters["variant"].default for kind in ARCHITECTURES.values()}


@functools.cache
def is_large(name: str) -> bool:
    """Whether a network takes long to make and to run."""
    with torch.device("meta"):
        network = build(name)
    return sum(parameter.numel() for parameter in network.parameters()) > 40e6 or len(list(network.modules())) > 140


def variants(names: list[str] | None = None, all_take_long: bool = False) -> list[ParameterSet]:
    """Names of networks as parameters of tests.

    The large ones are marked as slow, or all, where a test takes long with each; each architecture's default never is.
    """
    names = names or list_variants()
    slow = {name for name in names if name not in DEFAULTS and (all_take_long or is_large(name))}
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs in the background of a shell or of nohup ignore these signals, and so do those that they start."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that several threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_with_all_states(num_classes: int, in_channels: int) -> nn.Sequential:
    """A small network for 28×28 images with all that has a state of its own: dropout and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 5, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * 12 * 12, num_classes),
    )


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes Trainers that write nothing but what a test asks for."""

    def make(**settings: object) -> Trainer:
        defaults = {
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "default_root_dir": tmp_path,
        }
        return Trainer(**defaults | settings)

    return make


def write_photos(folder: Path, classes: tuple[str, ...], num_images: int, grey: bool = False) -> None:
    """Class folders of JPEG and PNG files of different sizes; each class has its own brightness.

    Folders of other names get other images.
    """
    random = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(num_images):
            height, width = random.integers(20, 60, 2)
            shape = (height, width) if grey else (height, width, 3)
            pixels = random.integers(0, 40, shape) + 200 * index // max(1, len(classes) - 1)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.{'jpg' if number % 2 else 'png'}")


def write_fashion_mnist(folder: Path, num_training: int, num_test: int) -> None:
    """Noise in the files of Fashion-MNIST."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)

    def write_idx(name: str, values: np.ndarray) -> None:
        header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        (raw / name).write_bytes(header + values.astype(np.uint8).tobytes())

    for name, count in (("train", num_training), ("t10k", num_test)):
        write_idx(f"{name}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        write_idx(f"{name}-labels-idx1-ubyte", np.arange(count) % 10)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of twenty colour photographs, without split folders."""
    folder = tmp_path / "photos"
    write_photos(folder, ("ant", "bee", "cat"), 20)
    return folder


@pytest.fixture(scope="session")
def photo_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on small colour photographs of three classes, for all that classifies images."""
    place = tmp_path_factory.mktemp("trained")
    write_photos(place / "photos", ("ant", "bee", "cat"), 8)
    options = ["--model", "lenet", "--data.image_size", "28", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["lit-cnn", "fit", "--data", "photos", *options])
        assert main() == 0
    return place / "runs"


Command = Callable[..., subprocess.CompletedProcess[str]]


def load_script(name: str) -> ModuleType:
    """A script of ``experiments/results``, as a module.

    Args:
        name: Of its file, without the ending.
    """
    folder = ROOT / "experiments" / "results"
    spec = importlib.util.spec_from_file_location(f"script_{name}", folder / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    sys.path.insert(0, str(folder))  # for the modules beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def run_process(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs ``lit-cnn`` in a folder, in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LIT_CNN", "PL_"))}
    return subprocess.run(
        [sys.executable, "-m", "lit_cnn", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs ``make`` as from a shell, also where the tests run below another make with arguments of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "ARGS"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def lit_cnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs ``lit-cnn`` in an empty folder, in this process: a start of Python and torch takes seconds."""
    monkeypatch.chdir(tmp_path)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["lit-cnn", *map(str, arguments)])
        capfd.readouterr()
        try:
            status = main()
        except SystemExit as end:
            status = end.code
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(sys.argv, status, printed.out, printed.err)

    return run
