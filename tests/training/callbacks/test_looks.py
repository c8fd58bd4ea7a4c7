"""Looks at test images are entered, with the weights and the data that they are of."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import write_fashion_mnist
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging

from lit_cnn.commands.evaluate import AVERAGED_WEIGHTS, CALLBACKS_NEEDED
from lit_cnn.data import MNIST, Digits, FashionMNIST
from lit_cnn.inference.loading import load_run
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.record import Recorder

MakeTrainer = Callable[..., Trainer]


def digits(**arguments: object) -> Digits:
    return Digits(image_size=28, batch_size=256, seed=0, **arguments)


def fit(make: MakeTrainer, run: Run, resume_from: Path | None = None, callbacks: tuple = (), **settings: object) -> Trainer:
    run.path.mkdir(parents=True, exist_ok=True)
    run.config.write_text("{}")
    callbacks = [*callbacks, Recorder(run), Best(run), Last(run)]
    fitted = make(callbacks=callbacks, enable_checkpointing=True, **settings)
    model = LitLeNet(lr=0.1, schedule="constant")
    fitted.fit(model, datamodule=digits(), ckpt_path=resume_from, weights_only=True)
    return fitted


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one run, trained for an epoch."""
    root = tmp_path_factory.mktemp("trained")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    fit(
        lambda **settings: Trainer(accelerator="cpu", max_epochs=1, **quiet, **settings), Run(root / "runs/digits/lenet/one")
    )
    return root


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of that run, below the current folder."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Run("runs/digits/lenet/one")


