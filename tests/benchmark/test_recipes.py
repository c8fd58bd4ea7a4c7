"""That accuracies of recipes are measured, saved after each run and resumed; never how high any is."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, Command
from filelock import FileLock

from lit_cnn.benchmark.recipes import run_recipe
from lit_cnn.commands.command_line import Arguments

RECIPE = """\
# Paper: nobody 2026.
seed_everything: 0
model:
  class_path: LitMLP
data:
  class_path: Digits
  init_args:
    image_size: 28
    batch_size: 64
trainer:
  max_epochs: 2
"""
SCORES = {"test/acc_low": 0.8, "test/acc_high": 1.0, "test/images": 360, "val/acc": 0.9, "train/images_per_s": 100.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two recipes."""
    for name in ("first", "second"):
        path = tmp_path / "experiments" / "digits" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECIPE)
    return tmp_path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int | None]]:
    """The trainings that were asked for. None takes place; each has made-up results."""
    trained: list[tuple[str, int, int | None]] = []

    def pretend(
        recipe: Path, seed: int, device: str, data_dir: str | None, epochs: int | None, runs_dir: str | None
    ) -> dict:
        assert (device, data_dir, runs_dir) == ("cpu", None, None)
        trained.append((recipe.as_posix(), seed, epochs))
        results = {"test/acc": 0.9 + 0.02 * seed, "seconds": 10.0 + seed, "epochs": epochs or 2, "precision": "32-true"}
        return SCORES | results

    monkeypatch.setattr("lit_cnn.benchmark.recipes.run_recipe", pretend)
    monkeypatch.setattr("lit_cnn.benchmark.recipes.measured_commit", lambda: "abc")
    return trained


BENCHMARK = ("benchmark", "--suite", "recipes", "--device", "cpu")
FIRST, SECOND = "experiments/digits/first.yaml", "experiments/digits/second.yaml"


def test_each_recipe_is_trained_with_each_seed(lit_cnn: Command, folder: Path, trained: list):
    done = lit_cnn(*BENCHMARK, "--output", "accuracy.json")
    assert done.returncode == 0, done.stderr
    assert trained == [(recipe, seed, None) for recipe in (FIRST, SECOND) for seed in (0, 1, 2)]
    assert f"{FIRST}, seed 1: test accuracy 92.00%, 11 s" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if line.startswith(f"{SECOND}  "))
    assert "0, 1, 2" in row
    assert "92.00% ± 2.00%" in row
    content = json.loads((folder / "accuracy.json").read_text())
    assert content["environment"]["torch"]
    run = content["runs"][4]
    assert (run["recipe"], run["seed"], run["commit"], run["epochs"]) == (SECOND, 1, "abc", 2)
    assert run["test/acc"] == 0.92


def test_a_benchmark_that_was_stopped_is_resumed(lit_cnn: Command, folder: Path, trained: list):
    assert lit_cnn(*BENCHMARK, "--recipe", FIRST, "--seeds", "2", "--output", "accuracy.json").returncode == 0
    done = lit_cnn(*BENCHMARK, "--output", "accuracy.json")
    assert f"{FIRST}, seed 1: already in accuracy.json" in done.stdout
    assert trained[2:] == [(FIRST, 2, None), *((SECOND, seed, None) for seed in (0, 1, 2))]
    assert len(json.loads((folder / "accuracy.json").read_text())["runs"]) == 6
    # Fewer epochs are other runs.
    done = lit_cnn(*BENCHMARK, "--recipe", FIRST, "--seeds", "1", "--epochs", "1", "--output", "accuracy.json")
    assert trained[6:] == [(FIRST, 0, 1)]
    content = json.loads((folder / "accuracy.json").read_text())
    assert content["runs"][-1]["epochs_given"] == 1
    assert [("--epochs" in command, "--recipe" in command) for command in content["earlier_commands"]] == [
        (False, True),
        (False, False),
    ]
    assert "92.00% ± 2.00%" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("measured_commit", "def", "holds runs of commit abc, this is def: name another --output"),
        ("processor_name", "Z80", ", this is Z80: name another --output"),
    ],
)
def test_runs_of_another_commit_or_processor_are_not_mixed_in(
    lit_cnn: Command, folder: Path, trained: list, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
):
    assert lit_cnn(*BENCHMARK, "--seeds", "1", "--output", "accuracy.json").returncode == 0
    before = (folder / "accuracy.json").read_text()
    monkeypatch.setattr(f"lit_cnn.benchmark.recipes.{name}", lambda: value)
    done = lit_cnn(*BENCHMARK, "--seeds", "2", "--output", "accuracy.json")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(trained) == 2
    assert (folder / "accuracy.json").read_text() == before
    assert lit_cnn(*BENCHMARK, "--seeds", "2", "--output", "new.json").returncode == 0


