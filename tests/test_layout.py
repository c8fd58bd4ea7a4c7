"""What import-linter (see pyproject.toml) cannot say about imports."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lit_cnn"
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((PACKAGE / "layers").glob("*.py")), ids=lambda path: path.stem)
def test_layers_need_torch_alone(path: Path):
    ours = {name for name in imported_by(path) if name.split(".")[0] == "lit_cnn"}
    assert all(name.startswith("lit_cnn.layers") for name in ours)
    assert {name.split(".")[0] for name in imported_by(path)} - {"lit_cnn"} <= {"torch", *sys.stdlib_module_names}


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
    assert names <= {"__future__", "ast", "collections.abc", "importlib", "lit_cnn", "pathlib", "sys", "typing"}


def has_encoding(call: ast.Call) -> bool:
    """Whether a call names the encoding of the file that it opens, or opens no text file."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" in keywords
    owner = ast.unparse(call.func).rpartition(".")[0]
    if name != "open" or owner in ("os", "Image", "Run", "tarfile", "opened"):
        return True
    modes = [node.value for node in [*call.args, *keywords.values()] if isinstance(node, ast.Constant)]
    return "encoding" in keywords or any("b" in str(mode) for mode in modes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_text_files_are_utf8_in_any_locale(path: Path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [f"line {call.lineno}" for call in calls if not has_encoding(call)]