def evaluate(trainer: Trainer, data: object, checkpoint: Path | None, model: LightningModule | None = None) -> dict:
    model = model or LitLeNet()
    (scores,) = trainer.test(model, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    return scores


def write_mnist(folder: Path) -> Path:
    write_fashion_mnist(folder, 64, 20)
    (folder / "FashionMNIST").rename(folder / "MNIST")
    return folder


# Entered


def test_a_test_by_a_trainer_of_ones_own_is_entered(run: Run, trainer: MakeTrainer):
    scores = evaluate(trainer(), digits(), run.best)
    (entry,) = run.ledger.entries()
    assert (entry["run"], entry["checkpoint"], entry["data"]) == (run.id, "checkpoints/best.ckpt", "digits")
    assert (entry["epoch"], entry["step"]) == (0, 5)
    assert (entry["test/acc"], entry["test/images"]) == (scores["test/acc"], 360)
    assert [json.loads(line) for line in Path("runs/ledger.jsonl").read_text(encoding="utf-8").splitlines()] == [entry]
    results = run.read_results()
    assert (results["test/checkpoint"], results["test/data"], results["test/looks"]) == (
        "checkpoints/best.ckpt",
        "digits",
        1,
    )
    assert (results["val/checkpoint"], results["val/data"]) == ("checkpoints/best.ckpt", "digits")


def test_a_copied_checkpoint_finds_its_run(run: Run, trainer: MakeTrainer):
    shutil.copy(run.last, "copy.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", CALLBACKS_NEEDED, UserWarning)
        evaluate(trainer(), digits(), Path("copy.ckpt"))
    assert [entry["checkpoint"] for entry in run.ledger.entries()] == ["copy.ckpt"]


def test_a_copy_of_an_older_checkpoint_replaces_no_score(run: Run, trainer: MakeTrainer, tmp_path: Path):
    copy = tmp_path / "backup" / "best.ckpt"
    copy.parent.mkdir()
    shutil.copy(run.best, copy)
    fit(trainer, run, run.last, max_epochs=2)
    before, kept = run.read_results(), run.read_predictions("val")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", CALLBACKS_NEEDED, UserWarning)
        trainer().validate(LitLeNet(), digits(), copy, verbose=False, weights_only=True)
        evaluate(trainer(), digits(), copy)
    results = run.read_results()
    assert {name: value for name, value in results.items() if not name.startswith("test/")} == before
    assert run.read_predictions("val").step == kept.step > 5
    assert not run.predictions["test"].exists()
    assert (run.evaluation_folder("val", "best_step5") / "per_class.csv").is_file()


def test_no_checkpoint_names_a_folder_of_this_machine(run: Run, tmp_path: Path):
    for path in (run.best, run.last):
        content = torch.load(path, weights_only=True)
        content.pop("callbacks", None)  # Lightning's own callbacks name their files
        assert str(tmp_path.parent) not in str(content)


@pytest.mark.parametrize("way", ["load_run", "load_from_checkpoint"])
def test_weights_that_were_loaded_before_the_test_are_known(run: Run, trainer: MakeTrainer, way: str):
    if way == "load_run":
        model = load_run(run.best, device="cpu").classifier
    else:
        model = LitLeNet.load_from_checkpoint(run.best, weights_only=True)
    evaluate(trainer(), digits(), None, model)
    (entry,) = run.ledger.entries()
    assert (entry["checkpoint"], entry["step"]) == ("checkpoints/best.ckpt" if way == "load_run" else None, 5)


def test_a_limited_test_is_a_look_at_the_images_that_it_saw(run: Run, trainer: MakeTrainer):
    evaluate(trainer(limit_test_batches=1), digits(), run.best)
    evaluate(trainer(fast_dev_run=True, default_root_dir=None), digits(), run.best)
    assert [entry["test/images"] for entry in run.ledger.entries()] == [180, 180]


def test_an_interrupted_test_gave_no_scores(run: Run, trainer: MakeTrainer):
    class Stop(Callback):
        def on_test_batch_end(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        evaluate(trainer(callbacks=[Stop()]), digits(), run.best)
    assert run.ledger.entries() == []


@pytest.mark.parametrize("trained_here", [False, True])
def test_a_look_by_a_network_of_no_known_run_is_said(trainer: MakeTrainer, tmp_path: Path, trained_here: bool):
    ours, model = trainer(), LitLeNet()
    if trained_here:
        ours.fit(model, datamodule=digits())
    with pytest.warns(
        UserWarning, match="^this look at 360 test images of digits is in no ledger: the network belongs to no"
    ):
        evaluate(ours, digits(), None, model)
    ours.save_checkpoint(tmp_path / "saved.ckpt")
    with pytest.warns(UserWarning, match=r"in no ledger: \S*saved\.ckpt belongs to no known run$"):
        evaluate(trainer(), digits(), tmp_path / "saved.ckpt")


def test_weights_that_were_trained_further_are_not_those_of_the_checkpoint(run: Run, trainer: MakeTrainer):
    model = LitLeNet.load_from_checkpoint(run.best, weights_only=True)
    trainer().fit(model, datamodule=digits())
    with pytest.warns(UserWarning, match="is in no ledger: the network belongs to no known run"):
        evaluate(trainer(), digits(), None, model)


def test_a_ledger_that_cannot_be_written_is_said(run: Run, trainer: MakeTrainer):
    run.ledger.path.mkdir()
    with pytest.warns(UserWarning, match=r"is not entered completely: .*ledger\.jsonl"):
        evaluate(trainer(), digits(), run.best)


# Averaged weights


@pytest.mark.parametrize("name", ["best", "last"])
def test_averaged_weights_are_tested_after_training_as_later(trainer: MakeTrainer, tmp_path: Path, name: str):
    run = Run(tmp_path / "runs/digits/lenet/one")
    fitted = fit(trainer, run, callbacks=(EMAWeightAveraging(decay=0.9),), max_epochs=2)
    checkpoint = run.checkpoints / f"{name}.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", AVERAGED_WEIGHTS, UserWarning)
        after = evaluate(fitted, digits(), checkpoint, fitted.lightning_module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", CALLBACKS_NEEDED, UserWarning)
        later = evaluate(trainer(), digits(), checkpoint)
    assert after == pytest.approx(later, rel=1e-6)


# Other data


def test_another_dataset_of_the_same_classes_is_kept_apart(run: Run, trainer: MakeTrainer, tmp_path: Path):
    evaluate(trainer(), digits(), run.best)
    before, data = run.read_results(), MNIST(data_dir=write_mnist(tmp_path))
    said = "cross-dataset evaluation: the network was trained on digits, evaluated on mnist"
    with torch.no_grad(), pytest.warns(UserWarning, match=said):
        evaluate(trainer(), data, run.best)
    assert data.preprocessing.mean == Digits.mean  # that of the run
    results = run.read_results()
    assert {name: value for name, value in results.items() if name != "other_data"} == before
    assert results["other_data"]["mnist"]["test/images"] == 20
    assert results["other_data"]["mnist"]["test/data"] == "mnist"
    assert [entry["data"] for entry in run.ledger.entries()] == ["digits", "mnist"]


def test_a_network_that_was_trained_just_now_sees_other_data_as_its_own(trainer: MakeTrainer, tmp_path: Path):
    model, data = LitLeNet(), MNIST(data_dir=write_mnist(tmp_path))
    trainer().fit(model, datamodule=digits())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        evaluate(trainer(), data, None, model)
    said = "cross-dataset evaluation: the network was trained on digits, evaluated on mnist"
    assert said in [str(one.message) for one in warned]
    assert (data.preprocessing.mean, data.preprocessing.std) == (Digits.mean, Digits.std)
    write_fashion_mnist(tmp_path, 64, 20)
    with pytest.raises(ValueError, match="cannot be evaluated on fashion_mnist, whose classes differ"):
        evaluate(trainer(), FashionMNIST(data_dir=tmp_path, val_fraction=0.25), None, model)


class Flowers(LightningDataModule):
    """A user's own, which saves something of its own."""

    name = "flowers"

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        images = torch.utils.data.TensorDataset(torch.zeros(20, 1, 28, 28), torch.arange(20) % 10)
        return torch.utils.data.DataLoader(images, batch_size=10)

    test_dataloader = val_dataloader = train_dataloader

    def state_dict(self) -> dict[str, float]:
        return {"mean": 0.1}


def test_a_data_module_of_ones_own_stays_the_same_dataset(trainer: MakeTrainer):
    model, data = LitLeNet(), Flowers()
    ours = trainer()
    ours.fit(model, datamodule=data)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        evaluate(ours, data, None, model)
    assert not [one for one in warned if "cross-dataset" in str(one.message)]


def test_a_size_that_was_asked_for_is_that_of_another_dataset_too(run: Run, trainer: MakeTrainer, tmp_path: Path):
    data = MNIST(data_dir=write_mnist(tmp_path), image_size=30)
    with pytest.warns(UserWarning, match="was trained on digits at 28×28, evaluated on mnist at 30×30"):
        evaluate(trainer(), data, run.best)
    assert run.read_results()["other_data"].keys() == {"mnist at 30×30"}


def test_another_size_of_the_images_is_kept_apart(run: Run, trainer: MakeTrainer):
    evaluate(trainer(), digits(), run.best)
    before = run.read_results()
    with pytest.warns(UserWarning, match="the network was trained on images of 28×28, evaluated on 30×30"):
        evaluate(trainer(), Digits(image_size=30, seed=0), run.best)
    results = run.read_results()
    assert results.pop("other_data").keys() == {"digits at 30×30"}
    assert results == before


def test_a_test_of_some_images_replaces_no_score(run: Run, trainer: MakeTrainer):
    evaluate(trainer(), digits(), run.best)
    before = run.read_results()
    evaluate(trainer(limit_test_batches=1), digits(), run.best)
    results = run.read_results()
    (name,) = results.pop("other_data")
    assert re.fullmatch(r"digits, \d+ of 360 images", name)
    assert results == before


def test_loaders_without_their_data_module_are_not_the_data_of_the_run(run: Run, trainer: MakeTrainer):
    model, ours = LitLeNet(), trainer()
    evaluate(ours, digits(), run.best, model)
    before = run.read_results()
    images = torch.utils.data.TensorDataset(torch.zeros(10, 1, 28, 28), torch.arange(10))
    loader = torch.utils.data.DataLoader(images, batch_size=10)
    ours.test(model, dataloaders=loader, ckpt_path=run.best, verbose=False, weights_only=True)
    assert run.ledger.entries()[-1]["data"] is None
    results = run.read_results()
    assert results.pop("other_data")["unknown data"]["test/images"] == 10
    assert results == before


def test_other_classes_are_refused_before_anything_is_tested(run: Run, trainer: MakeTrainer, tmp_path: Path):
    write_fashion_mnist(tmp_path, 64, 20)
    data, model = (
        FashionMNIST(data_dir=tmp_path, val_fraction=0.25),
        LitLeNet.load_from_checkpoint(run.best, weights_only=True),
    )
    difference = (
        "cannot be evaluated on fashion_mnist, whose classes differ: class 0 is 0 in digits and T-shirt/top in fashion"
    )
    for checkpoint in (run.best, None):
        with pytest.raises(ValueError, match=difference):
            evaluate(trainer(), data, checkpoint, model)
        with pytest.raises(ValueError, match=difference):
            trainer().validate(model, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    assert run.ledger.entries() == []


def test_a_training_is_not_resumed_on_another_dataset(run: Run, trainer: MakeTrainer, tmp_path: Path):
    data = MNIST(data_dir=write_mnist(tmp_path), val_fraction=0.25)
    with pytest.raises(
        ValueError, match="a training on digits cannot be resumed on mnist: start a new run from its weights"
    ):
        trainer(max_epochs=2).fit(LitLeNet(), datamodule=data, ckpt_path=run.last, weights_only=True)


# A validation


def test_a_validation_of_all_images_replaces_the_scores_of_some(run: Run, trainer: MakeTrainer):
    run.add_results({"val/acc": 0.5, "val/images": 48, "val/of_some": 1})
    before = run.read_results()
    data = Digits(image_size=28, batch_size=64, seed=0)
    trainer(limit_val_batches=1).validate(LitLeNet(), data, run.best, verbose=False, weights_only=True)
    assert run.read_results() == before
    trainer().validate(LitLeNet(), data, run.best, verbose=False, weights_only=True)
    results, kept = run.read_results(), run.read_predictions("val")
    assert results["val/acc"] == pytest.approx(kept.correct.mean())
    assert (results["val/images"], results["val/checkpoint"]) == (144, "checkpoints/best.ckpt")
    assert (results["val/data"], results["val/digest"]) == ("digits", kept.digest)
    assert "val/of_some" not in results
    assert results["seconds"] == before["seconds"]
    assert len(run.ledger) == 0


def test_a_resumed_run_with_nothing_left_to_train_keeps_its_validation(run: Run, trainer: MakeTrainer):
    run.add_results({"val/acc": 0.5, "val/images": 1000})
    before = run.read_results()
    fit(trainer, run, run.last)
    assert {**run.read_results(), "seconds": before["seconds"]} == before


def test_a_validation_of_the_last_checkpoint_goes_when_a_resumed_run_trains(run: Run, trainer: MakeTrainer):
    class Killed(Callback):
        def on_train_epoch_end(self, *args: object) -> None:
            raise RuntimeError("killed")

    for has_results in (True, False):
        run.best.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", CALLBACKS_NEEDED, UserWarning)
            trainer().validate(LitLeNet(), digits(), run.last, verbose=False, weights_only=True)
        assert run.read_predictions("val").step == 5
        if not has_results:
            run.results.unlink()
        with pytest.raises(RuntimeError, match="killed"):
            fit(trainer, run, run.last, (Killed(),), max_epochs=2, limit_val_batches=0)
        assert not run.predictions["val"].exists()
        assert not {name for name in run.read_results() if name.startswith("val/")}


def test_a_best_checkpoint_of_a_part_that_was_lost_is_replaced(run: Run, trainer: MakeTrainer):
    """A kill lost the steps after last.ckpt, in which the best network was saved."""
    last, best = (torch.load(path, weights_only=True) for path in (run.last, run.best))
    (state,) = [state for key, state in last["callbacks"].items() if key.startswith("Best")]
    state["best_model_score"] = torch.tensor(0.999)
    torch.save(last, run.last)
    torch.save(best | {"global_step": 7}, run.best)
    fit(trainer, run, run.last, max_epochs=2)
    assert torch.load(run.best, weights_only=True)["global_step"] == 10
    assert run.read_results()["val/acc"] == pytest.approx(float(run.read_metrics()[-1]["val/acc"]))


# Another run


def test_a_new_run_from_a_checkpoint_of_another_reports_its_own(run: Run, trainer: MakeTrainer):
    content = torch.load(run.last, weights_only=True)
    (best,) = [state for key, state in content["callbacks"].items() if key.startswith("Best")]
    best["best_model_score"] = torch.tensor(0.999)
    (counts,) = [state for key, state in content["callbacks"].items() if key.startswith("Recorder")]
    counts |= {"images": 10**9, "seconds": 1.0, "wall_seconds": 10**6}
    torch.save(content, run.last)
    new = Run("runs/digits/lenet/two")
    fit(trainer, new, run.last, max_epochs=2)
    results, (row,) = new.read_results(), new.read_metrics()
    assert new.id != run.id
    assert torch.load(new.best, weights_only=True)["lit_cnn_run"] == new.id
    assert results["val/acc"] == pytest.approx(float(row["val/acc"]))
    assert results["seconds"] < 1000
    assert results["train/images_per_s"] < 10**8


def test_the_best_of_a_run_counts_only_while_it_is_there(run: Run, trainer: MakeTrainer):
    run.best.unlink()
    fit(trainer, run, run.last, max_epochs=2, limit_val_batches=0)
    assert not {name for name in run.read_results() if name.startswith("val/")}


def test_test_scores_go_when_a_resumed_run_trains(run: Run, trainer: MakeTrainer):
    class Killed(Callback):
        def on_train_epoch_end(self, *args: object) -> None:
            raise RuntimeError("killed")

    evaluate(trainer(), digits(), run.best)
    assert (run.path / "test" / "mistakes.csv").is_file()
    with pytest.raises(RuntimeError, match="killed"):
        fit(trainer, run, run.last, (Killed(),), max_epochs=2)
    assert not {name for name in run.read_results() if name.startswith("test/")}
    assert list((run.path / "test").iterdir()) == []
    assert len(run.ledger) == 1


def test_the_score_of_a_test_during_a_training_goes_when_the_training_ends(run: Run, trainer: MakeTrainer):
    class TestsMeanwhile(Callback):
        def on_train_epoch_end(self, *args: object) -> None:
            evaluate(trainer(), digits(), run.best)
            evaluate(trainer(limit_test_batches=1), digits(), run.best)

    fitted = fit(trainer, run, run.last, (TestsMeanwhile(),), max_epochs=2)
    assert len(run.ledger) == 2
    assert not {name for name in run.read_results() if name.startswith("test/") or name == "other_data"}
    assert not list(run.path.rglob("mistakes.csv"))
    assert not run.predictions["test"].exists()
    evaluate(fitted, digits(), run.best, fitted.lightning_module)
    before = run.read_results()
    fit(trainer, run, run.last, max_epochs=2)  # which has nothing left to train
    assert run.read_results()["test/acc"] == before["test/acc"]
    assert run.predictions["test"].is_file()


# Raw pixels


def test_raw_pixels_are_refused_in_every_step(trainer: MakeTrainer):
    data, model = Digits(image_size=28), LitLeNet()
    for stage in ("fit", "test"):
        data.setup(stage)
    raw = "the images are raw pixels .uint8., neither resized nor normalised: give the Trainer the data module"
    with pytest.raises(ValueError, match=raw):
        trainer().fit(model, train_dataloaders=data.train_dataloader(), val_dataloaders=data.val_dataloader())
    for evaluation in (trainer().validate, trainer().test):
        with pytest.raises(ValueError, match=raw):
            evaluation(model, dataloaders=data.test_dataloader(), verbose=False)
    with pytest.raises(ValueError, match=raw):
        trainer().predict(model, dataloaders=data.test_dataloader())
