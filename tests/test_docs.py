"""What the pages tell a reader to type works."""

from __future__ import annotations

import csv
import functools
import os
import re
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning
import torchvision
import yaml
from conftest import ROOT, Command, make, write_fashion_mnist, write_photos
from fake_runs import write_arm
from PIL import Image
from pytorch_lightning import Trainer

from lit_cnn import __version__
from lit_cnn.__main__ import COMMANDS, main
from lit_cnn.data import FakeImages
from lit_cnn.models import build

PAGES = {
    str(path.relative_to(ROOT)): path.read_text() for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))
}
RECIPES = sorted(path for path in (ROOT / "experiments").glob("*/*.yaml") if path.parent.name != "claims")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
SHELL = ("", "bash", "sh")
# What a line of a shell block may begin with besides make and lit-cnn.
SCRIPT_WORDS = {"set", "export"}
# Targets of make that need the internet, or take minutes, or change the checkout: only their names are checked.
NOT_RUN = {
    "setup",
    "test",
    "test-all",
    "test-lowest",
    "lint",
    "format",
    "audit",
    "lock",
    "clean",
    "help",
    "tables",
    "catalogue",
    "benchmark",
    "extras",
}
# Commands that take long, train, or need optional packages.
LOOKED_UP = {"benchmark", "bench-export", "export", "label-errors", "serve"}
# Words of commands that need an optional package, and the package.
OPTIONAL = {"label-errors": "cleanlab", "occlusion": "captum", "ig": "captum"}
CLASSES = ("cat", "dog")
SMALL = ["--image_size", "32", "--batch_size", "8"]
SETTINGS_OF_A_COMMAND = {
    "fit": ["--print_config"],
    "resume": ["--print_config"],
    "test": ["--trainer.accelerator", "cpu"],
    "validate": ["--trainer.accelerator", "cpu"],
    "doctor": SMALL,
}


def blocks(page: str, *languages: str) -> list[str]:
    """Contents of a page's fenced blocks of some languages, without their indentation."""
    return [textwrap.dedent(code) for _, language, code in BLOCK.findall(PAGES[page]) if language in languages]


def commands(page: str) -> list[list[str]]:
    """Words of each command in a page, in order: continued lines joined, comments removed."""
    lines = [line for block in blocks(page, *SHELL) for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [_without_launcher(words) for words in split if words]


def _without_launcher(words: list[str]) -> list[str]:
    """``VARIABLE=1 srun .venv/bin/lit-cnn fit`` and ``torchrun … -m lit_cnn fit`` as ``lit-cnn fit``."""
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    for position, word in enumerate(words):
        if word == ".venv/bin/lit-cnn" or (word == "lit_cnn" and words[position - 1] == "-m"):
            return ["lit-cnn", *words[position + 1 :]]
    return words


@functools.cache
def targets() -> set[str]:
    return {line.split()[1] for line in make("help").stdout.splitlines() if line.startswith("  make ")}


# A place where everything that the pages name is


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Makefile, the recipes, photos, Fashion-MNIST, and a run at each path that a page names.

    Instead of an installation, ``.venv`` has programs that write down how make called them.
    """
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "requirements.lock", "requirements-extras.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for recipe in RECIPES:
        (folder / recipe.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(recipe, folder / recipe.relative_to(ROOT))
    for claims in ("claims", "results"):
        shutil.copytree(ROOT / "experiments" / claims, folder / "experiments" / claims)
    for variant, accuracies in (("lenet", [0.7, 0.8]), ("lenet_bn", [0.8, 0.9])):
        write_arm(folder / "runs" / "fashion_mnist" / variant / "seeds-0", accuracies)
    write_photos(folder / "photos", CLASSES, 40)
    for file in sorted((folder / "photos").rglob("*.*")):
        file.rename(file.with_stem(f"patient{int(file.stem) % 10}_{file.stem}"))
    write_photos(folder / "other_photos", CLASSES, 10)
    listed = [f"{file.relative_to(folder)},{file.parent.name}\n" for file in sorted(folder.glob("photos/*/*.*"))]
    (folder / "photos.csv").write_text("path,label\n" + "".join(listed))
    random = np.random.default_rng(0)
    (folder / "new_photos").mkdir()
    for name in ("new_photos/1.png", "new_photos/2.jpg", "cat.jpg", "dog.jpg"):
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    write_fashion_mnist(folder / "data", num_training=200, num_test=20)
    _write_programs(folder / ".venv")
    run = _train(folder)
    named = {found for text in PAGES.values() for found in re.findall(r"\bruns/\w+/\w+/[\w-]+\b", text)}
    for name in sorted(named):
        shutil.copytree(run, folder / name)
    shutil.rmtree(run)
    return folder


def _write_programs(venv: Path) -> None:
    (venv / "bin").mkdir(parents=True)
    for name in ("lit-cnn", "python", "tensorboard"):
        program = venv / "bin" / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" "" >> "$(dirname "$0")/called"\n')
        program.chmod(0o755)
    later = time.time() + 60  # than what make compares them with
    for name in ("installed", "extras"):
        (venv / name).touch()
        os.utime(venv / name, (later, later))


def _train(folder: Path) -> Path:
    options = ["--model", "LitLeNet", "--data", "ImageFolder", "--data.data_dir", "photos", "--data.image_size", "28"]
    options += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--runs_dir", "first"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PL_GLOBAL_SEED", "0")  # the command sets it; it is removed afterwards
        patch.setattr(sys, "argv", ["lit-cnn", "fit", *options])
        assert main() == 0
    (run,) = folder.glob("first/*/*/*")
    return run


@pytest.fixture
def workplace(
    template: Path,
    tmp_path: Path,
    lit_cnn: Command,  # noqa: ARG001 - it changes to another folder, so it must come first
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of the template as current folder; torchvision's weights are random numbers instead of downloads."""
    folder = tmp_path / "clone"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)

    def untrained(weights: torchvision.models.WeightsEnum, *_: object, **__: object) -> object:
        return build(type(weights).__name__.removesuffix("_Weights").lower()).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", untrained)
    return folder


