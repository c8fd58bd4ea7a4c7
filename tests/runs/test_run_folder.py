"""Folders of runs: made, found, listed, summarised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_cnn.runs.folder import Run
from lit_cnn.runs.ledger import ImageSet, Ledger
from lit_cnn.runs.lock import HOLDER, LOCK, RunLock
from lit_cnn.runs.search import find_run, list_runs, run_of_checkpoint
from lit_cnn.runs.summary import summarise


def write_run(folder: Path, time: str = "2026-01-01T10:00:00+00:00", **environment: Any) -> Run:
    """A run's folder with the two files that make it one."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("{}")
    (folder / "environment.json").write_text(json.dumps({"format": 1, "version": "0.1.0", "time": time, **environment}))
    return Run(folder)


def test_two_runs_never_share_a_folder(tmp_path: Path):
    runs = [Run.create(tmp_path, "digits", "lenet").path for _ in range(50)]
    assert len(set(runs)) == 50
    assert all(path.parent == tmp_path / "digits" / "lenet" for path in runs)


def test_a_run_stays_below_its_root_whatever_the_names(tmp_path: Path):
    run = Run.create(tmp_path, "../../etc", "/abs/../x y")
    assert run.path.resolve().is_relative_to(tmp_path.resolve())
    assert len(run.path.relative_to(tmp_path).parts) == 3


def test_runs_of_several_seeds_have_one_more_folder(tmp_path: Path):
    run = Run.of_seed(tmp_path, "my photos", "lenet", "a, lr=0.1", 3)
    assert run.path == tmp_path / "my_photos/lenet/a, lr=0.1/seed-3"
    assert not run.path.exists()
    write_run(run.path, dataset="my photos", variant="lenet")
    assert run.root == tmp_path
    plain = write_run(tmp_path / "my_photos/lenet/seed-4", dataset="my photos", variant="lenet")
    assert plain.root == tmp_path
    write_run(tmp_path / "my_photos/lenet/a, lr=0.1/other")
    assert {found.path for found in list_runs(tmp_path)} == {run.path, plain.path}
    with pytest.raises(ValueError, match="the name of a run must be letters, digits"):
        Run.of_seed(tmp_path, "my photos", "lenet", "../a", 3)


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path):
    (tmp_path / "other").touch()
    for run in (Run.create(tmp_path / "runs", "d", "v", "n"), Run.of_seed(tmp_path / "runs", "d", "v", "n", 0)):
        run.path.mkdir(parents=True, exist_ok=True)
        run.discard_unless_begun()
        assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no config\.yaml"):
        Run.open(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        Run.open(tmp_path / "none")


def test_results_are_added_to_not_lost(tmp_path: Path):
    run = Run(tmp_path)
    run.add_results({"val/acc": 0.5, "seconds": 1.0})
    run.add_results({"val/acc": 0.6, "test/acc": 0.4})
    assert json.loads(run.results.read_text()) == {"val/acc": 0.6, "seconds": 1.0, "test/acc": 0.4}
    run.add_results({"val/acc": 0.7}, without=("test/", "other"))
    assert json.loads(run.results.read_text()) == {"val/acc": 0.7, "seconds": 1.0}
    assert [run.enter_look("checkpoints/best.ckpt", {"test/acc": 0.4}).by_run for _ in range(2)] == [1, 2]


# Identity


def test_results_that_are_added_at_the_same_time_are_all_there(tmp_path: Path):
    names = [str(number) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: Run(tmp_path).add_results({name: 1}), names))
    assert Run(tmp_path).read_results() == dict.fromkeys(names, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("limit", ["", "null", "1.0", "1", "0.5"])
def test_the_command_of_an_evaluation_takes_all_images(tmp_path: Path, limit: str):
    run, options = write_run(tmp_path / "run"), " --trainer.limit_val_batches 1.0" if limit in ("1", "0.5") else ""
    run.config.write_text(f"trainer:\n  max_epochs: 1\n  limit_val_batches: {limit}\n" if limit else "{}")
    assert run.evaluation_command("val") == f"lit-cnn validate --run {run.path}{options}"
    assert run.evaluation_command("test") == f"lit-cnn test --run {run.path}"


def test_a_run_keeps_its_identity(tmp_path: Path):
    runs = [Run.create(tmp_path, "digits", "lenet") for _ in range(2)]
    assert runs[0].id is None
    for run in (*runs, runs[0]):
        before = run.id
        run.write_environment("cpu", "32-true", 1, "digits", "lenet")
        assert before in (None, run.id)
    assert runs[0].id != runs[1].id
    runs[0].path.rename(tmp_path / "moved")
    assert Run(tmp_path / "moved").id not in (None, runs[1].id)


def save_checkpoint(path: Path, run: Run | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, **({"lit_cnn_run": run.id} if run else {})}, path)
    return path


