import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet, LitResNet
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.callbacks.dashboard import Dashboard
from lit_cnn.training.callbacks.record import Recorder
from lit_cnn.training.run_logger import RunLogger

IMAGES = {
    "pictures/training_batch",
    "pictures/first_layer_filters",
    "pictures/confusion_matrix",
    "pictures/highest_loss",
}


def images(**arguments: int) -> FakeImages:
    return FakeImages(num_images=80, batch_size=20, seed=0, **arguments)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    """What TensorBoard reads of a run of five epochs."""
    folder = tmp_path_factory.mktemp("run")
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    ours = Trainer(
        max_epochs=5,
        accelerator="cpu",
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        logger=RunLogger(folder),
        callbacks=[Recorder(None), Dashboard(num_pictures=3)],
        **quiet,
    )
    ours.fit(LitLeNet(), datamodule=images(flip=True))
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0}).Reload()


def test_every_tab_has_something_to_show(events: EventAccumulator):
    tags = events.Tags()
    scalars = {"train/loss_step", "train/loss", "train/acc", "val/loss", "val/acc", "train/lr", "train/gradient_norm"}
    assert scalars | {"train/images_per_s"} <= set(tags["scalars"])
    assert set(tags["images"]) == IMAGES | {"data/augmented"}
    assert {name.partition("/")[0] for name in tags["scalars"]} == {"train", "val"}
    assert {"weights/features.0.weight", "weights/features.3.weight"} <= set(tags["histograms"])
    assert tags["graph"]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.parametrize("averaging", [EMA, EMAWeightAveraging])
def test_weights_are_drawn_as_they_are_validated(tmp_path: Path, trainer: Callable[..., Trainer], averaging: Any):
    class Weights(Callback):
        def __init__(self) -> None:
            self.validated: list[float] = []
            self.trained: list[float] = []

        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *rest):
            if batch_idx == 0:
                self.validated.append(float(pl_module.network.features[0].weight.detach().sum()))

        def on_train_epoch_end(self, trainer, pl_module):
            self.trained.append(float(pl_module.network.features[0].weight.detach().sum()))

    weights = Weights()
    callbacks = [averaging(decay=0.5), weights, Recorder(None), Dashboard()]
    trainer(max_epochs=2, logger=RunLogger(tmp_path), callbacks=callbacks).fit(LitLeNet(lr=0.1), datamodule=images())
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0}).Reload()
    drawn = [event.histogram_value.sum for event in events.Histograms("weights/features.0.weight")]
    assert drawn == pytest.approx(weights.validated, rel=1e-5)
    assert drawn != pytest.approx(weights.trained, rel=1e-5)


def test_pictures_are_drawn_a_few_times_the_first_and_last_epoch_among_them(events: EventAccumulator):
    # Three steps in an epoch.
    assert [event.step for event in events.Images("pictures/confusion_matrix")] == [3, 9, 15]
    assert [event.step for event in events.Images("pictures/training_batch")] == [0]
    assert [event.step for event in events.Images("data/augmented")] == [0]
    assert [event.step for event in events.Histograms("weights/features.0.weight")] == [3, 9, 15]


def test_the_gradient_norm_and_the_rate_are_those_of_the_step(events: EventAccumulator):
    norms = [event.value for event in events.Scalars("train/gradient_norm")]
    assert len(norms) == 15
    assert min(norms) > 0
    rates = [event.value for event in events.Scalars("train/lr")]
    assert rates[0] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("scale", [1.0, 0.1, 2.0])
def test_what_a_step_logs_is_of_that_step(trainer: Callable[..., Trainer], tmp_path: Path, scale: float):
    settings = {"max_epochs": 2, "log_every_n_steps": 4, "logger": RunLogger(tmp_path), "callbacks": [Dashboard()]}
    data = FakeImages(num_images=80, batch_size=10, seed=0)  # six steps in an epoch
    trainer(**settings).fit(LitLeNet(lr=0.1, schedule="cosine", backbone_lr_scale=scale), datamodule=data)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("train/lr")
    assert [event.step for event in events] == [3, 7, 11]
    assert [event.value for event in events] == pytest.approx([0.05 * (1 + math.cos(math.pi * s / 12)) for s in (3, 7, 11)])


