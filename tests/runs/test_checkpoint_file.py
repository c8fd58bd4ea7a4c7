"""Checkpoints that are whole or not there, and that bring no code along."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Command
from pytorch_lightning import Trainer

from lit_cnn.data import FakeImages
from lit_cnn.inference.loading import load_run
from lit_cnn.models.lenet import LitLeNet
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO, find_damage, previous, read_checkpoint
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.checkpointing import check_room, checkpoint_bytes
from lit_cnn.weights.sources import find_weights

LENET = ["--model", "LitLeNet", "--model.schedule", "constant"]  # which can be trained further
FIT = ["fit", *LENET, "--data", "FakeImages", "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"]


class Touches:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run of :func:`run` is made once."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def run(lit_cnn: Command, tmp_path: Path, trained: Path) -> Run:
    """A run of two epochs, to be spoilt."""
    if not (trained / "runs").exists():
        done = lit_cnn(*FIT, "--runs_dir", trained / "runs")
        assert done.returncode == 0, done.stderr
    shutil.copytree(trained / "runs", tmp_path / "runs")
    (path,) = tmp_path.glob("runs/*/*/*")
    return Run(path)


# Writing


def test_the_last_keeps_its_predecessor(tmp_path: Path):
    io, path = SafeCheckpointIO(), tmp_path / "deep" / "last.ckpt"
    for number in range(3):
        io.save_checkpoint({"number": number}, path)
    assert io.load_checkpoint(path) == {"number": 2}
    assert io.load_checkpoint(previous(path)) == {"number": 1}
    assert {file.name for file in path.parent.iterdir()} == {"last.ckpt", "last.previous.ckpt"}


def test_where_there_are_no_links_the_predecessor_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(2):
        SafeCheckpointIO().save_checkpoint({"number": number}, tmp_path / "last.ckpt")
    assert read_checkpoint(previous(tmp_path / "last.ckpt")) == {"number": 0}
    assert read_checkpoint(tmp_path / "last.ckpt") == {"number": 1}


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path):
    # A limit on the size of files makes the kernel refuse to write, as a full disk does: at once, or near the end.
    program = """
