"""That pages have the figures of the files in ``experiments/results/``, and no others."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT, load_script

from lit_cnn.benchmark.augmentation import COLOURS, OPERATIONS

ENVIRONMENT = {
    "time": "2026-11-24T19:21:29+00:00",
    "torch": "2.14.1",
    "commit": "5c6a729b5c80e3e7f437d5a093debbc9f35cafb8",
    "threads": 2,
    "cpu": "AVX2",
    "cpu_name": "Z80",
    "gpu": None,
}


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script, as a module."""
    return load_script("tables")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The pages, without any results."""
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


def test_the_committed_pages_have_the_committed_figures(tables: ModuleType):
    for path, text in tables.regenerate(ROOT).items():
        assert path.read_text() == text, f"{path} is not up to date: make tables"


def test_a_table_without_results_is_its_command(tables: ModuleType, root: Path):
    texts = tables.regenerate(root)
    speed = texts[root / "docs" / "benchmarks.md"]
    assert speed.count("Not yet measured. The command:") == 6
    assert "lit-cnn benchmark --suite growth --output experiments/results/growth.json\n" in speed


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
    write(root, "by_hand.json", test_accuracy={"plain": [0.86, 0.88], "lit_cnn": [0.87, 0.87]})
    assert "| plain loop | 87.00 % ± 1.41 | 2 |" in tables.regenerate(root)[root / "docs" / "benchmarks.md"]
    # The evaluation has no results, nor had the comparison with a loop by hand.
    assert page.count("Not yet measured. The command:") == 2


def test_the_cost_of_augmentation_is_told_by_operation_and_by_preset(tables: ModuleType, root: Path):
    of_operation = {name: [1e6, 2e6] for name in OPERATIONS}
    of_grey = {name: [2e6] for name in OPERATIONS if name not in COLOURS}
    cost = {"operations": {"1×28×28": of_grey, "3×96×96": of_operation}, "presets": {"strong": [0.049, 0.05, 0.04]}}
    cost |= {"step": "bfloat16, channels last", "step_images_per_s": [168.0, 170.0, 190.0]}
    write(root, "augmentation.json", augmentation=cost)
    page = tables.regenerate(root)[root / "docs" / "training.md"]
    assert "| images/s | 1 × 28 × 28 | 3 × 96 × 96 |" in page
    assert "| hue |  | 1,500,000 |" in page
    assert "share of a training step of ResNet-18 in bfloat16, channels last, 170 (168 to 190) images/s |" in page
    assert "| strong | 4.9 % |" in page


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
    assert "the number of swapped labels | 65.0 (60.0 to 70.0) % |" in photos


def test_the_gain_of_trained_weights_is_theirs_over_random_ones(tables: ModuleType, root: Path):
    own = {"model": "lenet", "weights": "MNIST", "target": "digits"}
    accuracies = {10: ((0.5, 0.7), (0.6, 0.9)), None: ((0.9, 0.88), (0.9, 0.88))}
    runs = [
        own | {"images_per_class": number, "seed": seed, "start": start, "test/acc": accuracy}
        for number, seeds in accuracies.items()
        for seed, pair in enumerate(seeds)
        for start, accuracy in zip(("random", "MNIST"), pair, strict=True)
    ]
    write(root, "fine_tuning.json", runs=runs)
    page = tables.regenerate(root)[root / "docs" / "fine-tuning.md"]
    assert "| lenet, `MNIST` | digits | 10 | 2 | 55.00 % ± 7.07 | 80.00 % ± 14.14 | +25.0 (-38.5 to +88.5) |" in page
    assert "| lenet, `MNIST` | digits | all | 2 | 90.00 % ± 0.00 | 88.00 % ± 0.00 | -2.0 (-2.0 to -2.0) |" in page


@pytest.mark.parametrize(("key", "value"), [("commit", "0" * 40), ("cpu_name", "6502"), ("threads", 1), ("gpu", "H100")])
def test_a_page_has_one_commit_and_one_machine(tables: ModuleType, root: Path, key: str, value: str | int):
    write(root, "speed.json", cases={"lenet": a_case()})
    write(root, "evaluation.json", environment={key: value}, cases={"lenet": a_case()})
    with pytest.raises(ValueError, match=rf"speed.json .* and evaluation.json \({value}\) differ in {key}: measure all"):
        tables.regenerate(root)


@pytest.mark.parametrize("commit", [None, "5c6a729-dirty"])
def test_results_of_code_without_a_commit_are_refused(tables: ModuleType, root: Path, commit: str | None):
    write(root, "speed.json", environment={"commit": commit}, cases={"lenet": a_case()})
    with pytest.raises(ValueError, match=r"speed\.json was measured on code without a commit"):
        tables.regenerate(root)