@pytest.mark.parametrize("name", ["data/digest", "test/digest"])
@pytest.mark.usefixtures("trained")
def test_runs_on_other_images_are_not_mixed_in(lit_cnn: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    measure = (*BENCHMARK, "--recipe", FIRST, "--output", "accuracy.json")
    monkeypatch.setitem(SCORES, name, "of one folder")
    assert lit_cnn(*measure, "--seeds", "2").returncode == 0
    before = (folder / "accuracy.json").read_text()
    monkeypatch.setitem(SCORES, name, "of another")
    done = lit_cnn(*measure, "--seeds", "3")
    assert done.returncode == 2
    assert f"accuracy.json holds runs of {FIRST} on other images: name another --output" in done.stderr
    assert (folder / "accuracy.json").read_text() == before


def test_two_measurements_do_not_write_into_one_file(lit_cnn: Command, folder: Path, trained: list):
    measure = (*BENCHMARK, "--recipe", FIRST, "--seeds", "1", "--output", "accuracy.json")
    with FileLock(folder / "accuracy.lock"):
        done = lit_cnn(*measure)
    assert done.returncode == 2
    assert "another process measures into accuracy.json" in done.stderr
    assert not trained
    assert lit_cnn(*measure).returncode == 0
    assert [path.name for path in folder.glob("accuracy*")] == ["accuracy.json"]


def test_in_a_folder_each_recipe_has_a_file_of_its_own(lit_cnn: Command, folder: Path, trained: list):
    (folder / "results").mkdir()
    measure = (*BENCHMARK, "--seeds", "1", "--output", "results")
    assert lit_cnn(*measure, "--recipe", FIRST).returncode == 0
    done = lit_cnn(*measure, "--recipe", FIRST, SECOND)
    assert done.returncode == 0, done.stderr
    files = [folder / "results" / "digits" / f"{name}.json" for name in ("first", "second")]
    assert f"{FIRST}, seed 0: already in results/digits/first.json" in done.stdout
    assert trained == [(FIRST, 0, None), (SECOND, 0, None)]
    for file, recipe in zip(files, (FIRST, SECOND), strict=True):
        assert [run["recipe"] for run in json.loads(file.read_text())["runs"]] == [recipe]
    # Both are in the table.
    assert [line.split()[0] for line in done.stdout.splitlines()[-2:]] == [FIRST, SECOND]


def test_folders_that_do_not_fit_are_refused_before_any_training(lit_cnn: Command, folder: Path, trained: list):
    other = folder / "copies" / "digits" / "first.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(RECIPE)
    done = lit_cnn(*BENCHMARK, "--output", "nowhere/")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "there is no folder nowhere/: make it, or name a file" in done.stderr
    (folder / "results").mkdir()
    done = lit_cnn(*BENCHMARK, "--recipe", FIRST, str(other), "--output", "results")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "would both have the results results/digits/first.json" in done.stderr
    done = lit_cnn("benchmark", "--output", "results")
    assert "the output results is a folder: name a file in it" in done.stderr
    assert not trained


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: [", "is not a YAML file"),
        ("", "is no recipe: model names no class"),
        ("model: lenet\n", "is no recipe: data names no class"),
        ("model: lenet\ndata: {init_args: {}}\n", "is no recipe: data names no class"),
        ("model: lenet\ndata: digits\ntrainer: {limit_val_batches: 0}\n", "has trainer.limit_val_batches=0"),
        ("model: lenet\ndata: digits\ntrainer: {limit_test_batches: 5}\n", "has trainer.limit_test_batches=5"),
        ("model: lenet\ndata: digits\ntrainer: {enable_checkpointing: false}\n", "has trainer.enable_checkpointing=false"),
    ],
)
def test_what_is_no_recipe_is_refused(lit_cnn: Command, folder: Path, trained: list, text: str, told: str):
    (folder / FIRST).write_text(text)
    done = lit_cnn(*BENCHMARK, "--recipe", FIRST, "--data_dir", "data")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{FIRST} {told}" in done.stderr
    assert not trained


