"""What the documents tell a reader to type exists."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, Command, make

DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md")}
BLOCKS = [block for text in DOCUMENTS.values() for block in re.findall(r"```(?:bash|sh)?\n(.*?)```", text, re.DOTALL)]
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
RECIPES = sorted((ROOT / "experiments").glob("*/*.yaml"))


def test_every_make_command_is_a_target_and_names_a_recipe():
    commands = [shlex.split(line)[1:] for line in LINES if line.startswith("make ")]
    assert ["train", "MODEL=googlenet"] in commands
    assert ["test"] in commands
    targets = {line.split()[1] for line in make("help").stdout.splitlines() if line.startswith("  make ")}
    for target, *variables in commands:
        assert target in targets
        if target == "train" and "MODEL=mynet" not in variables:
            done = make("recipe", *variables)
            assert done.returncode == 0, done.stderr


def test_every_command_of_lit_cnn_can_be_parsed(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str, weights: str) -> None:
        raise ValueError(f"no download of {name} {weights}")

    monkeypatch.setattr("lit_cnn.inference.trained.load_pretrained", refuse)
    commands = [shlex.split(line)[1:] for line in LINES if line.startswith("lit-cnn ")]
    assert {command for command, *_ in commands} >= {"fit", "test", "predict", "models", "summary"}
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for command, *arguments in commands:
        if "--run" in arguments:
            done = lit_cnn(command, *arguments)
            assert "is not a run folder: it does not exist" in done.stderr
        elif command in ("models", "summary"):
            assert lit_cnn(command, *arguments).returncode == 0
        elif command == "predict":
            assert "no download of resnet50 IMAGENET1K_V2" in lit_cnn(command, *arguments).stderr
        elif "--model.help" not in arguments and "--help" not in arguments:
            done = lit_cnn(command, *arguments, "--print_config")
            assert done.returncode == 0, done.stderr


def test_the_python_examples_run():
    example, *others = re.findall(r"```python\n(from.*?)```", DOCUMENTS["README.md"], re.DOTALL)
    tree = ast.parse(example)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
    for other in others:
        exec(compile(other, "README.md", "exec"), {})
    # As it stands, on fewer images and on the processor.
    data = "FakeImages(num_images=64)"
    on_cpu = example.replace('accelerator="gpu", devices=2', 'accelerator="cpu", fast_dev_run=True')
    on_cpu = on_cpu.replace('FashionMNIST(data_dir="data")', data).replace("FashionMNIST,", "FakeImages,")
    assert data in on_cpu
    assert "fast_dev_run" in on_cpu
    exec(compile(on_cpu, "README.md", "exec"), {})


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_linked_file_exists(name: str):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", DOCUMENTS[name]):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_says_how_to_run_it_and_what_to_expect(recipe):
    header = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    command = f"make train MODEL={recipe.stem}" + (f" DATA={recipe.parent.name}" if recipe.parent.name != "digits" else "")
    assert command in text
    assert re.search(r"Paper: .*(19|20)\d\d", text)
    assert re.search(r"\d+\.\d+ % .*seed|not yet measured", text)
    assert len(recipe.read_text().splitlines()) - len(header) <= 20


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_a_configuration_that_fits_itself(recipe, lit_cnn: Command):
    done = lit_cnn("fit", "--config", recipe, "--print_config")
    assert done.returncode == 0, done.stderr
