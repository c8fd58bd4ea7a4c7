"""Each exact check holds for the layers of this project, and fails for a broken layer."""

import functools
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_cnn.claims.exact import CHECKS, Fact
from lit_cnn.layers import (
    BasicBlock,
    BatchNorm2d,
    Bottleneck,
    DenseBlock,
    GappedUniform,
    Inception,
    Parallel,
    conv,
    initialise,
    shared_layers,
)
from lit_cnn.models import build
from lit_cnn.training.optimizer import optimizer_factory

TEXTS = {
    6: ["SGD: the L2 term in the loss and weight decay"],
    8: ["two 3×3: 73,728; one 5×5: 102,400", "three 3×3: 110,592; one 7×7: 200,704", "three 3×3: 7×7; one 7×7: 7×7"],
    11: ["global average 0; linear layer 6410", "global average [24, 28, 32]; linear layer [32]"],
    13: ["163,696 with the reductions, 393,472 without", "128,049,152 with the reductions, 308,281,344 without"],
    20: ["the bottleneck: 69,632; of the basic block: 1,179,648"],
    25: ["block of 2 layers on 3 channels with growth rate 10: 23", "densenet_d2l: 248"],
    26: ["tied: 121; untied: 193"],
    27: ["3 + 6 = 9"],
    28: ["5.40"],
    29: ["[[5, 7], [13, 15]]"],
}


@functools.cache
def facts_of(number: int) -> list[Fact]:
    return CHECKS[number]()


@pytest.mark.parametrize("number", CHECKS)
def test_every_fact_holds(number: int):
    assert facts_of(number)
    assert [fact.text for fact in facts_of(number) if not fact.holds] == []


@pytest.mark.parametrize("number", TEXTS)
def test_the_texts_hold_the_known_numbers(number: int):
    text = "\n".join(fact.text for fact in facts_of(number))
    assert [expected for expected in TEXTS[number] if expected not in text] == []


def test_the_exact_claims_have_checks_that_state_their_reason():
    assert set(CHECKS) == {6, 8, 11, 13, 16, 19, 20, 25, 26, 27, 28, 29}
    assert all(check.__doc__ for check in CHECKS.values())


@pytest.mark.parametrize("number", CHECKS)
def test_a_check_gives_the_same_facts_again_and_leaves_the_random_numbers_of_others_alone(number: int):
    before = facts_of(number)
    torch.rand(3)
    state = torch.get_rng_state()
    assert CHECKS[number]() == before
    assert torch.equal(torch.get_rng_state(), state)


class Scaled(BasicBlock):
    """A block whose shortcut is not the identity."""

    def skip(self, x: torch.Tensor) -> torch.Tensor:
        return 1.0001 * x


class Unmoved(BatchNorm2d):
    """A BatchNorm without a branch for training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps)


class Biased(BatchNorm2d):
    """A BatchNorm whose running variance is the biased one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.running_var.clone()
        out = super().forward(x)
        if self.training:
            self.running_var.copy_(before.lerp(x.var((0, 2, 3), correction=0), 0.1))
        return out


class AlwaysBatch(BatchNorm2d):
    """A BatchNorm that uses the batch in prediction too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.running_mean.clone(), self.running_var.clone(), self.weight, self.bias, True)


class Forgetful(DenseBlock):
    """A dense block whose layers do not see the block's input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inputs, x = x, torch.zeros_like(x)
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)
        return torch.cat((inputs, x[:, inputs.shape[1] :]), dim=1)


class LastOnly(DenseBlock):
    """A dense block that passes on the output of its last layer only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inputs = x
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)
        return torch.cat((inputs, layer(x[:, : layer.norm1.num_features])), dim=1)


class Reordered(Parallel):
    """A parallel block that joins its branches in the other order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in reversed(list(self))], dim=self.dim)


class MeanPool(nn.MaxPool2d):
    """A pooling that takes the mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class Turned(nn.Conv2d):
    """A convolution that turns its kernel around."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight.flip(2, 3), self.bias)


def with_larger_average(name: str) -> nn.Module:
    network = build(name)
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    return network


BROKEN = [
    (6, "optimizer_factory", lambda name, lr, _, arguments: optimizer_factory(name, lr, 0.0, arguments)),
    (6, "optimizer_factory", lambda _, lr, decay, __: optimizer_factory("SGD", lr, decay, {})),
    (8, "conv", lambda c, width, size, padding: conv(c, width, size + 2, padding=padding + 1)),
    (8, "conv", lambda c, width, *_, **__: conv(c, width, 3, padding=1)),
    (11, "build", with_larger_average),
    (13, "Inception", lambda *channels, **_: Inception(*channels, reduce=True)),
    (13, "Inception", lambda *channels, **_: Inception(*channels, reduce=False)),
    (16, "BatchNorm2d", Unmoved),
    (16, "BatchNorm2d", Biased),
    (16, "BatchNorm2d", AlwaysBatch),
    (19, "BasicBlock", Scaled),
    (19, "Bottleneck", lambda *channels: Bottleneck(*channels, shortcut="none")),
    (19, "PreActBasicBlock", BasicBlock),
    (20, "BasicBlock", lambda in_channels, channels: BasicBlock(in_channels, channels // 2)),
    (20, "Bottleneck", lambda in_channels, channels: Bottleneck(in_channels, 2 * channels)),
    (25, "DenseBlock", Forgetful),
    (25, "DenseBlock", LastOnly),
    (25, "DenseBlock", lambda layers, channels, growth: DenseBlock(layers, channels, growth + 1)),
    (26, "shared_layers", lambda **_: shared_layers(tied=False)),
    (27, "Parallel", Reordered),
    (27, "Parallel", lambda *branches, dim: Parallel(*branches, branches[0], dim=dim)),
    (28, "GappedUniform", lambda: GappedUniform(zero=0.45)),
    (28, "GappedUniform", lambda: GappedUniform(low=4.5)),
    (28, "initialise", lambda network, _: initialise(network, nn.init.zeros_)),
]


@pytest.mark.parametrize(("number", "name", "broken"), BROKEN)
def test_a_broken_layer_fails_the_check(monkeypatch: pytest.MonkeyPatch, number: int, name: str, broken: object):
    monkeypatch.setattr(sys.modules[CHECKS[number].__module__], name, broken)
    assert not all(fact.holds for fact in CHECKS[number]())


@pytest.mark.parametrize(("name", "broken"), [("MaxPool2d", MeanPool), ("Conv2d", Turned)])
def test_other_layers_of_torch_fail_the_check_of_kernels(monkeypatch: pytest.MonkeyPatch, name: str, broken: type):
    monkeypatch.setattr(nn, name, broken)
    assert not all(fact.holds for fact in CHECKS[29]())


def test_every_check_has_a_broken_variant():
    assert {number for number, _, _ in BROKEN} | {29} == set(CHECKS)