def test_a_checkpoint_finds_its_run(tmp_path: Path):
    one, two = (write_run(tmp_path / "runs/digits/lenet" / name, id=name) for name in ("one", "two"))
    best = save_checkpoint(one.best, one)
    assert run_of_checkpoint(best).path == one.path
    copy = save_checkpoint(tmp_path / "copy.ckpt", one)
    assert run_of_checkpoint(copy, tmp_path / "runs").path == one.path
    assert run_of_checkpoint(copy, tmp_path / "none") is None
    assert run_of_checkpoint(copy, tmp_path / "none", [two, one]).path == one.path
    inside = save_checkpoint(one.path / "kept" / "third.ckpt", one)
    assert run_of_checkpoint(inside, tmp_path / "none").path == one.path
    # Another run's checkpoint, put into a run's folder.
    foreign = save_checkpoint(two.best, one)
    assert run_of_checkpoint(foreign, tmp_path / "runs").path == one.path
    assert run_of_checkpoint(foreign, tmp_path / "none") is None


def test_a_checkpoint_that_does_not_name_its_run_belongs_to_the_folder(tmp_path: Path):
    run = write_run(tmp_path / "runs/digits/lenet/one", id="one")
    assert run_of_checkpoint(save_checkpoint(run.last, None)).path == run.path
    assert run_of_checkpoint(save_checkpoint(tmp_path / "copy.ckpt", None), tmp_path / "runs") is None


# Ledgers

DIGITS = ImageSet("digits", "1a2b")


def make_run(root: Path, name: str) -> Run:
    return write_run(root / "digits/lenet" / name, id=name, dataset="digits", variant="lenet")


def test_looks_are_counted_by_run_and_by_images(tmp_path: Path):
    one, two = (make_run(tmp_path, name) for name in ("one", "two"))
    best = "checkpoints/best.ckpt", {"test/acc": 0.5}
    assert one.enter_look(*best, DIGITS, epoch=3, step=40).in_total == 1
    one.enter_look(*best, ImageSet("mnist", "ffff"))
    looks = two.enter_look(*best, DIGITS)
    assert (looks.by_run, looks.in_total, looks.num_runs, looks.ledger) == (1, 2, 2, tmp_path / "ledger.jsonl")
    looks = one.enter_look(*best, ImageSet("same images by another name", "1a2b"))
    assert (looks.by_run, looks.in_total, looks.num_runs) == (2, 3, 2)
    assert str(looks) == f"2 by this run; look 3 at these test images, by 2 runs ({tmp_path}/ledger.jsonl)"
    first = json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[0])
    assert first.pop("time")
    assert first == {
        **{"run": "one", "path": "digits/lenet/one", "checkpoint": "checkpoints/best.ckpt", "epoch": 3, "step": 40},
        **{"data": "digits", "digest": "1a2b", "test/acc": 0.5},
    }
    assert [run.path.name for run in list_runs(tmp_path)] != []


def test_looks_of_a_removed_run_stay(tmp_path: Path):
    one, two = (make_run(tmp_path, name) for name in ("one", "two"))
    one.enter_look(None, {}, DIGITS)
    shutil.rmtree(one.path)
    assert two.enter_look(None, {}, DIGITS).in_total == 2


def test_without_a_digest_the_name_of_the_dataset_counts(tmp_path: Path):
    run = make_run(tmp_path, "one")
    run.enter_look(None, {}, DIGITS)
    run.enter_look(None, {}, ImageSet("mnist"))
    assert run.enter_look(None, {}, ImageSet("digits")).in_total == 2


def test_a_run_in_a_folder_of_ones_own_shares_the_ledger_above_it(tmp_path: Path):
    run = write_run(tmp_path / "jobs" / "17", id="17", dataset="digits", variant="lenet")
    assert run.enter_look(None, {}, DIGITS).ledger == tmp_path / "jobs" / "ledger.jsonl"


def test_a_line_that_was_not_written_to_its_end_disturbs_nothing(tmp_path: Path):
    run = make_run(tmp_path, "one")
    run.enter_look(None, {}, DIGITS)
    for ledger in (run.ledger.path, tmp_path / "ledger.jsonl"):
        with ledger.open("a") as file:
            file.write('{"time": "2026-01')
    looks = run.enter_look(None, {}, DIGITS)
    assert (looks.by_run, looks.in_total, len(run.ledger)) == (2, 2, 2)