import resource, signal, torch
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO
SafeCheckpointIO().save_checkpoint({"number": 1}, "last.ckpt")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for megabytes in (1, 20):
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, resource.RLIM_INFINITY))
    try:
        SafeCheckpointIO().save_checkpoint({"weights": torch.zeros(6_000_000), "more": [torch.ones(9)] * 9}, "last.ckpt")
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("the checkpoint last.ckpt cannot be written")
        assert "it takes 24.0 MB, " in line
        assert line.endswith(" are free; the previous one is unchanged")
    assert read_checkpoint(tmp_path / "last.ckpt") == {"number": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's namespaces")
def test_a_disk_that_is_really_full(tmp_path: Path):
    program = """
import torch
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO
SafeCheckpointIO().save_checkpoint({"number": 1}, "disk/last.ckpt")
try:
    SafeCheckpointIO().save_checkpoint({"weights": torch.zeros(6_000_000)}, "disk/last.ckpt")
except OSError as error:
    print(error)
print(SafeCheckpointIO().load_checkpoint("disk/last.ckpt"))
"""
    (tmp_path / "disk").mkdir()
    (tmp_path / "program.py").write_text(program)
    mount = f"mount -t tmpfs -o size=4m tmpfs disk && {sys.executable} program.py"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert "it takes 24.0 MB, 4." in done.stdout, done.stderr
    assert "{'number': 1}" in done.stdout


@pytest.mark.slow
def test_killed_while_it_writes_it_is_the_old_or_the_new(tmp_path: Path):
    # One process imports torch; those that write and are killed are its children.
    program = """
import os, signal, sys, time, torch
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO, find_damage, previous, read_checkpoint
from pathlib import Path
for wait in (0.0, 0.013, 0.031, 0.05, 0.07):
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            weights = torch.full((2_000_000,), float(number))
            SafeCheckpointIO().save_checkpoint({"number": number, "weights": weights}, "last.ckpt")
            os.write(tells, b".")
            number += 1
    os.close(tells)
    saved = len(os.read(told, 1)) + len(os.read(told, 1))
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(told, 1000):
        saved += len(more)
    content = read_checkpoint("last.ckpt")
    assert saved - 1 <= content["number"] <= saved, (content["number"], saved)
    assert torch.equal(content["weights"], torch.full((2_000_000,), float(content["number"])))
    assert find_damage(previous(Path("last.ckpt"))) is None
    print("whole")
"""
    # Threads do not survive a fork. The temporary folder is another file system: nothing may pass through it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": "/dev/shm"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["whole"] * 5, done.stderr


# Room


def test_a_folder_that_cannot_be_written_is_found_before_training(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn(*FIT, "--runs_dir", "/proc/runs")
    assert done.returncode == 1
    assert "/proc/runs" in done.stderr
    assert "epoch 1/" not in done.stdout
    (tmp_path / "checkpoints").touch()
    with pytest.raises(OSError, match=r"checkpoints cannot be written to .*checkpoints \("):
        check_room(tmp_path / "checkpoints", 1, 1)


def test_a_checkpoint_folder_that_is_none_is_found_before_training(run: Run, lit_cnn: Command, tmp_path: Path):
    shutil.move(run.last, tmp_path / "kept.ckpt")
    shutil.rmtree(run.checkpoints)
    run.checkpoints.touch()
    done = lit_cnn("fit", "--run", run.path, "--ckpt_path", "kept.ckpt", "--trainer.max_epochs", "3")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"checkpoints cannot be written to {run.checkpoints} (" in line
    assert "epoch 1/" not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux's namespaces")
def test_a_disk_too_small_for_the_checkpoints_is_found_before_training(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    fit = " ".join([sys.executable, "-m", "lit_cnn", *FIT, "--runs_dir", "disk/runs"])
    mount = f"mount -t tmpfs -o size=1m tmpfs disk && {fit}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert done.returncode == 1, done.stderr
    assert "will take 1.7 MB, but " in done.stderr
    assert "epoch 1/" not in done.stdout


def test_too_little_room_is_found_before_training(tmp_path: Path):
    check_room(tmp_path, 10**6, 10**6)
    with pytest.raises(OSError, match=r"will take 3500000\.0 GB, but .* GB are free"):
        check_room(tmp_path, 10**15, 5 * 10**14)


def test_room_that_the_checkpoints_take_already_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    for name in ("best.ckpt", "last.ckpt", "last.previous.ckpt"):
        (tmp_path / name).write_bytes(bytes(1000))
    check_room(tmp_path, 1200, 400)
    (tmp_path / "last.ckpt").rename(tmp_path / "last.damaged.ckpt")  # which stays
    with pytest.raises(OSError, match="will take"):
        check_room(tmp_path, 1200, 400)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "RMSprop"])
def test_the_size_of_a_checkpoint_is_known_before(trainer: Callable[..., Trainer], tmp_path: Path, optimizer: str):
    fitted = trainer()
    classifier = LitLeNet(optimizer=optimizer, lr=1e-3)
    fitted.fit(classifier, datamodule=FakeImages(num_images=64))
    path = tmp_path / "a.ckpt"
    fitted.save_checkpoint(path)
    assert checkpoint_bytes(classifier, fitted.optimizers) == pytest.approx(path.stat().st_size, rel=0.1)


# Format


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": 2, "version": "9.1.0"},
            r"has format 2, written by lit-cnn 9\.1\.0; lit-cnn .* reads up to format 1: update",
        ),
        ({"format": None}, "has no format number: it was written before lit-cnn's first release"),
    ],
)
def test_a_checkpoint_of_another_format_is_refused(
    trainer: Callable[..., Trainer], tmp_path: Path, changes: dict[str, Any], message: str
):
    fitted, data, path = trainer(limit_train_batches=1), FakeImages(num_images=64), tmp_path / "a.ckpt"
    fitted.fit(LitLeNet(), datamodule=data)
    fitted.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    assert content["lit_cnn"]["format"] == 1
    content["lit_cnn"] |= changes
    torch.save(content, path)
    with_plugin, without = trainer(plugins=[SafeCheckpointIO()]), trainer()
    for read in (
        read_checkpoint,
        load_run,
        find_weights,
        lambda path: LitLeNet(weights=path),
        lambda path: with_plugin.fit(LitLeNet(), datamodule=data, ckpt_path=path, weights_only=True),
        lambda path: without.test(LitLeNet(), datamodule=data, ckpt_path=path, weights_only=True),
    ):
        with pytest.raises(ValueError, match=rf"a\.ckpt {message}") as refused:
            read(path)
        assert len(str(refused.value).splitlines()) == 1


