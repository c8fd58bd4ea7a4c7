import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {name: (ROOT / name).read_text() for name in ("requirements.lock", "requirements-extras.lock")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "lit_cnn", source / "lit_cnn", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", out, source]
    subprocess.run(command, check=True, timeout=120)
    (built,) = out.glob("lit_cnn-*.whl")
    return built


def test_a_wheel_holds_the_package_and_its_command_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "lit-cnn = lit_cnn.__main__:main" in archive.read(entry_points).decode()
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lit_cnn").rglob("*.py")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lit_cnn").glob("*/templates/*")}
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lit_cnn" / "weights" / "shipped").iterdir()}
    assert names == {*code, *templates, *shipped, "lit_cnn/py.typed", "lit_cnn/models/catalogue.json"}
    with zipfile.ZipFile(wheel) as archive:
        assert sum(archive.getinfo(name).compress_size for name in shipped) < 6e6


@pytest.mark.slow
def test_an_installed_wheel_trains(wheel: Path, tmp_path: Path):
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", target, wheel]
    subprocess.run(command, check=True, timeout=120)
    where = "import lit_cnn, sys; print(lit_cnn.__file__)"
    train = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    environment = os.environ | {"PYTHONPATH": str(target)}
    outputs = [
        subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for arguments in (["-c", where], ["-m", "lit_cnn", *train])
    ]
    assert outputs[0].startswith(str(target))
    assert "validation accuracy" in outputs[1]
    assert len(list(tmp_path.glob("runs/digits/lenet/*/checkpoints/best.ckpt"))) == 1


@pytest.mark.slow
def test_a_script_in_the_folder_above_the_clone_finds_the_package(tmp_path: Path):
    """The clone is called as the package: its folder must not stand for it."""
    (tmp_path / "lit_cnn").symlink_to(ROOT)
    (tmp_path / "script.py").write_text("from lit_cnn import build\nprint(type(build('lenet')).__name__)\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "LeNet\n", done.stderr


def packages_of(lock: str) -> dict[str, str]:
    """The hashes of each package of a lock, by its line with version and condition."""
    packages = re.findall(r"^([a-z0-9].*?) \\\n(.*?)(?=^[a-z0-9]|\Z)", LOCKS[lock], re.MULTILINE | re.DOTALL)
    return dict(packages)


def names_of(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in requirements}


def test_the_locks_pin_everything_declared_with_hashes():
    extras = PROJECT["optional-dependencies"]
    default, with_extras = map(packages_of, LOCKS)
    assert names_of(PROJECT["dependencies"] + extras["dev"]) <= names_of(default)
    assert names_of([one for extra in extras.values() for one in extra]) <= names_of(with_extras)
    assert "torch==2.14.1" in LOCKS["requirements.lock"]
    assert "torchvision==0.29.1" in LOCKS["requirements.lock"]
    assert all("--hash=sha256:" in hashes for hashes in [*default.values(), *with_extras.values()])
    # The extras add packages, and change none.
    assert default.items() <= with_extras.items()
    assert not names_of(default) & {"onnx", "onnxruntime", "openvino", "captum", "litserve", "cleanlab"}


@pytest.mark.parametrize(
    ("name", "bound"), [("pytorch-lightning", "<2.7"), ("torchmetrics", "<1.10"), ("jsonargparse", "<5")]
)
def test_packages_whose_private_or_deprecated_names_are_used_have_an_upper_bound(name: str, bound: str):
    (requirement,) = [r for r in PROJECT["dependencies"] if re.match(rf"{name}\W", r)]
    assert requirement.endswith(f",{bound}")


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_name_no_index(lock: str):
    assert not re.search(r"index-url|find-links|https?://|file:", LOCKS[lock])
