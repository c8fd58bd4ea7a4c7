"""What ``from lit_cnn import …`` offers, at run time and to type checkers."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

import lit_cnn
from lit_cnn import data, models
from lit_cnn.models import ARCHITECTURES

# Names in user code, and the types that a type checker finds; then mistakes, and what it says.
USER_CODE = """\
from lit_cnn import FashionMNIST, ImageFolder, LitResNet, build, list_variants, load_run
reveal_type(LitResNet())
reveal_type(FashionMNIST())
reveal_type(build("resnet18", weights=None))
reveal_type(list_variants())
reveal_type(ImageFolder.__init__)
reveal_type(load_run)
LitResNet(num_classes="ten")
build("resnet18", num_classes="ten")
from lit_cnn import LitResnet
"""
FINDINGS = [
    (2, "lit_cnn.models.resnet.LitResNet"),
    (3, "lit_cnn.data.mnist.FashionMNIST"),
    (4, "lit_cnn.network.base.Network"),
    (5, "list[str]"),
    (6, "lit_cnn.data.folder.ImageFolder"),
    (7, "def ("),
    (8, 'incompatible type "str"; expected "int"'),
    (9, 'incompatible type "str"; expected "int'),
    (10, 'has no attribute "LitResnet"; maybe "LitResNet"?'),
]
# What lit_cnn is built on need not be read, which takes ten times as long.
CONFIGURATION = """
[mypy]
strict = True
follow_imports = silent
[mypy-torch.*,torchvision.*,torchmetrics.*,pytorch_lightning.*,numpy.*,PIL.*,sklearn.*]
follow_imports = skip
ignore_missing_imports = True
"""


def imported_for_type_checkers(package: ModuleType) -> set[str]:
    block = next(
        node for node in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body if isinstance(node, ast.If)
    )
    return {alias.name for node in block.body for alias in node.names}


def test_every_architecture_and_every_dataset_is_offered():
    where = "add it to the imports and to the names in lit_cnn/__init__.py"
    for name in [*(cls.__name__ for cls in ARCHITECTURES.values()), *data.__all__]:
        assert name in lit_cnn.__all__, f"lit_cnn does not offer {name}: {where}"
    assert imported_for_type_checkers(lit_cnn) == set(lit_cnn.__all__), f"the imports and the names differ: {where}"
    classes = {cls.__name__ for cls in ARCHITECTURES.values()}
    offered = {name for name in models.__all__ if name.startswith("Lit") and hasattr(models, name)}
    assert offered == classes, "add the class to the imports in lit_cnn/models/__init__.py"


@pytest.mark.parametrize("name", lit_cnn.__all__)
def test_every_name_that_is_offered_can_be_imported(name: str):
    value = getattr(lit_cnn, name)
    assert value.__name__ == name
    assert name in dir(lit_cnn)


def test_a_name_that_does_not_exist_is_an_error():
    with pytest.raises(AttributeError, match="module 'lit_cnn' has no attribute 'LitResnet'"):
        lit_cnn.LitResnet  # noqa: B018 - the access is the test


def test_importing_the_package_imports_nothing_heavy():
    code = "import lit_cnn, sys; dir(lit_cnn); print(*{'torch', 'numpy', 'pytorch_lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_submodules_are_imported_by_from():
    code = "from lit_cnn import errors; import lit_cnn.network; print(errors.__name__, lit_cnn.network.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["lit_cnn.errors", "lit_cnn.network"]


def test_a_type_checker_resolves_the_names(tmp_path: Path):
    (tmp_path / "user.py").write_text(USER_CODE)
    (tmp_path / "mypy.ini").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache"]
    done = subprocess.run(
        [*command, tmp_path / "user.py"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    found = {int(line): message for line, message in re.findall(r"user\.py:(\d+): \w+: (.+)", done.stdout)}
    for line, message in FINDINGS:
        assert message in found[line], done.stdout
    assert len(found) == len(FINDINGS)
