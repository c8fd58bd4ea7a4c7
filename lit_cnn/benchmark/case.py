"""What is measured. Imports nothing heavy: the command's ``--help`` needs the names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_cnn.data.module import ImageDataModule

# Number of synthetic images, unless their pixels take more bytes than this. An evaluation takes most of them.
NUM_SYNTHETIC = 20_000
SYNTHETIC_BYTES = 10**9
VAL_FRACTION = {"train": 0.1, "eval": 0.9}
# Names of data sources; anything else is a folder.
DATA_SOURCES = {
    **dict.fromkeys(("fashion_mnist", "FashionMNIST"), "fashion_mnist"),
    **dict.fromkeys(("synthetic", "FakeImages"), "synthetic"),
}
# The modes of torch.compile that lit-cnn takes.
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True)
class Case:
    """A network, images and a batch size.

    Args:
        model: Variant.
        data: ``fashion_mnist``, ``synthetic``, :data:`MADE_JPEGS`, or a folder with a folder of images for each class.
        image_size: Height and width that the network sees, in pixels.
        batch_size: Images in a step.
        phase: ``train`` or ``eval``.
        device: ``cpu`` or ``cuda``.
        seconds: Length of each measurement, without start and warm-up.
        data_dir: Folder of Fashion-MNIST.
        compile: Mode of torch.compile for ``lit_cnn`` and ``ceiling``; None does not compile.
        channels: Channels of a synthetic image. The default is that of Fashion-MNIST, as for the next two.
        native_size: Height and width of a synthetic image, in pixels.
        num_classes: Classes of the synthetic data.
        ceiling: Precision and memory format of ``ceiling``, see :func:`lit_cnn.benchmark.arms.find_ceiling`.
        without: The optimisation that ``lit_cnn`` leaves out, see :mod:`lit_cnn.benchmark.optimisations`; empty for none.
    """

    model: str
    data: str
    image_size: int
    batch_size: int
    phase: str = "train"
    device: str = "cpu"
    seconds: float = 8.0
    data_dir: str = "data"
    compile: str | None = None
    channels: int = 1
    native_size: int = 28
    num_classes: int = 10
    ceiling: str = "float32, channels last"
    without: str = ""

    @property
    def is_folder(self) -> bool:
        return self.data not in ("fashion_mnist", "synthetic")

    def arguments(self) -> dict[str, Any]:
        """Arguments of the data module."""
        arguments: dict[str, Any] = {"image_size": self.image_size, "batch_size": self.batch_size}
        if self.data == "synthetic":
            num_images = min(NUM_SYNTHETIC, SYNTHETIC_BYTES // (self.channels * self.native_size**2))
            arguments["num_images"] = max(num_images, 10 * self.num_classes)  # a tenth must hold every class
            arguments |= {"channels": self.channels, "native_size": self.native_size, "num_classes": self.num_classes}
        else:
            arguments["data_dir"] = self.data if self.is_folder else self.data_dir
        return arguments | {"val_fraction": VAL_FRACTION[self.phase]}

    @property
    def data_class(self) -> type[ImageDataModule]:
        from lit_cnn.data import FakeImages, FashionMNIST, ImageFolder

        return {"fashion_mnist": FashionMNIST, "synthetic": FakeImages}.get(self.data, ImageFolder)


# Stands for a folder of JPEGs that is made for the measurement.
MADE_JPEGS = "made JPEGs"
# The usual cases.
CASES = {
    "lenet": Case("lenet", "fashion_mnist", 28, 256),
    "resnet18": Case("resnet18", "fashion_mnist", 96, 128),
    "googlenet": Case("googlenet", "fashion_mnist", 96, 128),
    "densenet": Case("densenet_d2l", "fashion_mnist", 96, 128),
    "folder": Case("resnet18", MADE_JPEGS, 128, 64),
}


def make_case(model: str, data: str, image_size: int | None, batch_size: int) -> Case:
    """A case of any network.

    Args:
        model: A variant, or an architecture by the name of its file or class.
        data: A name of :data:`DATA_SOURCES` or a folder.
        image_size: In pixels; the variant's own if None.
        batch_size: Images in a step.
    Raises:
        ValueError: If there is no such network or folder.
    """
    from lit_cnn.models import describe, find_variant

    variant = find_variant(model)
    layout = describe(variant)
    if data not in DATA_SOURCES and not Path(data).is_dir():
        raise ValueError(f"data must be fashion_mnist, synthetic or a folder, got {data!r}")
    case = Case(variant, DATA_SOURCES.get(data, data), image_size or layout.image_size, batch_size)
    if case.data == "synthetic":
        # Images as the network was published for.
        shape = {"channels": layout.in_channels, "native_size": case.image_size, "num_classes": layout.num_classes}
        case = replace(case, **shape)
    return case


def with_images(cases: dict[str, Case], report: Callable[[str], None]) -> Iterator[tuple[str, Case]]:
    """Gives each case its images. A folder of JPEGs is made when its case comes, and removed at the end.

    Args:
        cases: By their names.
        report: Takes a line when synthetic images take the place of Fashion-MNIST.
    Raises:
        ValueError: If there is nothing but the evaluation of folders.
    """
    cases = {name: case for name, case in cases.items() if case.phase == "train" or not case.is_folder}
    if not cases:
        raise ValueError("the evaluation of a folder is not measured: lit-cnn decodes the images before the evaluation")
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            data = case.data
            if data == "fashion_mnist" and not (Path(case.data_dir) / "FashionMNIST").is_dir():
                report(f"{name}: Fashion-MNIST is not in {case.data_dir}; measured on synthetic images of its shape")
                data = "synthetic"
            elif data == MADE_JPEGS:
                from lit_cnn.benchmark.photos import make_folder

                data = str(Path(folder) / "photos")
                make_folder(Path(data))
            yield name, replace(case, data=data)
