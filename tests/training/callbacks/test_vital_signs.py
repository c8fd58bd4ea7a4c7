"""``--diagnose``: what is measured of each layer during training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, network_with_all_states, run_process
from PIL import Image
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lit_cnn.data import FakeImages
from lit_cnn.models import LitGoogLeNet
from lit_cnn.network.signs import weighted_layers
from lit_cnn.runs.diagnostics import COLUMNS, Sign, append_signs, keep_signs_before, read_signs
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks import vital_signs
from lit_cnn.training.callbacks.vital_signs import VitalSigns
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.run_logger import RunLogger

MakeTrainer = Callable[..., Trainer]


class Small(LitClassifier):
    """With all that has a state of its own: dropout and BatchNorm."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1, bias: float = 0.0, **kwargs: Any) -> None:
        network = network_with_all_states(num_classes, in_channels)
        nn.init.constant_(network[1].bias, bias)
        super().__init__(network, num_classes, in_channels, **kwargs)


class Watch(Callback):
    """Gradients and weights around each update, measured another way."""

    def __init__(self) -> None:
        self.gradients: list[float] = []
        self.ratios: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.before = pl_module.network[5].weight.detach().clone()
        self.gradients.append(float(pl_module.network[5].weight.grad.square().mean().sqrt()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            update = pl_module.network[5].weight.detach() - self.before
            self.ratios.append(float(update.norm() / self.before.norm()))


def fit(trainer: MakeTrainer, *callbacks: Callback, module: LitClassifier | None = None, **settings: Any) -> LitClassifier:
    seed_everything(0, verbose=False)
    module = module or Small()
    # Six batches of eleven images in an epoch.
    data = FakeImages(num_images=88, batch_size=11, crop_padding=1)
    trainer(callbacks=list(callbacks), **settings).fit(module, datamodule=data)
    return module


@pytest.mark.parametrize("accumulated", [1, 2])
def test_gradients_and_updates_are_those_of_the_optimisers_step(tmp_path: Path, trainer: MakeTrainer, accumulated: int):
    run, watch = Run(tmp_path), Watch()
    fit(trainer, watch, VitalSigns(2, run), max_epochs=2, accumulate_grad_batches=accumulated)
    signs = [sign for sign in read_signs(run.diagnostics) if sign.layer == "5"]
    assert [sign.step for sign in signs] == list(range(0, 12 // accumulated, 2))
    assert [sign.gradient_rms for sign in signs] == pytest.approx(watch.gradients[::2], rel=1e-4)
    assert [sign.update_ratio for sign in signs] == pytest.approx(watch.ratios[::2], rel=1e-4)


def test_the_file_has_a_row_for_each_layer_and_the_run_a_picture(tmp_path: Path, trainer: MakeTrainer):
    run = Run(tmp_path)
    fit(trainer, VitalSigns(4, run), logger=RunLogger(tmp_path))
    assert run.diagnostics.read_text().splitlines()[0] == ",".join(COLUMNS)
    first = read_signs(run.diagnostics)[:4]
    assert [(sign.layer, sign.class_name) for sign in first] == [
        ("0", "Conv2d"),
        ("1", "BatchNorm2d"),
        ("2", "ReLU"),
        ("5", "Linear"),
    ]
    assert first[1].mean == pytest.approx(0, abs=1e-5)
    assert first[1].sd == pytest.approx(1, abs=1e-3)
    assert (first[2].dead, first[2].gradient_rms, first[2].update_ratio) == (0, None, None)
    with Image.open(tmp_path / "diagnostics.png") as picture:
        assert picture.size == (1200, 640)
    events = EventAccumulator(str(tmp_path / "curves" / "layer_5")).Reload()
    assert events.Tags()["scalars"] == [f"diagnostics/{name}" for name in ("mean", "sd", "gradient_rms", "update_ratio")]
    assert [event.step for event in events.Scalars("diagnostics/sd")] == [0, 4]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_weights_are_the_same_with_and_without_it(tmp_path: Path, trainer: MakeTrainer, precision: Any):
    plain = fit(trainer, precision=precision, max_epochs=2)
    measured = fit(trainer, VitalSigns(1, Run(tmp_path)), precision=precision, max_epochs=2)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in measured.state_dict().items())


def test_other_steps_have_no_hooks_and_no_copies(tmp_path: Path, trainer: MakeTrainer):
    signs = VitalSigns(50, Run(tmp_path))

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            assert not any(module._forward_hooks or module._forward_pre_hooks for module in pl_module.network.modules())
            assert {value for name, value in vars(signs).items() if name in ("_batch", "_measured")} == {None}

    fit(trainer, signs, Look())
    assert {sign.step for sign in read_signs(signs.run.diagnostics)} == {0}


def test_faults_are_told_once_at_the_start(trainer: MakeTrainer):
    with pytest.warns(UserWarning, match="100% of the units of 2 are zero") as told:
        fit(trainer, VitalSigns(1), module=Small(bias=-100.0, lr=1e-6), max_epochs=2)
    assert sum("100% of the units" in str(one.message) for one in told) == 1


def test_the_loss_that_is_judged_is_the_plain_one(trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch):
    """Class weights and label smoothing move the loss of the training away from ln(classes), and are no fault."""
    judged: list[float] = []
    trained: list[float] = []

    def judge(*arguments: Any, **_: Any) -> list[str]:
        judged.append(arguments[3])
        return []

    class Losses(Callback):
        def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
            trained.append(float(loss.detach()))

    monkeypatch.setattr(vital_signs, "find_start_faults", judge)
    for arguments in ({}, {"class_weights": [100.0] * 5 + [1.0] * 5, "label_smoothing": 0.9}):
        seed_everything(0, verbose=False)
        fit(trainer, VitalSigns(), Losses(), module=Small(**arguments), max_steps=1)
    assert judged[0] == judged[1]
    assert abs(trained[0] - trained[1]) > 0.01


def test_layers_that_only_training_uses_come_last_in_their_own_order(tmp_path: Path, trainer: MakeTrainer):
    run = Run(tmp_path)
    module = LitGoogLeNet(in_channels=1, aux_weight=0.3)
    data = FakeImages(num_images=88, image_size=32, batch_size=8)
    trainer(callbacks=[VitalSigns(1, run)], max_steps=1).fit(module, datamodule=data)
    layers = [sign.layer for sign in read_signs(run.diagnostics)]
    heads = [name for name in weighted_layers(module.network) if name.startswith("aux")]
    assert layers[-len(heads) :] == heads


def test_what_cannot_be_written_does_not_end_the_training(tmp_path: Path, trainer: MakeTrainer):
    run = Run(tmp_path / "gone")
    with pytest.warns(UserWarning, match="gone are incomplete, the training is not affected: ") as told:
        module = fit(trainer, VitalSigns(1, run))
    assert sum("incomplete" in str(one.message) for one in told) == 1
    assert all(torch.isfinite(weight).all() for weight in weighted_layers(module.network).values())


def test_a_picture_that_cannot_be_drawn_does_not_end_the_training(
    tmp_path: Path, trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("lit_cnn.training.figures.draw_diagnostics", fail)
    with pytest.warns(UserWarning, match="are incomplete, the training is not affected: no font"):
        fit(trainer, VitalSigns(1, Run(tmp_path)))
    assert not (tmp_path / "diagnostics.png").exists()


def test_rows_are_read_as_they_were_written_and_half_ones_are_left_out(tmp_path: Path):
    path = tmp_path / "diagnostics.csv"
    rows = [Sign(0, "fc", "Linear", 0.5, 1.25, None, 1e-9, math.inf), Sign(50, "relu", "ReLU", 0.0, 0.0, 1.0)]
    append_signs(path, rows[:1])
    append_signs(path, rows[1:])
    assert read_signs(path) == rows
    with path.open("a") as file:
        file.write("100,fc,Lin")
    keep_signs_before(path, 50)
    assert read_signs(path) == rows[:1]
    keep_signs_before(path, 0)
    assert read_signs(path) == []
    keep_signs_before(tmp_path / "none.csv", 0)
    assert not (tmp_path / "none.csv").exists()


def test_a_last_row_is_left_out_wherever_it_was_cut_off(tmp_path: Path):
    path = tmp_path / "diagnostics.csv"
    rows = [Sign(0, "fc", "Linear", 0.5, 1.25, None, 0.125, 0.5), Sign(50, "fc", "Linear", 0.5, 1.25, None, 0.125, 0.75)]
    append_signs(path, rows)
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(content)):
        path.write_bytes(content[:end])
        assert read_signs(path) == rows[:1]


@pytest.mark.parametrize("row", ["50,fc,Linear,high,,,,", "50,fc,Linear,1", "x,fc,Linear,,,,,"])
def test_a_damaged_row_is_named(tmp_path: Path, row: str):
    path = tmp_path / "diagnostics.csv"
    append_signs(path, [Sign(0, "fc", "Linear")])
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(ValueError, match=rf"^line 3 of {path} is damaged$"):
        read_signs(path)


DIGITS = ["fit", "--model", "mlp", "--data", "FakeImages", "--data.num_images", "160", "--data.batch_size", "10"]


@pytest.mark.slow
def test_a_resumed_run_continues_its_file(lit_cnn: Command, tmp_path: Path):
    arguments = [*DIGITS, "--model.schedule", "constant", "--trainer.max_epochs", "1", "--name"]  # twelve steps
    assert lit_cnn(*arguments, "one", "--diagnose", "5").returncode == 0
    (path,) = tmp_path.glob("runs/*/*/one")
    first = (path / "diagnostics.csv").read_text()
    late = Sign(12, "left by a process that was killed after its last checkpoint", "Linear")
    append_signs(path / "diagnostics.csv", [late])
    assert lit_cnn("resume", path, "--trainer.max_epochs", "2").returncode == 0
    text = (path / "diagnostics.csv").read_text()
    assert text.startswith(first)
    assert "killed" not in text
    assert sorted({sign.step for sign in read_signs(path / "diagnostics.csv")}) == [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("value", "message"), [("0", "diagnose must be a number of steps of at least 1, got 0"), ("often", "diagnose: ")]
)
def test_nonsense_is_refused(lit_cnn: Command, tmp_path: Path, value: str, message: str):
    done = lit_cnn(*DIGITS, "--diagnose", value)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"lit-cnn: error: {message}")
    assert not list(tmp_path.glob("runs/*/*/*"))


@pytest.mark.slow
def test_two_processes_write_one_file(tmp_path: Path):
    processes = ["--trainer.devices", "2", "--trainer.accelerator", "cpu"]
    model = ["--model", "lenet_bn", "--trainer.max_epochs", "1"]
    done = run_process(tmp_path, *DIGITS, *model, *processes, "--diagnose", "4")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/*/*/*/diagnostics.csv")
    signs = [(sign.step, sign.layer) for sign in read_signs(path)]
    assert len(signs) == len(set(signs))
    assert sorted({step for step, _ in signs}) == [0, 4, 8]


@pytest.mark.slow
def test_a_compiled_network_is_measured_and_compiled_once(tmp_path: Path, trainer: MakeTrainer):
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list) -> Callable:
        graphs.append(graph)
        return graph.forward

    class Compiles(Callback):
        def on_train_start(self, trainer, pl_module):
            pl_module.network.compile(backend=backend)

    run = Run(tmp_path)
    torch.compiler.reset()
    measured = fit(trainer, Compiles(), VitalSigns(3, run), limit_val_batches=0, max_epochs=2)
    assert len(graphs) == 1
    plain = fit(trainer, Compiles(), limit_val_batches=0, max_epochs=2)
    assert {sign.layer for sign in read_signs(run.diagnostics)} == {"0", "1", "2", "5"}
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in measured.state_dict().items())
