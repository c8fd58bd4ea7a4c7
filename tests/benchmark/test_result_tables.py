"""That pages and recipes have the figures of the files in ``experiments/results/``, and no others."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

ENVIRONMENT = {
    "time": "2026-11-24T19:21:29+00:00",
    "torch": "2.14.1",
    "commit": "5c6a729b5c80e3e7f437d5a093debbc9f35cafb8",
    "threads": 2,
    "cpu": "AVX2",
    "cpu_name": "Z80",
    "gpu": None,
}
LENET = "experiments/digits/lenet.yaml"
STARTS = ("random", "FASHION_MNIST")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script, as a module."""
    folder = ROOT / "experiments" / "results"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("tables_of_results", folder / "tables.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    sys.path.remove(str(folder))
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The pages and recipes, without any results."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("*.json", "*.png"))
    return tmp_path


def write(root: Path, file: str, options: str = "", environment: dict[str, Any] | None = None, **measured: Any) -> None:
    command = ["lit-cnn", "benchmark", "--data_dir", "/my/data", *options.split(), "--output", file]
    content = {"environment": ENVIRONMENT | (environment or {}), "command": command, **measured}
    (root / "experiments" / "results" / file).write_text(json.dumps(content))


def a_case(first_epoch: float | None = None) -> dict[str, Any]:
    def rounds(*speeds: float) -> list[dict[str, Any]]:
        rest = {"first_step_s": 0.5, "peak_memory_mb": 900.0, "first_epoch_images_per_s": first_epoch}
        return [{"images_per_s": speed, **rest} for speed in speeds]

    arms = {"plain": rounds(3000, 3165, 3601), "lightning": rounds(3000), "lit_cnn": rounds(9000), "ceiling": rounds(10000)}
    summary: dict[str, Any] = {arm: measured[0] for arm, measured in arms.items()}
    summary |= {"lit_cnn/plain": 3.0, "lit_cnn/ceiling": 0.9}
    if first_epoch:
        summary["first epoch: lit_cnn/plain"] = 1.25
    case = {"model": "lenet", "data": "fashion_mnist", "image_size": 28, "batch_size": 256}
    return {"case": case, "arms": arms, "summary": summary}


def a_run(recipe: str = LENET, seed: int = 0, accuracy: float = 0.98, epochs_given: int | None = None) -> dict[str, Any]:
    scores = {"test/acc": accuracy, "val/acc": 0.97, "seconds": 9.0, "train/images_per_s": 1234.0, "precision": "32-true"}
    return {"recipe": recipe, "seed": seed, "epochs_given": epochs_given, "epochs": epochs_given or 30, **scores}


def test_the_committed_pages_and_recipes_have_the_committed_figures(tables: ModuleType):
    for path, text in tables.regenerate(ROOT).items():
        assert path.read_text() == text, f"{path} is not up to date: make tables"


def test_a_table_without_results_is_its_command(tables: ModuleType, root: Path):
    texts = tables.regenerate(root)
    speed = texts[root / "docs" / "benchmarks.md"]
    assert speed.count("Not yet measured. The command:") == 5
    assert "lit-cnn benchmark --suite growth --output experiments/results/growth.json\n" in speed
    assert "# Expected: not yet measured.\n" in texts[root / LENET]


def test_tables_have_machine_command_and_figures(tables: ModuleType, root: Path):
    write(root, "speed.json", "--case lenet", cases={"lenet": a_case(), "folder": a_case(first_epoch=40.0)})
    gains = {"all": {"images_per_s": [10.0, 12.0, 20.0]}, "kept memory": {"images_per_s": [10.0, 10.0, 10.0]}}
    write(root, "optimisations.json", without={"lenet": gains, "resnet18": {"all": {"images_per_s": [1.0]}}})
    ways = {"Pillow": {"images_per_s": [1754.0], "gain": 1.0}, "other": {"images_per_s": [800.0, 900.0], "gain": 2.1}}
    write(root, "decoding.json", num_images=4000, decoding={"64": ways})
    point = {"value": 1000, "command_s": 10.34, "training_s": 2.7, "images_per_s": 8081.0, "peak_memory_mb": 1037.0}
    write(root, "growth.json", growth={"images": [point]})
    page = tables.regenerate(root)[root / "docs" / "benchmarks.md"]
    assert "trains 3.0 times as fast as the loop that tutorials teach" in page
    assert "reaches 90.0 % of the ceiling" in page
    assert "Commit 5c6a729b5c80, Z80 (AVX2, 2 threads), PyTorch 2.14.1, 2026-11-24." in page
    assert "```bash\nlit-cnn benchmark --case lenet --output speed.json\n```" in page
    name = "lenet, Fashion-MNIST at 28×28, batch 256"
    assert f"| {name} | 3,165 (3,000 to 3,601) | 3,000 | 9,000 | 10,000 | 3.00 | 0.90 |" in page
    assert "| … its first epoch, decoding included | 40 | 40 | 40 | 40 | 1.25 |  |" in page
    assert f"| {name} | first step after, s | 0.5 | 0.5 | 0.5 | 0.5 |" in page
    assert "| kept memory | 1.20 (1.00 to 2.00) |  |" in page
    assert "| 64×64 | 1,754 | 850 (800 to 900) |" in page
    assert "| images | 1,000 | 10.3 | 2.7 | 8,081 | 1,037 |" in page
    # The evaluation has no results.
    assert page.count("Not yet measured. The command:") == 1


def test_deployment_has_forms_load_and_label_errors(tables: ModuleType, root: Path):
    form = {"form": "ONNX Runtime", "ms": {"1": 1.234, "32": 0.5}, "accuracy": 0.9861}
    load = {"clients": 8, "requests": 2000, "per_s": 301.4, "p50_ms": 5.12, "p99_ms": 11.0, "wrong": 0}
    load |= {"memory_before": 552_000_000, "memory_after": 552_400_000}
    seeds = [
        {"listed": 100, "swapped": 110, "both": 88, "first": 77},
        {"listed": 120, "swapped": 110, "both": 99, "first": 66},
    ]
    seconds = {"predict_onnx.py": 0.62, "lit-cnn predict": 5.7}
    forms = {"ResNet-18": {"forms": [form]}}
    write(root, "deploy.json", forms=forms, load=[load], files=360, seconds=seconds)
    write(root, "label_errors.json", images=6000, share=0.02, seeds=seeds)
    texts = tables.regenerate(root)
    page = texts[root / "docs" / "deploy.md"]
    assert "| ResNet-18 | ONNX Runtime | 1.23 | 0.50 | 98.6 % |" in page
    assert "| 8 | 2,000 | 301 | 5.1 | 11.0 | 0 | 552 to 552 |" in page
    assert "| `predict_onnx.py` | 0.6 |" in page
    photos = texts[root / "docs" / "own-photos.md"]
    assert "| 6,000 images, 2 % of the labels swapped |" in photos
    assert "(recall) | 85.0 (80.0 to 90.0) % |" in photos
    assert "(precision) | 85.2 (82.5 to 88.0) % |" in photos
    assert "as many as were swapped | 65.0 (60.0 to 70.0) % |" in photos


def test_the_gain_of_trained_weights_is_paired_by_seed(tables: ModuleType, root: Path):
    def run(seed: int, start: str, accuracy: float, number: int | None = 10) -> dict[str, Any]:
        named = {"model": "resnet20", "weights": "FASHION_MNIST", "target": "mnist", "images_per_class": number}
        return {**named, "seed": seed, "start": start, "test/acc": accuracy}

    accuracies = {0: (0.80, 0.90), 1: (0.82, 0.92)}
    runs = [run(seed, start, a) for seed, pair in accuracies.items() for start, a in zip(STARTS, pair, strict=True)]
    write(root, "fine_tuning.json", runs=[*runs, run(2, "random", 0.1), run(0, "random", 0.9, None)])
    page = tables.regenerate(root)[root / "docs" / "fine-tuning.md"]
    row = "| resnet20, `FASHION_MNIST` | mnist | 10 | 2 | 81.00 % ± 1.41 | 91.00 % ± 1.41 | +10.0 (+10.0 to +10.0) |"
    assert row in page
    assert "| all |" not in page  # of one seed, and without the other start


def test_recipes_have_mean_and_spread_in_table_and_header(tables: ModuleType, root: Path):
    mlp, vgg = "experiments/fashion_mnist/mlp.yaml", "experiments/fashion_mnist/vgg.yaml"
    runs = [a_run(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.97, 0.98, 0.99))]
    runs += [a_run(epochs_given=1, accuracy=0.5), a_run(mlp, epochs_given=3, accuracy=0.5), a_run(vgg, accuracy=0.9)]
    earlier = [["lit-cnn", "benchmark", "--data_dir=/my/data", "--suite", "recipes", "--epochs", "1"]]
    write(root, "accuracy.json", "--suite recipes", runs=runs, earlier_commands=earlier)
    write(root, "by_hand.json", test_accuracy={"plain": [0.86, 0.88], "lit_cnn": [0.87, 0.87]})
    texts = tables.regenerate(root)
    page = texts[root / "docs" / "accuracy.md"]
    last = "lit-cnn benchmark --suite recipes --output accuracy.json"
    assert f"```bash\nlit-cnn benchmark --suite recipes --epochs 1\n{last}\n```" in page
    assert "The 2 measured recipes reach a test accuracy of 90.0 to 98.0 %" in page
    assert "| `make train MODEL=lenet` | 98.00 % ± 1.00 | 3 | 30 | 9 | 1,234 | 32-true |" in page
    assert "| `make train MODEL=lenet EPOCHS=1` | 50.00 % | 1 | 1 |" in page
    assert "| `make train MODEL=mlp DATA=fashion_mnist EPOCHS=3` | 50.00 % | 1 | 3 |" in page
    assert "| plain loop | 87.00 % ± 1.41 | 2 |" in page
    spread = "98.00 % ± 1.00 (mean and standard deviation of seeds 0, 1, 2), 9 s; Z80 (AVX2, 2 threads), 32-true."
    assert f"# Expected: test accuracy {spread}\n" in texts[root / LENET]
    assert "# Expected: with EPOCHS=3 test accuracy 50.00 % (seed 0), 9 s;" in texts[root / mlp]
    assert "# Expected: test accuracy 90.00 % (seed 0), 9 s;" in texts[root / vgg]
    assert "# Expected: not yet measured.\n" in texts[root / "experiments" / "digits" / "mlp.yaml"]
    # What is up to date stays so.
    for path, text in texts.items():
        path.write_text(text)
    assert tables.regenerate(root) == texts


