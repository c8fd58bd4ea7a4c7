import sys
from collections.abc import Callable

import pytest
from pytorch_lightning import Trainer

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.training.callbacks.progress import Bar, EpochLines, progress_bar


def test_a_log_gets_one_line_for_each_epoch(trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]):
    fitted = trainer(max_epochs=3, enable_progress_bar=True, callbacks=[EpochLines()])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=100))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(name in lines[0] for name in ("train/loss", "train/acc", "val/loss", "val/acc"))


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(progress_bar(), Bar)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(progress_bar(), EpochLines)


def test_the_bar_counts_batches_and_keeps_the_lines(
    trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fitted = trainer(max_epochs=2, enable_progress_bar=True, callbacks=[Bar()])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=100, batch_size=25))
    printed = capsys.readouterr().out
    assert "epoch 1/2 · train/loss" in printed
    assert "epoch 2/2 · train/loss" in printed
    assert "3/3" in printed