def called_by_make(folder: Path, words: list[str]) -> list[list[str]]:
    """Runs make; returns how it calls the installed programs."""
    calls = folder / ".venv" / "bin" / "called"
    calls.unlink(missing_ok=True)
    done = make(*words, folder=folder)
    assert done.returncode == 0, f"make {shlex.join(words)}: {done.stderr}"
    called = calls.read_text().split("\n\n") if calls.is_file() else []
    programs = [call.split("\n") for call in called if call]
    return [["lit-cnn", *words[3:]] if words[:3] == ["python", "-m", "lit_cnn"] else words for words in programs]


# Commands


def test_a_command_of_a_page_is_found():
    assert ["make", "train", "MODEL=googlenet"] in commands("README.md")
    assert ["lit-cnn", "models", "resnet"] in commands("README.md")
    scripts = [words[:4] for words in commands("docs/multi-gpu.md")]
    assert scripts.count(["lit-cnn", "fit", "--model", "resnet50"]) == 4
    assert ["lit-cnn", "fit", "--config", "experiments/digits/lenet.yaml"] in commands("docs/reliability.md")


UNIQUE_COMMANDS = list(dict.fromkeys(tuple(words) for page in PAGES for words in commands(page)))
# `make test` runs the commands of the README; the slow tests run those of the other pages too.
OF_README = [tuple(words) for words in commands("README.md")]
OF_PAGES = [pytest.param(words, marks=[] if words in OF_README else pytest.mark.slow) for words in UNIQUE_COMMANDS]


@pytest.mark.parametrize("words", OF_PAGES, ids=shlex.join)
def test_every_command_works(words: tuple[str, ...], workplace: Path, lit_cnn: Command):
    assert words[0] in {"make", "lit-cnn", "python", *SCRIPT_WORDS}
    if words[0] == "python":  # measures for minutes
        source = (ROOT / words[1]).read_text()
        assert all(word in source for word in words if word.startswith("--"))
    called = [list(words)]
    if words[0] == "make":
        assert words[1] in targets()
        runs = words[1] not in NOT_RUN and "MODEL=mynet" not in words
        called = called_by_make(workplace, list(words[1:])) if runs else []
        assert called or not runs
    for program, *arguments in called:
        if program == "lit-cnn":
            check(lit_cnn, *arguments)


def check(lit_cnn: Command, command: str, *arguments: str) -> None:
    """Runs a command; a training is only configured, and of what takes long the options are looked up."""
    said = f"lit-cnn {command} {shlex.join(arguments)}"
    if command in LOOKED_UP or (command, arguments[:1]) == ("claims", ("run",)):
        options = lit_cnn(command, *arguments[: command == "claims"], "--help").stdout
        assert all(word in options for word in arguments if word.startswith("--")), said
        return
    skip_without_packages(command, *arguments)
    asks_help = "--help" in arguments or "--model.help" in arguments
    done = lit_cnn(command, *arguments, *([] if asks_help else SETTINGS_OF_A_COMMAND.get(command, [])))
    assert done.returncode == 0, f"{said}: {done.stderr}"


def skip_without_packages(*words: str) -> None:
    for word in words:
        if word in OPTIONAL:
            pytest.importorskip(OPTIONAL[word])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_named_in_a_sentence_exists(page: str):
    prose = BLOCK.sub("", PAGES[page])
    assert set(re.findall(r"`make ([a-z][a-z-]*)", prose)) <= targets()
    assert set(re.findall(r"`lit-cnn ([a-z][a-z-]*)", prose)) <= COMMANDS.keys()