def test_recipes_with_fewer_epochs_alone_are_no_result(tables: ModuleType, root: Path):
    write(root, "accuracy.json", runs=[a_run(epochs_given=1)])
    assert "No recipe is measured with all its epochs." in tables.regenerate(root)[root / "docs" / "accuracy.md"]


@pytest.mark.parametrize(("key", "value"), [("commit", "0" * 40), ("cpu_name", "6502"), ("threads", 1), ("gpu", "H100")])
def test_a_page_has_one_commit_and_one_machine(tables: ModuleType, root: Path, key: str, value: str | int):
    write(root, "speed.json", cases={"lenet": a_case()})
    write(root, "evaluation.json", environment={key: value}, cases={"lenet": a_case()})
    with pytest.raises(ValueError, match=rf"speed.json .* and evaluation.json \({value}\) differ in {key}: measure all"):
        tables.regenerate(root)


@pytest.mark.parametrize("commit", [None, "5c6a729-dirty"])
def test_results_of_code_without_a_commit_are_refused(tables: ModuleType, root: Path, commit: str | None):
    write(root, "accuracy.json", environment={"commit": commit}, runs=[a_run()])
    with pytest.raises(ValueError, match=r"accuracy\.json was measured on code without a commit"):
        tables.regenerate(root)


def test_a_recipe_needs_a_line_for_the_figure(tables: ModuleType, root: Path):
    path = root / LENET
    path.write_text(path.read_text().replace("# Expected:", "# Perhaps:"))
    with pytest.raises(ValueError, match=r"lenet\.yaml needs one line that begins with '# Expected:', and has 0"):
        tables.regenerate(root)
