"""That the leaderboard, its page and the recipes have the figures of the results, and no others."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Command

from lit_cnn.benchmark.bands import Expectation, digest_of_all
from lit_cnn.benchmark.leaderboard import RESULTS, digest_of_recipe, read_boards
from lit_cnn.benchmark.leaderboard_page import PAGE, write_texts

RECIPE = """\
# Paper: nobody 2026.
# Command: make train MODEL=lenet
# Expected: not yet measured.
seed_everything: 0
model:
  class_path: LitLeNet
  init_args:
    variant: lenet_bn
    lr: 0.1
data:
  class_path: Digits
trainer:
  max_epochs: 30
"""
ENVIRONMENT = {"time": "2026-11-24T19:21:29+00:00", "commit": "5c6a729b5c80e3e7f437d5a093debbc9f35cafb8", "gpu": None}
REFERENCES = """\
other:
  title: Other images
  label: JPEG copy
  note: These are not the original images.
  figures:
    - {network: LeNet of others, accuracy: 97.5, source: "https://example.org", remark: one run, recipe: lenet}
    - {network: AlexNet of others, accuracy: 99, source: a paper}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three recipes for two datasets, figures of others for one of them, no results."""
    for recipe in ("digits/lenet", "other/lenet", "other/mlp"):
        path = tmp_path / "experiments" / f"{recipe}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECIPE)
    (tmp_path / "experiments" / "references.yaml").write_text(REFERENCES)
    (tmp_path / "docs").mkdir()
    return tmp_path


def measure(
    root: Path,
    recipe: str,
    *accuracies: float,
    settings: str = RECIPE,
    environment: dict[str, Any] | None = None,
    **entries: Any,
) -> Path:
    """Writes results of a recipe, one for each seed."""
    runs = []
    for seed, accuracy in enumerate(accuracies):
        run = {"recipe": f"experiments/{recipe}.yaml", "seed": seed, "epochs_given": None, "epochs": 30}
        run |= {"recipe_digest": digest_of_recipe(yaml.safe_load(settings)), "test/acc": accuracy, "test/images": 10_000}
        run |= {"data/digest": "0c0c0c0c", "test/digest": "16894a486b0d74b61308a466080b2feb"}
        run |= {"val/acc": 0.97, "seconds": 9.0 + seed, "train/images_per_s": 1234.0, "precision": "32-true"}
        run |= {"parameters": 61706, "threads": 2, "cpu": "AVX2", "processor": "Z80", "device": "cpu"}
        runs.append(run | {"commit": ENVIRONMENT["commit"], "torch": "2.14.1"} | entries)
    file = root / RESULTS / f"{recipe}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(file.read_text())["runs"] if file.is_file() else []
    file.write_text(json.dumps({"environment": ENVIRONMENT | (environment or {}), "runs": earlier + runs}))
    return file


def test_the_committed_page_and_recipes_have_the_committed_figures():
    for path, text in write_texts(ROOT).items():
        assert path.read_text() == text, f"{path} is not up to date: make tables"


def test_references_name_recipes_and_datasets_that_there_are():
    content = yaml.safe_load((ROOT / "experiments" / "references.yaml").read_text())
    assert content.keys() == {board.name for board in read_boards(ROOT)}
    for board in read_boards(ROOT):
        recipes = {path.stem for path in (ROOT / "experiments" / board.name).glob("*.yaml")}
        assert {reference.recipe for reference in board.references} <= {None, *recipes}
        assert all(reference.source and 0 < reference.accuracy <= 100 for reference in board.references)


@pytest.mark.usefixtures("root")
def test_recipes_are_listed_with_what_they_reached_the_best_first(lit_cnn: Command, root: Path):
    measure(root, "other/lenet", 0.97, 0.98, 0.99)
    measure(root, "other/mlp", 0.9, parameters=203530)
    done = lit_cnn("leaderboard")
    assert done.returncode == 0, done.stderr
    digits, other = done.stdout.split("Other images\n")
    assert digits.startswith("digits\nNot yet measured: lenet.\n")
    command = "lit-cnn benchmark --suite recipes --seeds 3 --output experiments/results/recipes --recipe"
    assert f"{command} experiments/digits/lenet.yaml\n" in digits
    rows = [re.split(r"  +", line.strip()) for line in other.splitlines()]
    assert rows[1] == ["lenet", "lenet_bn", "61,706", "98.00 % ± 1.00 (JPEG copy)", "3", "30", "10 s", "1,234"]
    assert rows[2][:4] == ["mlp", "lenet_bn", "203,530", "90.00 % (JPEG copy)"]
    assert ["AlexNet of others", "99.00 %", "a paper"] in rows
    assert ["LeNet of others", "97.50 %", "lenet_bn: 98.00 % ± 1.00 (JPEG copy)", "https://example.org", "one run"] in rows
    assert "often chosen on the test set" in done.stdout


def test_one_dataset_is_listed_alone(lit_cnn: Command, root: Path):
    done = lit_cnn("leaderboard", "--dataset", "digits")
    assert "Not yet measured: lenet." in done.stdout
    assert "Other images" not in done.stdout
    done = lit_cnn("leaderboard", "--dataset", "cifar11")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "there are no recipes for 'cifar11'; there are some for digits, other" in done.stderr
    done = lit_cnn("leaderboard", "--dataset", "digits", "--write")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "leave out --dataset" in done.stderr
    assert not list((root / "docs").iterdir())


def test_without_recipes_the_folder_is_named(lit_cnn: Command):
    done = lit_cnn("leaderboard")
    assert done.returncode == 2
    assert "there are no recipes in experiments/: change to the folder of lit_cnn" in done.stderr


def test_the_page_and_the_recipes_are_written(lit_cnn: Command, root: Path):
    measure(root, "digits/lenet", 0.9)
    measure(root, "other/lenet", 0.97, 0.98, 0.99)
    done = lit_cnn("leaderboard", "--write")
    assert done.returncode == 0, done.stderr
    assert f"changed {PAGE}\n" in done.stdout
    page = (root / PAGE).read_text()
    assert "90.0 % on digits (1 of 1); 98.0 % on Other images (1 of 2)." in page
    link = "[lenet](../experiments/other/lenet.yaml)"
    row = "lenet_bn | 61,706 | 98.00 % ± 1.00 (JPEG copy) | 3 | 95.0 to 100.0 % | 30 | 10 | 1,234"
    assert f"| {link} | {row} |\n" in page
    where = "32-true, commit 5c6a729b5c80, Z80 (AVX2, 2 threads), PyTorch 2.14.1, 2026-11-24"
    assert f"Measured lenet: {where}.\n" in page
    assert "Not yet measured: mlp.\n" in page
    assert "| LeNet of others | <https://example.org> | one run | 97.50 % | lenet_bn: 98.00 % ± 1.00 (JPEG copy) |\n" in page
    assert "These are not the original images." in page
    text = (root / "experiments" / "other" / "lenet.yaml").read_text()
    digest = digest_of_all("0c0c0c0c", "16894a486b0d74b61308a466080b2feb")
    spread = "JPEG copy; mean and standard deviation of seeds 0, 1, 2"
    figures = f"98.00 % ± 1.00 ({spread}), band 95.0 to 100.0 % (JPEG copy; images {digest}), 10 s; "
    figures += "Z80 (AVX2, 2 threads), 32-true."
    assert f"# Expected: test accuracy {figures}\n" in text
    expectation = Expectation.read(text)
    assert expectation
    assert (expectation.label, expectation.digest) == ("JPEG copy", digest)
    assert (0.96 in expectation.band, 0.94 in expectation.band) == (True, False)
    assert text.replace(f"test accuracy {figures}", "not yet measured.") == RECIPE
    text = (root / "experiments" / "digits" / "lenet.yaml").read_text()
    assert "# Expected: test accuracy 90.00 % (seed 0), 9 s; Z80 (AVX2, 2 threads), 32-true.\n" in text
    assert Expectation.read(text) is None
    # What is up to date stays so.
    assert lit_cnn("leaderboard", "--write").stdout == ""


def test_without_its_folder_no_page_and_no_recipe_is_written(lit_cnn: Command, root: Path):
    measure(root, "digits/lenet", 0.9)
    (root / "docs").rmdir()
    done = lit_cnn("leaderboard", "--write")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert (root / "experiments" / "digits" / "lenet.yaml").read_text() == RECIPE


def test_results_of_a_recipe_with_other_settings_are_not_its_own(root: Path):
    measure(root, "other/lenet", 0.97, 0.98, 0.99, settings=RECIPE.replace("lr: 0.1", "lr: 0.2"))
    texts = write_texts(root)
    assert "Not yet measured: lenet (measured with other settings), mlp." in texts[root / PAGE]
    assert texts[root / "experiments" / "other" / "lenet.yaml"] == RECIPE
    # The seed, and what changes no result, may differ.
    free = RECIPE.replace("seed_everything: 0", "seed_everything: 7\nthreads: 1")
    measure(root, "other/mlp", 0.9, settings=free)
    assert (
        "| [mlp](../experiments/other/mlp.yaml) | lenet_bn | 61,706 | 90.00 % (JPEG copy) |"
        in write_texts(root)[root / PAGE]
    )


def test_fewer_epochs_are_marked_and_have_no_band(root: Path):
    measure(root, "digits/lenet", 0.5, 0.5, 0.5, epochs_given=3, epochs=3)
    texts = write_texts(root)
    assert "No recipe is measured with all its epochs." in texts[root / PAGE]
    assert (
        "| [lenet](../experiments/digits/lenet.yaml), EPOCHS=3 | lenet_bn | 61,706 | 50.00 % ± 0.00 | 3 |  | 3 |"
        in texts[root / PAGE]
    )
    recipe = root / "experiments" / "digits" / "lenet.yaml"
    assert "# Expected: with EPOCHS=3 test accuracy 50.00 % ± 0.00 (mean" in texts[recipe]
    assert Expectation.read(texts[recipe]) is None
    measure(root, "digits/lenet", 0.9)
    assert "# Expected: test accuracy 90.00 % (seed 0)" in write_texts(root)[recipe]


@pytest.mark.parametrize("commit", [None, "5c6a729-dirty"])
def test_results_of_code_without_a_commit_are_refused(root: Path, commit: str | None):
    measure(root, "digits/lenet", 0.9, environment={"commit": commit})
    with pytest.raises(ValueError, match=r"lenet\.json was measured on code without a commit"):
        write_texts(root)


def test_a_recipe_without_a_variant_names_the_default_one(root: Path):
    for cls, variant in (
        ("LitResNet", "resnet18"),
        ("lit_cnn.models.LitVGG", "vgg11_bn_small"),
        ("mine.LitResNet", "mine.LitResNet"),
    ):
        settings = RECIPE.replace("    variant: lenet_bn\n", "").replace("class_path: LitLeNet", f"class_path: {cls}")
        (root / "experiments" / "digits" / "lenet.yaml").write_text(settings)
        measure(root, "digits/lenet", 0.9, settings=settings)
        assert f"lenet.yaml) | {variant} | 61,706 |" in write_texts(root)[root / PAGE]


def test_results_that_do_not_fit_are_named(root: Path):
    file = measure(root, "other/mlp", 0.9)
    file = file.rename(measure(root, "digits/lenet", 0.9))
    with pytest.raises(ValueError, match=r"lenet\.json has results of experiments/other/mlp\.yaml, not of .*lenet\.yaml"):
        read_boards(root)
    file.rename(file.with_name("gone.json"))
    with pytest.raises(ValueError, match=r"gone\.json has results of no recipe"):
        read_boards(root)
    shutil.rmtree(root / RESULTS)
    (root / "experiments" / "references.yaml").write_text("digits: {figures: [{network: LeNet, acuracy: 1}]}")
    with pytest.raises(ValueError, match=r"references\.yaml, digits: .*acuracy"):
        read_boards(root)
    (root / "experiments" / "references.yaml").write_text("digits: {label: JPEG copy (quality 75)}")
    with pytest.raises(ValueError, match=r"references\.yaml: the label 'JPEG copy \(quality 75\)' must have no brackets"):
        read_boards(root)


def test_a_recipe_needs_a_line_for_the_figure(root: Path):
    path = root / "experiments" / "digits" / "lenet.yaml"
    path.write_text(RECIPE.replace("# Expected:", "# Perhaps:"))
    with pytest.raises(ValueError, match=r"lenet\.yaml needs one line that begins with '# Expected:', and has 0"):
        write_texts(root)