@pytest.mark.slow
def test_the_steps_to_train_on_own_photos_work_in_order(workplace: Path, lit_cnn: Command):
    skip_without_packages("label-errors")
    shutil.rmtree("runs")
    on_cpu = ["--trainer.accelerator", "cpu"]
    for words in commands("docs/own-photos.md"):
        for program, command, *arguments in called_by_make(workplace, words[1:]) if words[0] == "make" else [words]:
            if program != "lit-cnn":
                continue
            settings = {"doctor": SMALL, "test": on_cpu, "resume": [*on_cpu, "--trainer.max_epochs", "2"]}
            settings["fit"] = [
                *on_cpu,
                "--trainer.max_epochs",
                "1",
                "--data.image_size",
                "32",
                "--model.schedule",
                "constant",
            ]
            resumes = command == "fit" and any(word.partition("=")[0] == "--run" for word in arguments)
            done = lit_cnn(command, *arguments, *settings.get("resume" if resumes else command, []))
            assert done.returncode == 0, f"lit-cnn {command} {shlex.join(arguments)}: {done.stderr}"
    run = workplace / "runs" / "photos" / "resnet18" / "my_run"
    assert len((run / "metrics.csv").read_text().splitlines()) == 2  # header, one epoch
    assert len((run / "ledger.jsonl").read_text().splitlines()) == 1  # after the training
    with Path("predictions.csv").open(encoding="utf-8", newline="") as file:
        predictions = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in predictions] == ["1.png", "2.jpg"]
    assert {row["class"] for row in predictions} <= set(CLASSES)


# Python


@pytest.fixture
def small_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every Trainer train one batch on the processor and write nothing."""
    small = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "strategy": "auto", "log_every_n_steps": 1}
    small |= {f"limit_{stage}_batches": 1 for stage in ("train", "val", "test", "predict")}
    small |= dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    monkeypatch.setattr(pytorch_lightning, "Trainer", lambda **settings: Trainer(**settings | small))


EXAMPLES = [(page, code) for page in PAGES if page != "CONTRIBUTING.md" for code in blocks(page, "python")]


@pytest.mark.usefixtures("workplace", "small_trainings")
@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_a_python_example_runs(page: str, code: str):
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


@pytest.fixture
def module_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Makes a module of source code."""

    def load(code: str) -> ModuleType:
        module = ModuleType("example_of_a_page")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(code, module.__name__, "exec"), vars(module))
        return module

    return load


@pytest.mark.usefixtures("small_trainings")
def test_the_examples_of_a_model_and_of_a_dataset_train(module_of: Callable[[str], ModuleType]):
    model, data = (module_of(code) for code in blocks("CONTRIBUTING.md", "python"))
    pytorch_lightning.Trainer().fit(model.LitMyNet(), datamodule=FakeImages())
    trainer = pytorch_lightning.Trainer()
    classifier = model.LitMyNet(num_classes=2)
    trainer.fit(classifier, datamodule=data.MyData(batch_size=16))
    trainer.test(classifier, datamodule=data.MyData(batch_size=16), verbose=False)


# Text


def test_the_readme_is_short():
    text = PAGES["README.md"]
    assert len(text.split()) <= 900
    assert text[: text.index("```text")].count("\n") <= 24  # a screenful before the first output


def _anchor(heading: str) -> str:
    """The address that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_and_heading_exists(page: str):
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", PAGES[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in map(_anchor, re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)), anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_in_a_sentence_exists(page: str):
    prose = BLOCK.sub("", PAGES[page])
    for path in re.findall(r"`((?:lit_cnn|tests|experiments|docs)/[\w./-]*)`", prose):
        assert (ROOT / path).exists() or re.search(r"my(net|data)", path), path


def test_the_index_names_every_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", PAGES["docs/README.md"]))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_the_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The lit_cnn authors"}]
    assert citation["license"] == "MIT"
    assert {"message", "title", "type"} <= citation.keys()


# Recipes


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_says_how_to_run_it_and_what_to_expect(recipe: Path):
    header = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    text = "\n".join(header)
    command = f"make train MODEL={recipe.stem}" + (f" DATA={recipe.parent.name}" if recipe.parent.name != "digits" else "")
    assert command in text
    assert re.search(r"Paper: .*(19|20)\d\d", text)
    assert re.search(r"\d+\.\d+ % .*seed|not yet measured", text)
    assert len(recipe.read_text(encoding="utf-8").splitlines()) - len(header) <= 20


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_a_configuration_that_fits_itself(recipe: Path, lit_cnn: Command):
    done = lit_cnn("fit", "--config", recipe, "--print_config")
    assert done.returncode == 0, done.stderr
