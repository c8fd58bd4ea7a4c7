"""That the weights in the package are as accurate as they claim to be.

The images are looked for in ``DATA_DIR``, else in ``shared/data`` beside the checkout: MNIST and Fashion-MNIST where
torchvision puts them, those of files as an archive or a folder with the name of the dataset.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from lit_cnn import data
from lit_cnn.data.loader import Images
from lit_cnn.data.names import DATASETS, WITHOUT_FILES
from lit_cnn.inference.loading import load_pretrained
from lit_cnn.network.catalogue import read_catalogue
from lit_cnn.weights.shipped_file import FOLDER, list_shipped, read_safetensors

DATA_DIR = Path(os.environ.get("DATA_DIR") or ROOT.parent / "shared" / "data")
SHIPPED = [(variant, name) for variant, files in list_shipped().items() for name in files]


def is_quick(variant: str) -> bool:
    """Whether 10,000 images take about a second, as with a LeNet, not half a minute, as with a ResNet-20."""
    return read_catalogue()[variant].multiply_adds < 10e6


def test_the_files_are_small_and_have_cards():
    files = [path for files in list_shipped().values() for path in files.values()]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6e6
    assert list_shipped().keys() <= read_catalogue().keys()
    for path in files:
        training = read_safetensors(path)["training"]
        assert path.stem.partition("-")[2] in path.with_suffix(".md").read_text(encoding="utf-8")
        assert path.stem.partition("-")[2] in (FOLDER / "README.md").read_text(encoding="utf-8")
        assert training["licence"]
        assert training["commit"]
        assert training["test/images"] >= 1000


def find_test_images(facts: dict, cache: Path) -> Images:
    """The test images of a dataset, as the weights read them; skips the test if they are not there."""
    classes = {name: getattr(data, cls) for cls, name in DATASETS.items()}
    name = facts["dataset"]
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
    reading = {key: value for key, value in facts["reading"].items() if key != "version"}
    files = data.ImageFolder(
        str(found[0]), image_size=facts["native_size"], channels=facts["channels"], cache_dir=str(cache), **reading
    )
    assert list(files.class_names) == facts["class_names"]
    return files.read("test")


@pytest.mark.skipif(not SHIPPED, reason="the package holds no weights")
@pytest.mark.parametrize(
    ("variant", "name"),
    [pytest.param(*one, marks=[] if is_quick(one[0]) else [pytest.mark.slow], id="-".join(one)) for one in SHIPPED],
)
def test_the_accuracy_is_the_one_of_the_card(variant: str, name: str, tmp_path: Path):
    facts = read_safetensors(list_shipped()[variant][name])
    images = find_test_images(facts["data"], tmp_path)
    trained, training = load_pretrained(variant, name, device="cpu"), facts["training"]
    with torch.inference_mode():
        parts = torch.arange(len(images.labels)).split(250)
        answers = torch.cat([trained.network(trained.preprocess(images.fetch(part))).argmax(dim=1) for part in parts])
    assert len(answers) == training["test/images"]
    accuracy = float((answers == images.labels).double().mean())
    assert accuracy == pytest.approx(training["test/acc"], abs=0.001)
