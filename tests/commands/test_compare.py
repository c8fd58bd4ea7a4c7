"""``lit-cnn compare``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Command
from fake_runs import write_arm, write_predictions, write_run
from html_pages import check_page

from lit_cnn.analysis.compare_tables import name_arms


@pytest.fixture
def arms(tmp_path: Path) -> list[Path]:
    """Three seeds each, without and with a higher rate."""
    folders = [tmp_path / "runs" / "digits" / "lenet" / name for name in ("slow", "fast")]
    for folder, wrong, lr in zip(folders, (12, 6), (0.02, 0.1), strict=True):
        for seed in range(3):
            run = write_run(folder / f"seed-{seed}", seed, settings={"model.lr": lr})
            write_predictions(run, np.arange(100) >= wrong + seed * (wrong > 6))
    return folders


def test_a_comparison_prints_its_tables_and_a_verdict(lit_cnn: Command, arms: list[Path]):
    done = lit_cnn("compare", *arms)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 120
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[0] == "accuracy on the test images"
    assert "slow 3 87.00 % 1.00 84.52 % to 89.48 %" in rows
    assert "fast 3 94.00 % 0.00 94.00 % to 94.00 %" in rows
    assert "fast − slow 3 +7.00 +4.52 to +9.48 0.0067 0.0067 0.9961 -" in rows
    assert any(row.startswith("fast − slow 100 +7.00 +") and row.endswith(" 0 6 to 8") for row in rows)
    assert "model.lr differs (slow: 0.02, fast: 0.1)" in rows
    assert "the budgets are the same" in rows
    assert rows[-1] == "fast is better than slow by 7.00 points (95 % interval 4.52 to 9.48, 3 seeds)."


def test_json_has_the_whole_comparison(lit_cnn: Command, arms: list[Path]):
    content = json.loads(lit_cnn("compare", *arms, "--format", "json", "--margin", "8").stdout)
    assert [arm["name"] for arm in content["arms"]] == ["slow", "fast"]
    assert (content["split"], content["margin"]) == ("test", 0.08)
    (pair,) = content["pairs"]
    assert pair["difference"]["value"] == pytest.approx(0.07)
    assert pair["images"]["only_second"] == [6, 7, 8]
    assert content["fairness"]["differences"][0]["setting"] == "model.lr"


def test_a_page_is_written_beside_what_is_printed(lit_cnn: Command, arms: list[Path]):
    printed = lit_cnn("compare", *arms).stdout
    done = lit_cnn("compare", *arms, "--output", "page.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{printed}\npage.html\n"
    check_page(Path("page.html").read_text(encoding="utf-8"))
    done = lit_cnn("compare", *arms, "--output", "other.html", "--format", "json")
    assert json.loads(done.stdout)["arms"]
    assert Path("other.html").is_file()


def test_arms_may_stand_on_both_sides_of_an_option(lit_cnn: Command, arms: list[Path]):
    plain = lit_cnn("compare", *arms[:2], "--split", "val", "--format", "json")
    done = lit_cnn("compare", arms[0], "--split", "val", arms[1], "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == plain.stdout
    assert "-none is neither a run nor a folder of runs" in lit_cnn("compare", arms[0], "--", "-none").stderr


def test_spread_by_source_has_a_table(lit_cnn: Command, arms: list[Path], tmp_path: Path):
    fixed = {"data.seed": 0, "data.split_seed": 0}
    write_arm(tmp_path / "initialisation", [0.5, 0.6, 0.7], settings=fixed)
    done = lit_cnn("compare", "initialisation", arms[0])
    assert done.stderr == ""
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[rows.index("sd by initialisation") + 1 :][:2] == ["initialisation 10.00", "slow -"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "needs at least two arms, got 1"),
        (["none", "none"], "none is neither a run nor a folder of runs: it does not exist"),
        (["a", "b", "--margin", "-1"], "margin must be positive, got -1"),
        (["a", "b", "--differ", "lr"], "the arms do not differ in lr; they differ in model.lr"),
        (["a", "b", "--split", "train"], "invalid choice: 'train'"),
        (["a", "b", "--output", "page.txt"], "--output page.txt is no name of a page: name a file that ends with .html"),
        (["a", "b", "--output", "none/page.html"], "there is no folder for the output none/page.html"),
        (["a", "b", "--outptu", "x"], "unknown option --outptu"),
    ],
)
def test_mistakes_end_in_one_line(lit_cnn: Command, tmp_path: Path, words: list[str], message: str):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", settings={"model.lr": 0.1})
    done = lit_cnn("compare", *words)
    assert done.returncode != 0
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_runs_that_were_trained_are_compared(lit_cnn: Command, tmp_path: Path):
    recipe = ROOT / "experiments" / "digits" / "lenet.yaml"
    for name, seed, lr in (("a0", 0, 0.02), ("a1", 1, 0.02), ("b", 0, 0.05)):
        settings = ["--seed_everything", str(seed), "--model.lr", str(lr), "--trainer.max_epochs", "1", "--name", name]
        assert lit_cnn("fit", "--config", recipe, *settings).returncode == 0
    runs = tmp_path / "runs" / "digits" / "lenet"
    done = lit_cnn("compare", runs / "a0", runs / "b", runs / "a1", "--format", "json")
    content = json.loads(done.stdout)
    assert content["split"] == "val"
    assert [pair["seeds"] for pair in content["pairs"]] == [["0"], []]
    assert [difference["setting"] for difference in content["fairness"]["differences"]] == ["model.lr"]
    assert [budget["rates"] for budget in content["fairness"]["budgets"]] == [2, 2, 2]
    assert [budget["multiply_adds"] for budget in content["fairness"]["budgets"]] == [40 * 32 * 416520] * 3
    refused = lit_cnn("compare", runs, runs / "b")
    assert "is no arm: its runs differ in model.lr; compare" in refused.stderr


@pytest.mark.slow
def test_arms_are_compared_without_torch(arms: list[Path]):
    program = f"""
import sys
from lit_cnn.__main__ import run
run(["compare", *{list(map(str, arms))!r}])
assert "torch" not in sys.modules
"""
    # Networks of other sizes than the catalogue's are counted with torch: these have ten classes.
    for folder in arms:
        for path in folder.glob("*/data.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(content | {"classes": list("0123456789")}), encoding="utf-8")
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_names_of_settings_keep_a_part_of_each():
    long, other = "optimizer_args={'momentum': 0.95}, lr=0.1", "optimizer_args={'momentum': 0.95}, lr=0.2"
    shown = name_arms([long, other, "plain"], 28)
    assert [name[-8:] for name in shown.values()] == [", lr=0.1", ", lr=0.2", "plain"]
    assert all(len(name) <= 28 for name in shown.values())
    assert len(set(name_arms([long, long.replace("95", "90")], 28).values())) == 2
