import re
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import rich
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.training.callbacks.introduction import Introduction, describe_splits
from lit_cnn.training.callbacks.progress import Bar, EpochLines, Pace, progress_bar

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# How rich ends: it shows the cursor, and clears the line of the bar.
CLEARED = f"{SHOW_CURSOR}\r\x1b[1A\x1b[2K"


def test_a_log_gets_one_line_for_each_epoch(trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]):
    fitted = trainer(max_epochs=3, enable_progress_bar=True, callbacks=[EpochLines()])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=100))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(name in lines[0] for name in ("train/loss", "train/acc", "val/loss", "val/acc"))


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_bar(), Bar)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_bar(), EpochLines)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(progress_bar(), EpochLines)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets rich take the output for a terminal of 120 columns."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    yield
    monkeypatch.undo()
    rich.reconfigure()


@pytest.mark.usefixtures("terminal")
def test_the_bar_shows_the_training_and_keeps_the_lines(trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]):
    fitted = trainer(max_epochs=2, enable_progress_bar=True, callbacks=[Bar()])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=100, batch_size=25))
    printed = capsys.readouterr().out
    assert "epoch 1/2 · train/loss" in printed
    assert "epoch 2/2 · train/loss" in printed
    assert re.search(r"epoch 2/2 .* 3/3 loss \d\.\d{4} · [\d,]+ images/s · 0:00:00 left", printed)
    assert printed.rstrip("\n").endswith(CLEARED)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"max_epochs": 2, "accumulate_grad_batches": 3}, True),
        ({"max_epochs": 2, "limit_val_batches": 0}, True),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, True),
        ({"max_epochs": 2, "val_check_interval": 2}, True),
        ({"max_epochs": 2, "val_check_interval": {"milliseconds": 1}, "check_val_every_n_epoch": None}, True),
        ({"max_epochs": -1, "max_steps": 7}, True),
        ({"max_epochs": None, "max_time": {"milliseconds": 300}}, False),
        ({"max_epochs": 2, "num_sanity_val_steps": 1}, True),
    ],
    ids=str,
)
def test_the_bar_copes_with_any_trainer(
    trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str], settings: dict, left: bool
):
    bar = Bar()
    losses = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses.append(float(bar._loss) / float(pl_module.train_loss.compute()))
            bar._state()

    fitted = trainer(enable_progress_bar=True, callbacks=[bar, Watch()], **settings)
    fitted.fit(LitLeNet(lr=1e-6, schedule="constant"), datamodule=FakeImages(num_images=160, batch_size=20))
    assert (bar.pace.seconds_left(fitted) is not None) == left
    assert all(0.8 < ratio < 1.25 for ratio in losses)  # of one batch to the epoch's mean: not divided
    assert capsys.readouterr().out.rstrip("\n").endswith(CLEARED)


@pytest.mark.usefixtures("terminal")
def test_after_an_error_the_terminal_is_as_it_was(trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]):
    class Fails(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise ValueError("out of luck")

    before = sys.stdout
    with pytest.raises(ValueError, match="out of luck"):
        trainer(enable_progress_bar=True, callbacks=[Bar(), Fails()]).fit(LitLeNet(), datamodule=FakeImages(num_images=64))
    assert sys.stdout is before
    printed = capsys.readouterr().out
    assert printed.count(HIDE_CURSOR) == printed.count(SHOW_CURSOR) == 1
    assert printed.rstrip("\n").endswith(CLEARED)


def test_the_time_left_is_that_of_all_epochs_and_validations():
    now = 0.0
    pace = Pace(lambda: now)
    trainer = SimpleNamespace(max_epochs=3, max_steps=-1, accumulate_grad_batches=1, current_epoch=0)
    trainer.num_training_batches = trainer.val_check_batch = 4
    trainer.check_val_every_n_epoch = 1
    pace.start_epoch()
    assert pace.seconds_left(trainer) is None
    for batch_idx, seconds in enumerate((9, 2, 2, 2)):  # the first takes longer, and does not count
        now += seconds
        pace.add_batch(10, batch_idx)
    assert pace.images_per_s == 5
    assert pace.seconds_left(trainer) == 8 * 2  # no validation was measured yet
    pace.start_validation()
    now += 5
    pace.end_validation()
    assert pace.seconds_left(trainer) == 8 * 2 + 2 * 5
    trainer.current_epoch = 1
    pace.start_epoch()
    now += 2
    pace.add_batch(10, 0)
    assert pace.seconds_left(trainer) == 7 * 2 + 2 * 5
    trainer.current_epoch = 2
    pace.add_batch(10, 3)
    assert pace.seconds_left(trainer) == 5  # the last validation
    trainer.max_epochs = -1
    assert pace.seconds_left(trainer) is None


def test_a_few_batches_that_are_learnt_by_heart_are_not_augmented(
    trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]
):
    data = FakeImages(num_images=64, batch_size=16, flip=True)
    trainer(max_epochs=1, overfit_batches=1, callbacks=[Introduction(0)]).fit(LitLeNet(), datamodule=data)
    assert "augmentation: none (overfit_batches)" in capsys.readouterr().out


def test_the_settings_are_printed_in_plain_words(trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]):
    data = FakeImages(num_images=64, batch_size=16, crop_padding=2, flip=True)
    classifier = LitLeNet(
        optimizer="AdamW", lr=1e-3, schedule="cosine", warmup_ratio=0.1, weight_decay=0.1, norm_weight_decay=0
    )
    trainer(max_epochs=-1, max_steps=3, callbacks=[Introduction(0)]).fit(classifier, datamodule=data)
    scaled = LitLeNet(backbone_lr_scale=0.1)
    trainer(limit_train_batches=1, callbacks=[Introduction(0)]).fit(scaled, datamodule=FakeImages(num_images=64))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "AdamW, learning rate 0.001 (cosine after a warm-up of 10%), weight decay 0.1 (0 for biases and normalisation), "
        "batches of 16 images of 28×28, augmentation: shifts of up to 2 pixels and flips, at most 3 steps"
    )
    assert lines[2].startswith("train: 48 images (class 0 ")
    assert lines[5] == (
        "SGD with momentum 0.9, learning rate 0.01 (cosine, times 0.1 below the last layer), weight decay 0.0005, "
        "batches of 32 images of 28×28, augmentation: none, 1 epoch"
    )


def test_gradients_that_are_divided_by_more_batches_than_there_are_are_warned_about(trainer: Callable[..., Trainer]):
    data = FakeImages(num_images=64, batch_size=16)  # three batches train
    message = r"accumulate_grad_batches=4, which is more than an epoch has \(3\): .* set it to at most 3"
    with pytest.warns(UserWarning, match=message):
        trainer(accumulate_grad_batches=4, callbacks=[Introduction(0)]).fit(LitLeNet(), datamodule=data)
    for quiet in ({"accumulate_grad_batches": 3}, {"accumulate_grad_batches": 4, "fast_dev_run": True}):
        trainer(**quiet, callbacks=[Introduction(0)]).fit(LitLeNet(), datamodule=data)


def test_no_name_of_a_class_steers_the_terminal():
    data = SimpleNamespace(class_names=("a\x1b[31m", "猫"), counts=lambda: {"train": [1200, 3]})
    assert describe_splits(data) == ["train: 1,203 images (a\\x1b[31m 1,200, 猫 3)"]
