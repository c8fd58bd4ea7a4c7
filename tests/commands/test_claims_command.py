"""``lit-cnn claims``: the list, a run, a claim with its numbers; one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from claim_files import CONTENT, QUESTION, entry, finish, in_this_process, write_claim
from conftest import ROOT, Command

from lit_cnn.claims import run as running
from lit_cnn.claims.results import Results
from lit_cnn.claims.study import RESULTS, read_claims


def rows(output: str) -> list[str]:
    return [" ".join(line.split()) for line in output.splitlines()]


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    write_claim(tmp_path / "experiments")
    return tmp_path / "experiments"


@pytest.fixture
def finished(experiments: Path) -> Results:
    """A study whose cells are all trained, in which BatchNorm gains nine points."""
    results = Results.read(experiments, write_claim(experiments, seeds=[0, 1, 2], notes="So it is."))
    finish(results, lambda cell: entry(50.0 + 9 * (cell.arm == "batch") * (1 + cell.seed / 90) + cell.rate, planned=60))
    results.verdict, results.digests = results.decide().value, [{"digest": results.claim.digest}]
    results.write()
    return results


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "start_workers", in_this_process)


def test_all_29_claims_are_listed(lit_cnn: Command):
    done = lit_cnn("claims")
    assert (done.returncode, done.stderr) == (0, "")
    lines = rows(done.stdout)
    assert lines[0] == "claim verdict decided by statement"
    claims = read_claims(ROOT / "experiments")
    numbers = [int(line.split()[0]) for line in lines[1:30]]
    assert numbers == [claim.number for claim in claims] == list(range(1, 30))
    assert lines[28].startswith("28 supported an exact check The custom initialisation draws")
    assert "CIFAR-10 as JPEG copy, 5 seeds ReLU trains" in lines[1]


@pytest.mark.usefixtures("finished")
def test_the_list_has_verdicts_and_tells_of_changed_files(lit_cnn: Command, experiments: Path):
    write_claim(experiments, "02_it_harms", number=2, statement="BatchNorm harms.")
    assert rows(lit_cnn("claims").stdout)[1:] == [
        "1 supported digits, 3 seeds BatchNorm helps.",
        "2 not yet run digits, 2 seeds BatchNorm harms.",
    ]
    write_claim(experiments, seeds=[0, 1, 2], questions=[QUESTION | {"threshold": 5}])
    listed = rows(lit_cnn("claims", "list").stdout)
    assert listed[1] == "1 not yet run* digits, 3 seeds BatchNorm helps."
    assert listed[-1] == "* its file was changed: 1"


@pytest.mark.usefixtures("finished")
def test_a_claim_is_shown_with_arms_numbers_interval_and_verdict(lit_cnn: Command):
    done = lit_cnn("claims", "show", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout) == [
        "claim 1: BatchNorm helps.",
        "evidence: A paper.",
        "",
        "arm settings rate test_accuracy steps parameters",
        "plain - 0.1 50.10 50.10 -",
        "batch model.norm=batch 0.1 59.20 ± 0.10 59.20 ± 0.10 -",
        "test_accuracy: test accuracy in %; steps: steps to 20 % training error",
        "plain: its rate 0.1 is the highest of the grid; a higher one may be better",
        "batch: its rate 0.1 is the highest of the grid; a higher one may be better",
        "",
        "BatchNorm is better: supported (difference 9.10, 95 % interval 8.85 to 9.35; asked: above 0.00, margin 1.00)",
        "",
        "verdict: supported, digits, 60 training and 40 test images, 1 epoch, 3 seeds",
        "So it is.",
        "planned 1 min, used 0.017 min of one thread",
    ]


def test_a_changed_file_is_told(lit_cnn: Command, finished: Results, experiments: Path):
    write_claim(experiments, seeds=[0, 1, 2, 3])
    lines = rows(lit_cnn("claims", "show", "1").stdout)
    scale = "digits, 60 training and 40 test images, 1 epoch, 3 of 4 registered seeds"
    assert f"verdict: not yet run (its file was changed), {scale}" in lines
    assert "the file of this claim was changed after its first run" in lines
    assert lines[-1] == "2 trainings are missing; resume with: lit-cnn claims run 1"
    assert len(finished.cells) == 2 * 2 + 2 * 3


def test_a_claim_without_results_says_how_to_run_it(lit_cnn: Command, finished: Results):
    finished.path.unlink()
    assert rows(lit_cnn("claims", "show", "1").stdout)[-3:] == [
        "verdict: not yet run, digits, 60 training and 40 test images, 1 epoch, 3 seeds",
        "So it is.",
        "run it with: lit-cnn claims run 1",
    ]


@pytest.mark.usefixtures("at_once", "experiments")
def test_a_claim_is_run_resumed_and_entered_in_the_ledger(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("claims", "run", "1", "--seeds", "1", "--jobs", "1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = rows(done.stdout)
    assert lines[:2] == ["claim 1: BatchNorm helps.", "4 of 4 trainings to do: tune"]
    assert "2 of 2 trainings to do: study" in lines
    assert "BatchNorm is better: not yet run; one seed gives no interval over seeds" in lines
    again = rows(lit_cnn("claims", "run", "1").stdout)
    assert again[1] == "2 of 4 trainings to do: study"
    results = tmp_path / "experiments" / RESULTS / "01_batch_norm_helps.json"
    assert again[-1].endswith(f"s; results in {results.relative_to(tmp_path)}")
    assert len(json.loads(results.read_text(encoding="utf-8"))["cells"]) == 8
    assert len((tmp_path / "runs" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.usefixtures("experiments")
def test_a_quick_run_decides_and_writes_nothing(lit_cnn: Command, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    done = lit_cnn("claims", "run", "all", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    lines = rows(done.stdout)
    assert [line.partition(":")[0] for line in lines[:3]] == ["claim 1", "plain", "batch"]
    assert lines[3] == (
        "a quick run decides nothing: it trains each arm once, on 500 images for one epoch, and writes no results"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_an_exact_claim_is_decided_by_its_check(lit_cnn: Command, tmp_path: Path):
    folder = tmp_path / "experiments" / "claims"
    folder.mkdir(parents=True)
    text = (ROOT / "experiments" / "claims" / "28_custom_initialisation.yaml").read_text(encoding="utf-8")
    (folder / "28_custom_initialisation.yaml").write_text(text, encoding="utf-8")
    lines = rows(lit_cnn("claims", "run", "28").stdout)
    assert any(line.startswith("holds: ") for line in lines)
    assert "verdict: supported, an exact check" in lines


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "7"], "there is no claim 7; lit-cnn claims lists those from 1 to 1"),
        (["show", "one"], "expected the number of a claim, got one; lit-cnn claims lists them"),
        (["show"], "the following arguments are required: number"),
        (["run", "1", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["run", "1", "--seeds", "9"], "claim 1 has 2 seeds, got 9; more would have to be added to"),
        (["run", "1", "--jobs", "0"], "--jobs must be from 1 to "),
        (["run", "1", "--jobs", "999"], "--jobs must be from 1 to "),
        (["list", "--experiments", "nowhere"], "there are no claims in nowhere: change to the folder of lit_cnn, or name"),
        (["lists"], "unrecognized arguments: lists"),
    ],
)
@pytest.mark.usefixtures("experiments")
def test_wrong_options_end_in_one_line(lit_cnn: Command, arguments: list[str], message: str):
    done = lit_cnn("claims", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["run", "1"], ["run", "1", "--quick"]])
def test_missing_images_end_in_one_line(lit_cnn: Command, experiments: Path, arguments: list[str]):
    data = {"class_path": "ImageFolder", "init_args": {"data_dir": "photos.tar.xz"}}
    write_claim(experiments, recipe=CONTENT["recipe"] | {"data": data})
    done = lit_cnn("claims", *arguments, "--data_dir", "elsewhere")
    assert done.returncode == 2
    assert "elsewhere/photos.tar.xz does not exist" in done.stderr
    assert done.stderr.endswith("with --data_dir\n")
    assert done.stderr.count("\n") == 1


def test_damaged_files_end_in_one_line(lit_cnn: Command, experiments: Path, finished: Results):
    finished.path.write_text("{", encoding="utf-8")
    for arguments in (["list"], ["show", "1"], ["run", "1"]):
        done = lit_cnn("claims", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "01_batch_norm_helps.json is damaged" in done.stderr
    (experiments / "claims" / "01_batch_norm_helps.yaml").write_text("number: [", encoding="utf-8")
    done = lit_cnn("claims")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "01_batch_norm_helps.yaml is no claim: while parsing" in done.stderr


@pytest.mark.usefixtures("at_once")
def test_a_folder_that_cannot_be_written_ends_in_one_line(lit_cnn: Command, experiments: Path):
    (experiments / "results").write_text("", encoding="utf-8")
    done = lit_cnn("claims", "run", "1")
    assert done.returncode == 1
    assert "results" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("at_once", "experiments")
def test_an_error_of_a_process_ends_in_one_line(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> dict[str, Any]:
        raise ValueError("the images are damaged")

    monkeypatch.setattr(running, "run_cell", fail)
    done = lit_cnn("claims", "run", "1")
    assert (done.returncode, done.stderr) == (2, "lit-cnn: error: the images are damaged\n")


@pytest.mark.usefixtures("at_once", "experiments")
def test_ctrl_c_has_a_status_of_its_own(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_cell", interrupt)
    done = lit_cnn("claims", "run", "1")
    assert (done.returncode, done.stderr) == (130, "")
