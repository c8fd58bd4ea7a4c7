"""Imports run one way."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lit_cnn"
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path: Path):
    module = module_of(path)
    ours = {name for name in imported_by(path) if name.split(".")[0] == "lit_cnn"}
    if module.startswith("lit_cnn.data"):
        assert all(name.startswith("lit_cnn.data") for name in ours)
    if module.startswith("lit_cnn.layers"):
        assert all(name.startswith("lit_cnn.layers") for name in ours)
        assert {name.split(".")[0] for name in imported_by(path)} - {"lit_cnn"} <= {"torch", *sys.stdlib_module_names}
    if module.startswith("lit_cnn.models."):
        assert all(
            name.startswith(("lit_cnn.layers", "lit_cnn.network.base", "lit_cnn.training.classifier"))
            for name in ours - {"lit_cnn"}
        )


def test_there_is_no_drawer_for_everything():
    assert not {path.stem for path in FILES} & {"utils", "helpers", "common", "misc"}


def test_the_command_imports_nothing_heavy_before_it_knows_what_is_wanted():
    names = set()
    for node in (
        ast.parse((PACKAGE / "__main__.py").read_text()).body + ast.parse((PACKAGE / "__init__.py").read_text()).body
    ):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert names <= {"__future__", "importlib", "sys", "collections.abc", "lit_cnn", "typing"}
