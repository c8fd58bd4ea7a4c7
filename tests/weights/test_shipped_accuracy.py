"""That the weights in the package are as accurate as they claim to be.

The images are looked for in ``DATA_DIR``, else in ``shared/data`` beside the checkout: MNIST and Fashion-MNIST where
torchvision puts them, those of files as an archive or a folder with the name of the dataset.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch
from conftest import ROOT

from lit_cnn import data
from lit_cnn.data.loader import Images
from lit_cnn.data.names import DATASETS, WITHOUT_FILES
from lit_cnn.data.splits import ArrayImages
from lit_cnn.inference.loading import load_pretrained
from lit_cnn.inference.trained import Trained
from lit_cnn.network.catalogue import read_catalogue
from lit_cnn.weights.shipped_file import FOLDER, list_shipped, read_safetensors

DATA_DIR = Path(os.environ.get("DATA_DIR") or ROOT.parent / "shared" / "data")
SHIPPED = [(variant, name) for variant, files in list_shipped().items() for name in files]


def is_quick(variant: str) -> bool:
    """Whether 10,000 images take about a second, as with a LeNet, not half a minute, as with a ResNet-20."""
    return read_catalogue()[variant].multiply_adds < 10e6


def test_the_files_are_small_and_have_cards():
    files = [path for files in list_shipped().values() for path in files.values()]
    assert set(SHIPPED) == {
        ("lenet", "MNIST"),
        ("lenet_bn", "FASHION_MNIST"),
        ("resnet20", "CIFAR10_JPEG"),
        ("resnet20", "FASHION_MNIST"),
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6e6
    assert list_shipped().keys() <= read_catalogue().keys()
    for path in files:
        training = read_safetensors(path)["training"]
        assert path.stem.partition("-")[2] in path.with_suffix(".md").read_text(encoding="utf-8")
        assert path.stem.partition("-")[2] in (FOLDER / "README.md").read_text(encoding="utf-8")
        assert training["licence"]
        assert training["commit"]
        assert training["test/images"] >= 1000


def find_test_images(trained: Trained) -> Images:
    """The test images of a dataset, as the weights read them; skips the test if they are not there."""
    classes = {name: getattr(data, cls) for cls, name in DATASETS.items()}
    name = trained.dataset
    if name in classes:
        cls = classes[name]
        if cls.__name__ in WITHOUT_FILES:
            return cls().read("test")
        if not (DATA_DIR / cls.folder).is_dir():
            pytest.skip(f"{name} is not in DATA_DIR={DATA_DIR}")
        return cls(data_dir=str(DATA_DIR)).read("test")
    found = sorted(DATA_DIR.glob(f"{name}*"))
    if not found:
        pytest.skip(f"no folder or archive {name} is in DATA_DIR={DATA_DIR}")
    pixels, labels = [], []
    for class_name, file in files_of_test(found[0]):
        pixels.append(trained.reading.decode(file)[0])
        labels.append(trained.class_names.index(class_name))
    return ArrayImages(torch.stack(pixels), torch.tensor(labels))


def files_of_test(place: Path) -> Iterator[tuple[str, Path | IO[bytes]]]:
    """Class and content of each test image in a folder or a tar archive, of which nothing is unpacked."""
    if place.is_dir():
        yield from ((path.parent.name, path) for path in sorted(place.glob("**/test/*/*")))
        return
    with tarfile.open(place) as archive:
        for member in archive:
            folders = Path(member.name).parts[:-1]
            if member.isfile() and folders[-2:-1] == ("test",):
                content = archive.extractfile(member)
                assert content
                yield folders[-1], io.BytesIO(content.read())


@pytest.mark.parametrize(
    ("variant", "name"),
    [pytest.param(*one, marks=[] if is_quick(one[0]) else [pytest.mark.slow], id="-".join(one)) for one in SHIPPED],
)
def test_the_accuracy_is_the_one_of_the_card(variant: str, name: str):
    training = read_safetensors(list_shipped()[variant][name])["training"]
    trained = load_pretrained(variant, name, device="cpu")
    images = find_test_images(trained)
    with torch.inference_mode():
        parts = torch.arange(len(images.labels)).split(250)
        answers = torch.cat([trained.network(trained.preprocess(images.fetch(part))).argmax(dim=1) for part in parts])
    assert len(answers) == training["test/images"]
    accuracy = float((answers == images.labels).double().mean())
    assert accuracy == pytest.approx(training["test/acc"], abs=0.001)