@pytest.mark.usefixtures("trained")
def test_runs_of_a_recipe_with_other_settings_are_not_mixed_in(lit_cnn: Command, folder: Path):
    measure = (*BENCHMARK, "--recipe", FIRST, "--output", "accuracy.json")
    assert lit_cnn(*measure, "--seeds", "1").returncode == 0
    (folder / FIRST).write_text(RECIPE.replace("2026", "2027").replace("seed_everything: 0", "seed_everything: 1"))
    assert lit_cnn(*measure, "--seeds", "2").returncode == 0
    (folder / FIRST).write_text(RECIPE.replace("max_epochs: 2", "max_epochs: 3"))
    done = lit_cnn(*measure, "--seeds", "3")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"accuracy.json holds runs of {FIRST} before its settings changed: remove the file" in done.stderr


@pytest.mark.usefixtures("folder")
def test_code_with_uncommitted_changes_is_not_resumed(lit_cnn: Command, trained: list, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_cnn.benchmark.recipes.measured_commit", lambda: "abc-dirty")
    assert lit_cnn(*BENCHMARK, "--seeds", "1", "--output", "accuracy.json").returncode == 0
    done = lit_cnn(*BENCHMARK, "--seeds", "2", "--output", "accuracy.json")
    assert done.returncode == 2
    assert "accuracy.json cannot be resumed, for the code has uncommitted changes" in done.stderr
    assert len(trained) == 2


def test_files_that_do_not_fit_are_named(lit_cnn: Command, tmp_path: Path, trained: list):
    assert "there are no recipes in experiments/digits" in lit_cnn(*BENCHMARK).stderr
    assert "nowhere.yaml" in lit_cnn(*BENCHMARK, "--recipe", "nowhere.yaml").stderr
    (tmp_path / "some.yaml").write_text(RECIPE)
    (tmp_path / "speed.json").write_text('{"cases": {}}')
    done = lit_cnn(*BENCHMARK, "--recipe", "some.yaml", "--output", "speed.json")
    assert "speed.json holds no runs of recipes" in done.stderr
    assert not trained


@pytest.mark.slow
def test_a_recipe_is_measured(lit_cnn: Command, folder: Path, monkeypatch: pytest.MonkeyPatch):
    # The process of a run starts in this folder, where nothing is installed.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = lit_cnn(*BENCHMARK, "--recipe", FIRST, "--seeds", "2", "--epochs", "1", "--output", "accuracy.json")
    assert done.returncode == 0, done.stderr
    runs = json.loads((folder / "accuracy.json").read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    for run in runs:
        assert run["test/acc_low"] < run["test/acc"] < run["test/acc_high"]
        assert (run["test/images"], run["epochs"], run["precision"]) == (360, 1, "32-true")
        assert (run["parameters"], run["multiply_adds"]) == (203_530, 203_264)
        assert run["threads"] >= 1
        assert run["cpu"]
        assert run["seconds"] > 0
    assert runs[0]["test/acc"] != runs[1]["test/acc"] or runs[0]["val/acc"] != runs[1]["val/acc"]
    assert not list(folder.glob("runs/*"))

    assert lit_cnn(*BENCHMARK, "--recipe", FIRST, "--seeds", "2", "--epochs", "1", "--runs_dir", "kept").returncode == 0
    kept = sorted(path.parent.name for path in folder.glob("kept/digits/*/*/results.json"))
    assert [name.rpartition("-")[0] for name in kept] == ["first-seed0", "first-seed1"]


def test_data_lie_in_the_folder_that_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class AskedError(Exception):
        """In place of a training."""

    def ask(*words: str) -> None:
        raise AskedError(*words)

    monkeypatch.setattr("lit_cnn.benchmark.recipes.run_lit_cnn", ask)
    recipe = folder / "other.yaml"
    photos = "    data_dir: data/photos.tar.xz\n"
    monkeypatch.chdir(folder)
    Path("shared").mkdir()
    Path("shared", "photos.tar.xz").touch()
    for name, own, data_dir, expected in (
        ("Digits", "", "shared", []),
        ("MNIST", "", "shared", ["shared"]),
        ("ImageFolder", photos, "shared", ["shared/photos.tar.xz"]),
        ("ImageFolder", photos, "shared/photos.tar.xz", ["shared/photos.tar.xz"]),
        ("ImageFolder", photos, "photos", ["photos"]),
        ("mnist", "", "shared", ["shared"]),
    ):
        recipe.write_text(RECIPE.replace("Digits\n  init_args:\n", f"{name}\n  init_args:\n{own}"))
        with pytest.raises(AskedError) as asked:
            run_recipe(recipe, 0, "cpu", data_dir, None)
        assert Arguments(asked.value.args[1:]).values("--data.data_dir") == expected
