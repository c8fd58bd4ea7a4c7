"""That a run of an unchanged recipe is compared with the recipe's band, and no other run is."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Command, write_photos

from lit_cnn.benchmark.bands import digest_of_all
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.expected import find_expectation
from lit_cnn.runs.search import find_run

HEADER = "# Expected: test accuracy 50.00 % ± 9.00 (seeds 0, 1, 2), band {band} %, 1 s; Z80, 32-true.\n"
RECIPE = """\
model:
  class_path: LitLeNet
  init_args:
    lr: 0.02
data:
  class_path: Digits
  init_args:
    image_size: 28
    batch_size: 32
trainer:
  max_epochs: 1
  limit_train_batches: 4
  accelerator: cpu
  enable_progress_bar: false
"""


def write_recipe(path: Path, band: str = "0.0 to 100.0", content: str = RECIPE) -> Path:
    path.write_text(HEADER.format(band=band) + content, encoding="utf-8")
    return path


def expects(*arguments: str) -> bool:
    """Whether ``lit-cnn fit`` with these arguments compares its test accuracy with a recipe."""
    return find_expectation(CLI("fit", prepare("fit", *arguments)[1:])) is not None


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe."""
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path / "recipe.yaml")


def test_a_run_of_the_recipe_ends_with_whether_it_is_in_the_band(lit_cnn: Command, workplace: Path):
    fit = ("fit", "--config", "recipe.yaml", "--test_after_fit", "--seed_everything", "7", "--name", "first")
    done = lit_cnn(*fit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "expected: 0.0 to 100.0 % (recipe.yaml): inside"
    # A resumed run is the recipe too, and a recipe that was written anew is read anew.
    write_recipe(workplace, band="99.9 to 100.0")
    done = lit_cnn("resume", "latest", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("test accuracy ")
    assert line.endswith(" % is outside the expected 99.9 to 100.0 % of recipe.yaml, measured on Z80, 32-true")


@pytest.mark.slow
def test_a_resumed_run_does_not_need_its_recipe(lit_cnn: Command, workplace: Path):
    assert lit_cnn("fit", "--config", "recipe.yaml").returncode == 0
    resume = ("resume", "latest", "--test_after_fit")
    assert "recipe.yaml" in lit_cnn(*resume).stdout
    write_recipe(workplace, content="model: 5\n")
    done = lit_cnn(*resume)
    assert (done.returncode, done.stderr, "recipe.yaml" in done.stdout) == (0, "", False)
    workplace.unlink()
    done = lit_cnn(*resume)
    assert (done.returncode, done.stderr, "recipe.yaml" in done.stdout) == (0, "", False)


@pytest.mark.slow
def test_each_seed_is_compared(lit_cnn: Command):
    done = lit_cnn("fit", "--config", "recipe.yaml", "--test_after_fit", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("expected: 0.0 to 100.0 % (recipe.yaml): inside\n") == 2


def test_names_seeds_and_devices_leave_a_recipe_unchanged():
    assert expects("--config", "recipe.yaml")
    free = ("--seed_everything", "3", "--threads", "1", "--runs_dir", "elsewhere", "--trainer.enable_progress_bar", "true")
    assert expects("--config", "recipe.yaml", "--model.lr", "0.02", *free)


@pytest.mark.parametrize(
    "options",
    [
        ("--model.lr", "0.03"),
        ("--trainer.max_epochs", "2"),
        ("--trainer.precision", "bf16-mixed"),
        ("--trainer.limit_test_batches", "1"),
        ("--config", "other.yaml"),
    ],
)
def test_other_settings_are_not_compared(workplace: Path, options: tuple[str, ...]):
    (workplace.parent / "other.yaml").write_text("threads: 1\n", encoding="utf-8")
    assert not expects("--config", "recipe.yaml", *options)


def test_a_recipe_without_a_band_is_not_compared(workplace: Path):
    workplace.write_text(f"# Expected: not yet measured.\n{RECIPE}", encoding="utf-8")
    assert not expects("--config", "recipe.yaml")
    assert not expects("--model", "lenet", "--data", "digits")


@pytest.mark.slow
def test_the_digest_of_the_images_tells_whether_a_folder_holds_those_of_the_recipe(lit_cnn: Command, workplace: Path):
    for split in ("train", "test"):
        write_photos(workplace.parent / "photos" / split, ("ant", "bee"), 8)
    data = "data:\n  class_path: ImageFolder\n  init_args:\n    data_dir: photos\n    image_size: 28\n"
    content = RECIPE[: RECIPE.index("data:")] + data + RECIPE[RECIPE.index("trainer:") :]
    write_recipe(workplace, content=content)
    fit = ("fit", "--config", "recipe.yaml", "--test_after_fit")
    done = lit_cnn(*fit)
    assert done.stdout.splitlines()[-1] == "expected: 0.0 to 100.0 % (recipe.yaml): inside", done.stderr
    run = find_run("latest")
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    digest = digest_of_all(data["digest"], run.read_results()["test/digest"])
    text = workplace.read_text(encoding="utf-8").replace(" %, 1 s", f" % (JPEG copy; images {digest}), 1 s")
    workplace.write_text(text, encoding="utf-8")
    (workplace.parent / "photos").rename(workplace.parent / "photographs")
    for name, other in (("less_to_train", "train"), ("less_to_test", "test")):
        shutil.copytree(workplace.parent / "photographs", workplace.parent / name)
        next((workplace.parent / name / other / "ant").iterdir()).unlink()
    for folder, said in (("photographs", True), ("less_to_train", False), ("less_to_test", False)):
        done = lit_cnn(*fit, "--data.data_dir", folder)
        assert done.returncode == 0, done.stderr
        assert ("expected: 0.0 to 100.0 % (JPEG copy) (recipe.yaml): inside" in done.stdout) == said


def test_photos_of_another_folder_are_not_compared(workplace: Path):
    for name in ("photos", "others"):
        write_photos(workplace.parent / name, ("ant", "bee"), 8)
    data = "data:\n  class_path: ImageFolder\n  init_args:\n    data_dir: photos\n"
    model = "model:\n  class_path: LitLeNet\n  init_args:\n    variant: lenet\n"
    write_recipe(workplace, content=model + data)
    assert expects("--config", "recipe.yaml")
    assert not expects("--config", "recipe.yaml", "--data.data_dir", "others")
