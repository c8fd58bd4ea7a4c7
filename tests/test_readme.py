"""What the documents tell a reader to type exists."""

import re
import shlex
import subprocess

import pytest
from conftest import ROOT, Command

DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md")}
BLOCKS = [block for text in DOCUMENTS.values() for block in re.findall(r"```(?:bash|sh)?\n(.*?)```", text, re.DOTALL)]
LINES = [line.partition("#")[0].strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
RECIPES = sorted((ROOT / "experiments").glob("*/*.yaml"))


def test_every_make_command_is_a_target():
    commands = [shlex.split(line) for line in LINES if line.startswith("make ")]
    assert commands
    for command in commands:
        arguments = [argument for argument in command[1:] if argument != "test"]
        done = subprocess.run(
            ["make", "--dry-run", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


def test_every_option_of_lit_cnn_is_known(lit_cnn: Command):
    commands = [shlex.split(line) for line in LINES if line.startswith("lit-cnn ")]
    assert commands
    helped: dict[str, str] = {}
    for _, command, *arguments in commands:
        if command not in helped:
            helped[command] = lit_cnn(command, "--help").stdout
        for argument in arguments:
            if argument.startswith("--") and not re.match(r"--(data|model)\.", argument):
                assert argument.partition("=")[0] in helped[command], (command, argument)


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
    assert "et al." in text
    assert re.search(r"\d+\.\d+ % .*seed|not yet measured", text)
    assert len(recipe.read_text().splitlines()) - len(header) <= 20


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_a_configuration_that_fits_itself(recipe, lit_cnn: Command):
    done = lit_cnn("fit", "--config", recipe, "--print_config")
    assert done.returncode == 0, done.stderr