def test_several_processes_enter_every_look(tmp_path: Path):
    program = f"""
from pathlib import Path
from lit_cnn.runs.ledger import Ledger
for number in range(100):
    Ledger(Path({str(tmp_path / "ledger.jsonl")!r})).enter({{"number": number, "filler": "x" * 5000}})
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(Ledger(tmp_path / "ledger.jsonl")) == 300


# Names


def test_a_run_may_have_a_free_name(tmp_path: Path):
    assert Run.create(tmp_path, "digits", "lenet", "first try, lr=0.1").path == tmp_path / "digits/lenet/first try, lr=0.1"
    with pytest.raises(ValueError, match=r"first try, lr=0\.1 exists already") as refused:
        Run.create(tmp_path, "digits", "lenet", "first try, lr=0.1")
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_that_a_killed_run_or_a_study_has_is_refused(tmp_path: Path):
    killed = Run.create(tmp_path, "digits", "lenet", "killed")
    lock = RunLock(killed.path)
    with pytest.raises(ValueError, match="killed exists already: choose another name, or resume that run"):
        Run.create(tmp_path, "digits", "lenet", "killed")
    lock.release()
    for name in (LOCK, HOLDER):
        (killed.path / name).touch()
    with pytest.raises(ValueError, match="killed exists already: it holds no run: remove it, or choose another name"):
        Run.create(tmp_path, "digits", "lenet", "killed")
    write_run(Run.of_seed(tmp_path, "digits", "lenet", "study", 3).path)
    with pytest.raises(ValueError, match="study exists already: choose another name, or resume that run"):
        Run.create(tmp_path, "digits", "lenet", "study")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/a", "a\\b", "a\nb", " a", "a ", "-a", ".a", "a" * 101])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="the name of a run must be letters, digits") as refused:
        Run.create(tmp_path, "digits", "lenet", name)
    assert len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


# Finding


def test_a_run_is_found_by_its_folder_its_configuration_and_as_the_latest(tmp_path: Path):
    old = write_run(tmp_path / "runs/digits/lenet/b", "2026-01-01T10:00:00+00:00")
    new = write_run(tmp_path / "runs/photos/resnet18/a", "2026-01-02T10:00:00+00:00")
    for given in (old.path, str(old.path), f"{old.path}/", old.config):
        assert find_run(given).path == old.path
    assert find_run("latest", tmp_path / "runs").path == new.path


def test_what_is_no_run_is_not_found(tmp_path: Path):
    with pytest.raises(ValueError, match="none is not a run folder: it does not exist"):
        find_run(tmp_path / "none")
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=f"there is no latest run: {root} holds no run yet"):
            find_run("latest", root)


def test_runs_are_listed_newest_first_and_nothing_else(tmp_path: Path):
    names = {"digits/lenet/1": "2026-01-01T10:00:00+00:00", "of_a_job": "2026-01-03T10:00:00+00:00"}
    names |= {"photos/resnet18/named": "2026-01-02T10:00:00+00:00"}
    for name, begun in names.items():
        write_run(tmp_path / name, begun)
    (tmp_path / "digits/lenet/empty").mkdir()
    (tmp_path / "digits/lenet/1/checkpoints").mkdir()
    (tmp_path / "a_file").touch()
    write_run(tmp_path / "damaged").environment.write_text("{")
    write_run(tmp_path / "a/b/c/too_deep")
    found = [run.path.relative_to(tmp_path).as_posix() for run in list_runs(tmp_path)]
    assert found == ["of_a_job", "photos/resnet18/named", "digits/lenet/1"]
    assert list_runs(tmp_path / "none") == []


def test_thousands_of_runs_are_listed_quickly(tmp_path: Path):
    for number in range(2000):
        write_run(tmp_path / f"digits/lenet/{number}")
    began = time.perf_counter()
    assert len(list_runs(tmp_path)) == 2000
    assert time.perf_counter() - began < 3


def test_folders_are_read_without_torch():
    program = """
