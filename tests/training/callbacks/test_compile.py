"""``--compile``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Command
from pytorch_lightning.callbacks import GradientAccumulationScheduler

from lit_cnn.inference.loading import load_run
from lit_cnn.models.googlenet import LitGoogLeNet
from lit_cnn.training.callbacks.compile import Compile

FAKE = ["--data", "FakeImages", "--data.num_images", "200", "--trainer.max_epochs", "1"]


@pytest.mark.slow
def test_a_compiled_run_can_be_loaded_tested_and_resumed_without_compiling(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("fit", "--model", "LitLeNet", *FAKE, "--compile", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    assert "compiled (default): the first step took" in done.stdout
    (run,) = tmp_path.glob("runs/*/*/*")
    assert torch.isfinite(load_run(run / "checkpoints/best.ckpt", device="cpu").classifier(torch.rand(1, 1, 28, 28))).all()
    for command in (["test"], ["fit", "--trainer.max_epochs", "2"]):
        done = lit_cnn(*command, "--run", run, "--compile", "null")
        assert done.returncode == 0, done.stderr
        assert "compiled (" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["googlenet", "googlenet_paper"])
def test_the_forward_pass_of_training_is_compiled_and_the_names_stay(monkeypatch: pytest.MonkeyPatch, variant: str):
    plain, compiled = (LitGoogLeNet(num_classes=3, in_channels=1, variant=variant).eval() for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    compiled_graphs = []

    def backend(graph: torch.fx.GraphModule, _: list) -> Callable:
        compiled_graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled.compile_network("default")
    images, labels = torch.rand(2, 1, 32, 32), torch.tensor([0, 2])
    torch.testing.assert_close(compiled.training_loss(images, labels), plain.training_loss(images, labels))
    assert len(compiled_graphs) == 1
    torch.testing.assert_close(compiled(images), plain(images))
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_without_a_compiler_it_says_so_before_it_begins(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    done = lit_cnn("fit", "--model", "LitLeNet", *FAKE, "--trainer.accelerator", "cpu", "--compile")
    assert done.returncode == 2
    assert done.stderr.startswith("lit-cnn: error: --compile needs a C++ compiler, but there is no no-such-compiler: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/*/*"))


def test_an_unknown_mode_lists_those_that_there_are(lit_cnn: Command):
    done = lit_cnn("fit", "--model", "LitLeNet", *FAKE, "--compile", "fast")
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: compile: ")
    assert "default, reduce-overhead, max-autotune" in line
    assert line.endswith("Got value: fast")


@pytest.mark.parametrize(
    "accumulation",
    [{"accumulate_grad_batches": 2}, {"callbacks": [GradientAccumulationScheduler({1: 2})]}],
    ids=["setting", "callback"],
)
def test_cuda_graphs_do_not_accumulate_gradients(accumulation: dict[str, Any]):
    strategy = SimpleNamespace(root_device=torch.device("cuda"))
    plain = {"strategy": strategy, "accumulate_grad_batches": 1, "callbacks": [GradientAccumulationScheduler({1: 1})]}
    Compile("reduce-overhead").setup(SimpleNamespace(**plain), LitGoogLeNet(), "fit")
    Compile("default").setup(SimpleNamespace(**plain | accumulation), LitGoogLeNet(), "fit")
    with pytest.raises(ValueError, match=r"--compile reduce-overhead replays CUDA graphs, .*: use default"):
        Compile("reduce-overhead").setup(SimpleNamespace(**plain | accumulation), LitGoogLeNet(), "fit")