# Damage


def test_a_truncated_last_is_said_and_the_one_before_goes_on(run: Run, lit_cnn: Command):
    whole = torch.load(run.last, weights_only=True)["state_dict"]
    content = run.last.read_bytes()
    run.last.write_bytes(content[: len(content) // 2])
    done = lit_cnn("fit", "--run", run.path)
    assert done.returncode == 0, done.stderr
    assert f"warning: {run.last} is damaged (File is not a zip file); resuming from {previous(run.last)}" in done.stderr
    assert "epoch 2/2" in done.stdout
    again = torch.load(run.last, weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_dangling_last_is_said(run: Run, lit_cnn: Command):
    run.last.unlink()
    run.last.symlink_to("gone.ckpt")
    done = lit_cnn("fit", "--run", run.path)
    assert done.returncode == 0, done.stderr
    assert "the link to gone.ckpt leads nowhere" in done.stderr


def test_without_a_whole_checkpoint_nothing_starts_again(run: Run, lit_cnn: Command):
    before = run.metrics.read_bytes()
    for path in (run.last, previous(run.last)):
        path.write_bytes(path.read_bytes()[:1000])
    done = lit_cnn("fit", "--run", run.path)
    assert done.returncode == 2
    assert "cannot be resumed: " in done.stderr
    assert str(run.last) in done.stderr
    assert str(previous(run.last)) in done.stderr
    assert run.metrics.read_bytes() == before


def test_a_flipped_bit_is_found(run: Run, lit_cnn: Command):
    content = bytearray(run.best.read_bytes())
    content[len(content) // 2] ^= 1
    run.best.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.ckpt is not a whole checkpoint: .* is damaged"):
        load_run(run.best)
    done = lit_cnn("test", "--run", run.path)
    assert done.returncode == 2
    assert "best.ckpt is not a whole checkpoint" in done.stderr


def test_whatever_byte_is_damaged_it_is_said_and_no_error(tmp_path: Path):
    path = tmp_path / "a.ckpt"
    torch.save({"number": 1, "weights": torch.ones(3)}, path)
    whole = path.read_bytes()
    of_contents: set[int] = set()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            lengths = struct.unpack_from("<HH", whole, info.header_offset + 26)
            start = info.header_offset + 30 + sum(lengths)
            of_contents |= set(range(start, start + info.file_size))
    assert len(of_contents) > 100
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        damage = find_damage(path)  # of what zip files hold besides, some is of no consequence
        assert damage if position in of_contents else isinstance(damage, str | None)


# Code


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.ckpt"
    torch.save({"state_dict": Touches(tmp_path / "it_ran"), "loops": {}}, path)
    return path


@pytest.mark.parametrize("way", ["fit", "test", "weights", "run", "predict"])
def test_code_in_a_checkpoint_does_not_run(run: Run, hostile: Path, lit_cnn: Command, tmp_path: Path, way: str):
    if way == "run":
        shutil.copy(hostile, run.last)
    arguments = {
        "fit": [*FIT, "--ckpt_path", hostile],
        "test": ["test", *FIT[1:], "--ckpt_path", hostile],
        "weights": [*FIT, "--model.weights", hostile],
        "run": ["fit", "--run", run.path, "--trainer.max_epochs", "3"],
        "predict": ["predict", "--ckpt_path", hostile, "--images", tmp_path],
    }[way]
    done = lit_cnn(*arguments)
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: ")
    assert "more than tensors" in line
    assert not (tmp_path / "it_ran").exists()


@pytest.fixture
def address(hostile: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that has the hostile checkpoint, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(hostile.read_bytes())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hostile.ckpt", asked
    server.shutdown()
    server.server_close()


def test_a_checkpoint_is_never_fetched(address: tuple[str, list[str]], lit_cnn: Command, tmp_path: Path):
    url, asked = address
    for arguments in (
        [*FIT, "--ckpt_path", url],
        ["test", *FIT[1:], "--ckpt_path", url],
        [*FIT, "--model.weights", url],
        ["predict", "--ckpt_path", url, "--images", tmp_path],
    ):
        done = lit_cnn(*arguments)
        assert done.returncode == 2
        assert url in done.stderr
    with pytest.raises(ValueError, match="must be a file, not an address"):
        SafeCheckpointIO().load_checkpoint(url)
    assert asked == []
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("way", ["config", "option", "inside a callback"])
def test_a_foreign_class_is_not_imported(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str):
    (tmp_path / "foreign.py").write_text("import os\nos.mkdir('it_ran')\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("LIT_CNN_ALLOW", raising=False)
    inner = {"class_path": "pytorch_lightning.callbacks.LambdaCallback", "init_args": {"on_fit_start": "foreign.Thing"}}
    callbacks = [inner] if way == "inside a callback" else [{"class_path": "foreign.Thing"}]
    if way == "option":
        done = lit_cnn(*FIT, "--trainer.callbacks+=foreign.Thing")
    else:
        (tmp_path / "hostile.yaml").write_text(json.dumps({"trainer": {"callbacks": callbacks}}))
        done = lit_cnn(*FIT, "--config", "hostile.yaml")
    assert done.returncode == 2
    assert "foreign.Thing is not imported" in done.stderr
    assert not (tmp_path / "it_ran").exists()
    assert "foreign" not in sys.modules


@pytest.mark.parametrize("class_path", ["somebody.elses.LitNet", "lit_cnn.models.lenet.LitLeNet5000"])
@pytest.mark.parametrize("command", ["predict", "test", "fit"])
def test_an_unknown_architecture_is_one_line(run: Run, lit_cnn: Command, tmp_path: Path, command: str, class_path: str):
    content = torch.load(run.best, weights_only=True)
    content["lit_cnn"]["class_path"] = class_path  # and tensors that would fit
    torch.save(content, tmp_path / "unknown.ckpt")
    others = ["--images", tmp_path] if command == "predict" else FIT[1:]
    done = lit_cnn(command, "--ckpt_path", "unknown.ckpt", *others)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "unknown.ckpt" in line
    assert class_path in line
    assert "lit_cnn.models.lenet.LitLeNet" in line


@pytest.mark.parametrize(
    "inner",
    [
        {"class_path": "pytorch_lightning.cli.instantiate_class", "init_args": {"args": "x", "init": {}}},
        {"class_path": "pytorch_lightning.core.saving._load_from_checkpoint", "init_args": {}},
        "os.system",
    ],
)
def test_a_callback_of_a_callback_brings_no_code(lit_cnn: Command, tmp_path: Path, inner: object):
    outer = {"class_path": "pytorch_lightning.callbacks.LambdaCallback", "init_args": {"on_fit_start": inner}}
    (tmp_path / "hostile.yaml").write_text(json.dumps({"trainer": {"callbacks": [outer]}}))
    done = lit_cnn(*FIT, "--config", "hostile.yaml")
    assert done.returncode == 2
    assert "is not imported" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_names_nothing_to_remove(run: Run, lit_cnn: Command, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    content = torch.load(run.last, weights_only=True)
    for state in content["callbacks"].values():
        if "best_k_models" in state:
            paths = {"best_model_path": str(precious), "kth_best_model_path": f"local://{precious}"}
            state.update(paths, best_model_score=None, best_k_models={f"local://{precious}": torch.tensor(-1.0)})
    torch.save(content, run.last)
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "4")
    assert done.returncode == 0, done.stderr
    assert precious.is_dir()


def test_a_damaged_last_does_not_become_the_predecessor(run: Run, lit_cnn: Command):
    run.last.write_bytes(run.last.read_bytes()[:1000])
    assert lit_cnn("fit", "--run", run.path).returncode == 0
    assert find_damage(run.last) is None
    assert find_damage(previous(run.last)) is None
    assert run.last.with_name("last.damaged.ckpt").stat().st_size == 1000