import sys
from lit_cnn.runs.folder import Run
from lit_cnn.runs.search import find_run, list_runs, run_of_checkpoint
print([name for name in ("torch", "pytorch_lightning", "numpy", "yaml") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Summaries


def test_a_summary_has_the_facts_of_a_run(tmp_path: Path):
    run = write_run(tmp_path / "digits/lenet/1", dataset="digits", variant="lenet_bn")
    run.write_metrics([{"epoch": 0, "val/acc": 0.5}, {"epoch": 1}, {"epoch": 2, "val/acc": 0.4}])
    facts = summarise(run)
    assert (facts.path, facts.dataset, facts.variant) == (run.path, "digits", "lenet_bn")
    assert (facts.epochs, facts.val_acc, facts.test_acc, facts.looks) == (3, 0.5, None, 0)
    assert facts.date == datetime(2026, 1, 1, 10, tzinfo=UTC)
    run.add_results({"val/acc": 0.6, "test/acc": 0.55, "seconds": 3.0})
    run.enter_look("checkpoints/best.ckpt", {"test/acc": 0.55})
    run.checkpoints.mkdir()
    run.best.write_bytes(bytes(1000))
    facts = summarise(run)
    assert (facts.val_acc, facts.test_acc, facts.looks) == (0.6, 0.55, 1)
    assert facts.num_bytes == sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()) > 1000


def test_a_summary_of_a_run_whose_folders_change_meanwhile_has_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_run(tmp_path / "digits/lenet/1", dataset="digits")
    size = summarise(run).num_bytes
    vanishing = run.path / ".export-1.partial"
    vanishing.mkdir()
    (vanishing / "model.onnx").write_bytes(bytes(1000))
    scandir = os.scandir

    def removing(folder: str | Path) -> object:
        if Path(folder) == vanishing:
            vanishing.rename(tmp_path / "removed")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removing)
    facts = summarise(run)
    assert (facts.dataset, facts.num_bytes) == ("digits", size)


def test_a_summary_of_a_finished_run_that_is_trained_further_has_the_best_epoch_so_far(tmp_path: Path):
    run = write_run(tmp_path / "1")
    run.add_results({"val/acc": 0.6, "seconds": 3.0})
    rows = [{"epoch": 0, "val/acc": 0.6, "seconds": 3.0}, {"epoch": 1, "val/acc": 0.8, "seconds": 6.0}]
    run.write_metrics(rows[:1])
    assert summarise(run).val_acc == 0.6
    run.write_metrics(rows)
    assert summarise(run).val_acc == 0.8


def test_a_summary_of_a_bare_or_damaged_run_has_gaps(tmp_path: Path):
    run = write_run(tmp_path / "1")
    run.results.write_text("{")
    facts = summarise(run)
    assert (facts.dataset, facts.epochs, facts.val_acc, facts.test_acc) == (None, 0, None, None)


# Format


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"format": 2, "version": "9.1.0"},
            r"has format 2, written by lit-cnn 9\.1\.0; lit-cnn 0\.1\.0 reads up to format 1",
        ),
        ({"format": None}, "has no format number: it was written before lit-cnn's first release"),
    ],
)
def test_a_run_of_another_format_is_refused(tmp_path: Path, environment: dict[str, Any], message: str):
    run = write_run(tmp_path / "1", **environment)
    run.checkpoints.mkdir()
    run.best.touch()
    for way in (Run.open, find_run, lambda path: run_of_checkpoint(path / "checkpoints/best.ckpt")):
        with pytest.raises(ValueError, match=rf"1/environment\.json {message}") as refused:
            way(run.path)
        assert len(str(refused.value).splitlines()) == 1


def test_a_damaged_environment_is_named(tmp_path: Path):
    run = write_run(tmp_path / "1")
    run.environment.write_text("{")
    with pytest.raises(ValueError, match=r"environment\.json is damaged"):
        Run.open(run.path)


def test_an_environment_says_format_and_version_also_when_a_run_is_resumed(tmp_path: Path):
    run = Run(tmp_path)
    for _ in range(2):
        run.write_environment("cpu", "32-true", 1, "digits", "lenet")
    environment = run.read_environment()
    assert (environment["format"], environment["version"]) == (1, "0.1.0")
    assert (environment["dataset"], environment["variant"]) == ("digits", "lenet")
    assert [earlier["format"] for earlier in environment["earlier"]] == [1]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("results.json", "null"),
        ("results.json", "{"),
        ("environment.json", '{"format": 1, "time": 5}'),
        ("environment.json", '{"format": 1, "time": "yesterday"}'),
        ("metrics.csv", "epoch,val/acc\n0,high\n"),
        ("ledger.jsonl", b"\xff\n"),
    ],
    ids=str,
)
def test_a_damaged_run_is_listed_all_the_same(tmp_path: Path, file: str, content: str | bytes):
    run = Run.create(tmp_path, "digits", "lenet")
    (run.path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    facts = summarise(run)
    assert facts.path == run.path
    assert facts.val_acc is None
    assert facts.date is None
