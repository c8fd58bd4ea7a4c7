"""Which folders are arms, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_arm, write_run

from lit_cnn.analysis.arms import read_arm, read_arms
from lit_cnn.runs.folder import Run
from lit_cnn.runs.lock import RunLock


def refusal(*paths: Path) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        read_arms(paths)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


def test_an_arm_is_a_run_or_a_folder_of_runs(tmp_path: Path):
    folder = write_arm(tmp_path / "lenet", [0.5, 0.6, 0.7])
    arm = read_arm(folder)
    assert [run.value("test", "acc") for run in arm.runs] == [0.5, 0.6, 0.7]
    assert list(map(str, arm.by_seed)) == ["0", "1", "2"]
    for one in (folder / "seed-1", folder / "seed-1" / "config.yaml"):
        assert [run.path for run in read_arm(one).runs] == [folder / "seed-1"]
    # The folder of a recipe, above that of its study.
    assert [run.path for run in read_arm(tmp_path).runs] == [run.path for run in arm.runs]


def test_runs_of_other_settings_are_no_arm(tmp_path: Path):
    write_arm(tmp_path / "lenet" / "slow", [0.5, 0.5])
    write_arm(tmp_path / "lenet" / "fast", [0.5, 0.5], settings={"model.lr": 0.1, "trainer.max_epochs": 1})
    message = refusal(tmp_path / "lenet", tmp_path / "lenet" / "fast")
    assert "lenet is no arm: its runs differ in trainer.max_epochs, model.lr; compare " in message
    assert message.endswith(f"compare {tmp_path}/lenet/fast, {tmp_path}/lenet/slow")


def test_trainings_of_five_minutes_and_of_an_hour_are_no_arm(tmp_path: Path):
    for seed, time in enumerate(["00:00:05:00", "00:01:00:00"]):
        write_run(tmp_path / "lenet" / str(seed), seed, settings={"trainer.max_time": time})
    assert "lenet is no arm: its runs differ in trainer.max_time; compare " in refusal(tmp_path / "lenet")


def test_settings_that_cannot_change_the_training_make_no_other_arm(tmp_path: Path):
    write_run(tmp_path / "a", 0)
    write_run(tmp_path / "b", 1, settings={"threads": 4, "trainer.log_every_n_steps": 3, "data.num_workers": 2})
    assert len(read_arm(tmp_path).runs) == 2


def test_a_seed_that_occurs_twice_is_refused(tmp_path: Path):
    for name in "ab":
        write_run(tmp_path / "lenet" / name)
    folder = tmp_path / "lenet"
    assert refusal(folder, folder) == f"{folder} holds two runs of seed 0, {folder}/a and {folder}/b: keep one in it"


def test_an_unfinished_run_is_refused_with_the_command_that_completes_it(tmp_path: Path):
    folder = write_arm(tmp_path / "lenet", [0.5, 0.6])
    run = write_run(folder / "seed-2", 2, epochs=1)
    expected = f"{run.path} is unfinished: it has 1 of 2 epochs; lit-cnn resume {run.path} completes it"
    assert refusal(folder, folder) == expected
    run.results.unlink()
    assert "is unfinished: it has no results.json; lit-cnn resume" in refusal(folder, folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"trainer.max_steps": 10},
        {"trainer.max_time": "00:00:10:00"},
        {"trainer.callbacks": [{"class_path": "pytorch_lightning.callbacks.EarlyStopping"}]},
        {"trainer.callbacks": [{"class_path": "pytorch_lightning.callbacks.Timer"}]},
        {"trainer.max_epochs": -1},
    ],
)
def test_a_training_that_its_settings_ended_is_finished(tmp_path: Path, settings: dict[str, Any]):
    assert read_arm(write_run(tmp_path / "a", epochs=1, settings=settings).path).runs


@pytest.mark.parametrize("settings", [{"early_stopping": 3}, {"trainer.max_time": "00:00:10:00"}])
def test_a_finished_run_that_was_resumed_and_stopped_is_unfinished(tmp_path: Path, settings: dict[str, Any]):
    run = write_run(tmp_path / "a", settings={"trainer.max_epochs": 9, **settings})
    rows = [{**row, "seconds": 1.5 * (number + 1)} for number, row in enumerate(run.read_metrics())]
    run.write_metrics(rows)
    assert read_arm(run.path).runs
    run.write_metrics([*rows, {**rows[-1], "epoch": 2, "step": 30, "seconds": 4.5}])
    expected = f"{run.path} is unfinished: its training did not come to its end; lit-cnn resume {run.path} completes it"
    assert refusal(run.path) == expected


def test_a_run_that_is_being_trained_is_refused(tmp_path: Path):
    run = write_run(tmp_path / "a")
    lock = RunLock(run.path)
    try:
        assert "is being trained by process" in refusal(run.path)
    finally:
        lock.release()
    assert read_arm(run.path)


@pytest.mark.parametrize("name", ["environment.json", "config.yaml", "results.json"])
def test_a_damaged_run_is_not_left_out_in_silence(tmp_path: Path, name: str):
    folder = write_arm(tmp_path / "lenet", [0.5, 0.6, 0.7])
    (folder / "seed-1" / name).write_text("{", encoding="utf-8")
    message = refusal(folder)
    assert "damaged" in message
    assert "seed-1" in message


def test_what_is_no_run_is_refused(tmp_path: Path):
    assert "does not exist" in refusal(tmp_path / "none")
    assert "holds no run" in refusal(tmp_path)
    (tmp_path / "file").touch()
    assert "it is a file" in refusal(tmp_path / "file")
    run = write_run(tmp_path / "lenet" / "a").path
    assert f"both hold the run {run}" in refusal(run, run.parent)


# Names


def test_names_are_as_short_as_possible(tmp_path: Path):
    def names(*folders: str) -> list[str]:
        return [arm.name for arm in read_arms(tmp_path / folder for folder in folders)]

    for folder in ("digits/lenet/a", "digits/vgg/a", "digits/vgg/b"):
        write_run(tmp_path / folder)
    assert names("digits/lenet", "digits/vgg/a") == ["lenet", "a"]
    assert names("digits/lenet/a", "digits/vgg/a", "digits/vgg/b") == ["lenet/a", "vgg/a", "b"]


def test_arms_whose_folders_nobody_named_are_called_by_what_differs(tmp_path: Path):
    folders = [tmp_path / "lenet" / name for name in ("seeds-0a1b2c3d", "seeds-11112222", "seeds-44445555")]
    for folder, lr in zip(folders, (0.02, 0.1, 0.5), strict=True):
        write_arm(folder, [0.5], settings={"model.lr": lr})
    assert [arm.name for arm in read_arms(folders)] == ["lr=0.02", "lr=0.1", "lr=0.5"]
    assert [dict(arm.settings) for arm in read_arms(folders)] == [{"model.lr": lr} for lr in (0.02, 0.1, 0.5)]
    bn = write_arm(tmp_path / "vgg" / "seeds-0a1b2c3d", [0.5], settings={"model.variant": "lenet_bn", "model.lr": 0.02})
    assert [arm.name for arm in read_arms([folders[0], bn])] == ["lenet", "lenet_bn"]


# Files of a run


def test_a_study_without_all_of_its_seeds_is_refused(tmp_path: Path):
    folder = write_arm(tmp_path / "lenet" / "study", [0.5, 0.6])
    study = folder / "study.json"
    study.write_text('{"seeds": [0, 1]}', encoding="utf-8")
    assert len(read_arm(folder).runs) == 2
    study.write_text('{"seeds": [0, 1, 2]}', encoding="utf-8")
    assert refusal(tmp_path) == f"{folder} lacks seed-2 of its study: repeat the fit command that began it"
    study.write_text("{", encoding="utf-8")
    assert f"{study} is damaged" in refusal(folder)


def test_a_run_that_diverged_has_no_mean(tmp_path: Path):
    folder = write_arm(tmp_path / "lenet", [0.5, 0.6])
    run = Run(folder / "seed-1")
    run.add_results({"diverged": "the loss is nan in step 3"})
    assert refusal(folder) == (
        f"{run.path} diverged (the loss is nan in step 3): an arm with such a run has no mean; lower its rate"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("results.json", '{"val/acc": "x"}'),
        ("results.json", "[]"),
        ("data.json", '{"classes": 3}'),
        ("metrics.csv", "epoch,step,val/acc\n0,10,0.5\n1,20"),
        ("metrics.csv", "epoch,step,val/acc\n0,10,high\n"),
        ("metrics.csv", "a\n1\n"),
        ("metrics.csv", "epoch,step,val/acc\n0,10,0.5,7\n"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str):
    run = write_run(tmp_path / "a")
    (run.path / name).write_text(text, encoding="utf-8")
    assert refusal(run.path) == f"{run.path / name} is damaged: train the run again"


def test_values_are_those_of_the_best_validation(tmp_path: Path):
    run = write_run(tmp_path / "a")
    rows = [(0.5, 3.0), (0.7, 2.0), (0.7, 1.0), (0.6, 0.5)]
    run.write_metrics({"epoch": n, "step": n + 1, "val/acc": acc, "val/loss": loss} for n, (acc, loss) in enumerate(rows))
    assert read_arm(run.path).runs[0].value("val", "loss") == 1.0
    run.add_results({"val/loss": 1.5})
    assert read_arm(run.path).runs[0].value("val", "loss") == 1.5


@pytest.mark.parametrize(("monitor", "loss"), [("val/loss", 0.4), ("last", 0.5)])
def test_values_are_those_of_the_epoch_that_the_monitor_chose(tmp_path: Path, monitor: str, loss: float):
    run = write_run(tmp_path / "a", settings={"monitor": monitor})
    rows = [(0.7, 2.0), (0.6, 0.4), (0.5, 0.5)]
    run.write_metrics({"epoch": n, "step": n + 1, "val/acc": acc, "val/loss": loss} for n, (acc, loss) in enumerate(rows))
    assert read_arm(run.path).runs[0].value("val", "loss") == loss


def test_reading_writes_nothing(tmp_path: Path):
    run = write_run(tmp_path / "a")
    (run.path / ".lock").touch()
    before = {path: path.stat().st_mtime_ns for path in (run.path, *run.path.iterdir())}
    assert read_arm(run.path).runs
    assert {path: path.stat().st_mtime_ns for path in (run.path, *run.path.iterdir())} == before