def test_a_dashboard_changes_no_weight(trainer: Callable[..., Trainer], tmp_path: Path):
    def weights(with_dashboard: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        classifier = LitLeNet(variant="lenet_bn")
        logger = RunLogger(tmp_path) if with_dashboard else False
        callbacks = [Dashboard()] if with_dashboard else []
        trainer(max_epochs=2, logger=logger, callbacks=callbacks).fit(classifier, datamodule=images())
        return classifier.state_dict()

    torch.testing.assert_close(weights(True), weights(False), rtol=0, atol=0)


def test_what_goes_on_within_the_second_is_shown_after_what_it_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # TensorBoard reads files by their names: the second, the host, the number of the process as text.
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 999_999_999)
        first = RunLogger(tmp_path)
        for step in range(4):
            first.log_metrics({"train/loss": 1.0}, step)
        first.save()
    second = RunLogger(tmp_path, purge_step=2)
    for step in (2, 3, 4):
        second.log_metrics({"train/loss": 2.0}, step)
    second.save()
    for folder, name in ((tmp_path, "train/loss"), (tmp_path / "curves" / "training", "curves/loss")):
        events = EventAccumulator(str(folder)).Reload().Scalars(name)
        assert [(event.step, event.value) for event in events] == [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2)]


def test_training_and_validation_are_curves_of_the_same_charts(events: EventAccumulator):
    for curve, split in (("training", "train"), ("validation", "val")):
        of_curve = EventAccumulator(str(Path(events.path, "curves", curve))).Reload()
        for chart, name in (("loss", "loss"), ("accuracy", "acc")):
            drawn = [(event.step, event.value) for event in of_curve.Scalars(f"curves/{chart}")]
            assert drawn == [(event.step, event.value) for event in events.Scalars(f"{split}/{name}")]
            assert len(drawn) == 5


def test_a_deep_network_gets_few_histograms(trainer: Callable[..., Trainer], tmp_path: Path):
    model = LitResNet(num_classes=10, in_channels=1, variant="resnet20")
    trainer(logger=RunLogger(tmp_path), callbacks=[Dashboard()]).fit(model, datamodule=images(image_size=32))
    drawn = EventAccumulator(str(tmp_path)).Reload().Tags()["histograms"]
    weights = [f"weights/{name}" for name, parameter in model.network.named_parameters() if parameter.ndim > 1]
    assert len(weights) > 15
    assert len(drawn) == 5
    assert {weights[0], weights[-1]} <= set(drawn) <= set(weights)


# What fails


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("no such\nglyph")


@pytest.mark.parametrize(
    "place",
    [
        "lit_cnn.training.callbacks.dashboard.draw_confusion",
        "lit_cnn.training.callbacks.dashboard._add_graph",
        "torch.utils.tensorboard.SummaryWriter.__init__",
    ],
)
def test_a_failure_of_the_dashboard_is_one_warning(
    trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    monkeypatch.setattr(place, fail)
    ours = trainer(max_epochs=2, logger=RunLogger(tmp_path), callbacks=[Dashboard()])
    said = "^the dashboard is incomplete, the training is not affected: no such glyph$"
    with pytest.warns(UserWarning, match=said) as caught:
        ours.fit(LitLeNet(), datamodule=images())
    assert [str(one.message).startswith("the dashboard") for one in caught].count(True) == 1
    assert ours.global_step == 6


def test_a_full_disk_ends_the_dashboard_alone(
    trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", write)
    ours = trainer(max_epochs=2, logger=RunLogger(tmp_path), callbacks=[Dashboard()])
    with pytest.warns(UserWarning, match="^the dashboard is incomplete, .*No space left on device$") as caught:
        ours.fit(LitLeNet(), datamodule=images())
    assert [str(one.message).startswith("the dashboard") for one in caught].count(True) == 1
    assert ours.global_step == 6
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers")
def test_batches_that_name_no_position_are_drawn_without_images(trainer: Callable[..., Trainer], tmp_path: Path):
    samples = [(torch.rand(1, 28, 28), number % 10, f"{number}.png") for number in range(20)]
    loader = torch.utils.data.DataLoader(samples, 10)
    trainer(logger=RunLogger(tmp_path), callbacks=[Dashboard()]).fit(LitLeNet(), loader, loader)
    assert "pictures/confusion_matrix" in EventAccumulator(str(tmp_path)).Reload().Tags()["images"]


def test_an_evaluation_is_drawn_at_the_step_of_its_checkpoint(trainer: Callable[..., Trainer], tmp_path: Path):
    ours = trainer(max_epochs=2)
    ours.fit(LitLeNet(), datamodule=images())
    ours.save_checkpoint(tmp_path / "saved.ckpt")
    later = trainer(logger=RunLogger(tmp_path))
    later.test(LitLeNet(), datamodule=images(), ckpt_path=tmp_path / "saved.ckpt", verbose=False, weights_only=True)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("test/acc")] == [6]
