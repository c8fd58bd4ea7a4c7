"""Exact claims about blocks: global average, Inception, residual, bottleneck, dense and parallel ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.claims.fact import Fact, count_weights, gap_of
from lit_cnn.layers import BasicBlock, Bottleneck, DenseBlock, Inception, Parallel, PreActBasicBlock
from lit_cnn.models import build, describe
from lit_cnn.models.googlenet import INCEPTION
from lit_cnn.network.counting import count_multiply_adds, count_parameters
from lit_cnn.network.sizes import takes


def check_global_average() -> list[Fact]:
    """A mean over all positions has no weights and prefers no position. A linear layer has weights for each."""
    network = build("nin_cifar")
    trunk, average = network.get_submodule("features"), network.get_submodule("avgpool")
    maps = trunk.eval()(torch.randn(2, 3, 32, 32)).detach()  # (N, 10, 8, 8)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(maps[0].numel(), maps.shape[1]))
    heads = {"global average": average, "linear layer": linear}
    sizes = {
        name: [size for size in (24, 28, 32) if takes(nn.Sequential(trunk, head), 3, size)] for name, head in heads.items()
    }
    weights = {name: count_parameters(head) for name, head in heads.items()}
    moved = {name: gap_of(head(maps.roll(3, dims=2)), head(maps)) for name, head in heads.items()}

    def describe_heads(text: str, values: dict[str, Any]) -> str:
        return f"{text}: " + "; ".join(f"{name} {value}" for name, value in values.items())

    return [
        Fact(
            describe_heads("parameters after the convolutions of nin_cifar", weights),
            weights == {"global average": 0, "linear layer": maps[0].numel() * maps.shape[1] + maps.shape[1]},
        ),
        Fact(
            describe_heads("image sizes of 24, 28 and 32 that the network takes", sizes),
            sizes == {"global average": [24, 28, 32], "linear layer": [32]},
        ),
        Fact(
            describe_heads(
                "change of the outputs if the maps turn by 3 rows", {name: f"{gap:.1g}" for name, gap in moved.items()}
            ),
            moved["global average"] < 1e-5 < 1e-3 < moved["linear layer"],
        ),
    ]


def check_reductions_of_inception() -> list[Fact]:
    """A k×k convolution costs k² c_in c_out for each pixel; with r channels between, c_in r + k² r c_out, which is less."""

    def formula(c_in: int, c1: int, r3: int, c3: int, r5: int, c5: int, pool: int, reduce: bool) -> tuple[int, int]:
        """Parameters, and multiply-adds for each pixel."""
        layers = [(c_in, c1, 1), (c_in, pool, 1)]
        for reduced, channels, kernel_size in ((r3, c3, 3), (r5, c5, 5)):
            layers += [(c_in, reduced, 1), (reduced, channels, kernel_size)] if reduce else [(c_in, channels, kernel_size)]
        weights = sum(before * after * size**2 for before, after, size in layers)
        return weights + sum(after for _, after, _ in layers), weights

    def measure(c_in: int, channels: tuple[int, ...], size: int, reduce: bool) -> tuple[int, int]:
        with torch.device("meta"):
            block = Inception(c_in, *channels, reduce=reduce)
            return count_parameters(block), count_multiply_adds(block, torch.empty(1, c_in, size, size))

    c_in, size, cheaper = 192, 28, 0
    facts = []
    for name, channels in INCEPTION.items():
        with_, without = (measure(c_in, channels, size, reduce) for reduce in (True, False))
        expected = [formula(c_in, *channels, reduce=reduce) for reduce in (True, False)]
        exact = [(parameters, macs * size**2) for parameters, macs in expected] == [with_, without]
        cheaper += exact and with_[0] < without[0] and with_[1] < without[1]
        if name == "inception3a":
            for what, few, many in zip(("parameters", "multiply-adds at 28×28"), with_, without, strict=True):
                text = f"{what} of {name}: {few:,} with the reductions, {many:,} without"
                facts.append(Fact(text, exact and few < many))
        c_in = channels[0] + channels[2] + channels[4] + channels[5]
        size = {"inception3b": 14, "inception4e": 7}.get(name, size)
    text = f"blocks of GoogLeNet that the reductions make smaller and cheaper: {cheaper} of {len(INCEPTION)}"
    return [*facts, Fact(text, cheaper == len(INCEPTION))]


def check_identity_of_residual_blocks() -> list[Fact]:
    """With a scale of zero in its last BatchNorm, a block adds 0 to x: relu(x) is left, and x ≥ 0 after another block."""
    facts = []
    x = torch.randn(2, 16, 8, 8)

    def agree(block: nn.Module, expected: Tensor) -> bool:
        return all(torch.equal(block.train(training)(x), expected) for training in (True, False))

    blocks = {"basic block": (BasicBlock(16, 16), "bn2"), "bottleneck": (Bottleneck(16, 4), "bn3")}
    for name, (block, last) in blocks.items():
        nn.init.zeros_(getattr(block, last).weight)
        same = agree(block, F.relu(x))
        facts.append(Fact(f"{name} with last scale 0: {'equals' if same else 'differs from'} relu(x), to the bit", same))
    block = PreActBasicBlock(16, 16)
    nn.init.zeros_(block.conv2.weight)
    same = agree(block, x)
    text = f"pre-activation block with last weights 0: {'equals' if same else 'differs from'} x, to the bit"
    facts.append(Fact(text, same))

    shallow, deep = build("resnet20").eval(), build("resnet32").eval()
    deep.load_state_dict(shallow.state_dict(), strict=False)
    added = 0
    for stage, below in ((deep.get_submodule(f"layer{n}"), shallow.get_submodule(f"layer{n}")) for n in (1, 2, 3)):
        for block in list(stage.children())[len(list(below.children())) :]:
            nn.init.zeros_(block.bn2.weight)
            added += 1
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        same = torch.equal(deep(images), shallow(images))
    text = f"resnet32 whose {added} added blocks have last scale 0: {'computes' if same else 'does not compute'} resnet20"
    return [*facts, Fact(f"{text}, to the bit", same)]


def check_bottleneck() -> list[Fact]:
    """Two 3×3 convolutions of C channels have 18 C² weights; C → C/4 → C/4 → C has (1/4 + 9/16 + 1/4) C²."""

    def count_macs(block: nn.Module, channels: int) -> int:
        return count_multiply_adds(block, torch.zeros(1, channels, 14, 14))

    c = 256
    basic, narrow = BasicBlock(c, c), Bottleneck(c, c // 4)
    few, many = count_weights(narrow), count_weights(basic)
    exact = few == c * c // 4 + 9 * (c // 4) ** 2 + c // 4 * c and many == 18 * c**2
    cheap, dear = count_macs(narrow, c), count_macs(basic, c)
    return [
        Fact(f"weights at {c} channels of the bottleneck: {few:,}; of the basic block: {many:,}", exact and few < many),
        Fact(
            f"multiply-adds at 14×14 of the bottleneck: {cheap:,}; of the basic block: {dear:,}",
            exact and (cheap, dear) == (few * 14**2, many * 14**2),
        ),
    ]


def check_channels_of_dense_blocks() -> list[Fact]:
    """Each layer adds k channels to what it read, so layer l reads k0 + (l − 1) k channels: the input and all outputs."""
    k0, k, num_layers = 7, 4, 5
    block = DenseBlock(num_layers, k0, k)
    read: list[Tensor] = []
    made: list[Tensor] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        read.append(inputs[0])
        made.append(output)

    for layer in block:
        layer.register_forward_hook(record)
    x = torch.randn(2, k0, 6, 6)
    out = block(x)
    seen = [images.shape[1] for images in read[:num_layers]]
    given = [torch.cat((x, *made[:index]), dim=1) for index in range(num_layers)]
    contents = all(torch.equal(a, b) for a, b in zip(read, given, strict=False))
    passed = torch.equal(out, torch.cat((x, *made[:num_layers]), dim=1))
    width = DenseBlock(2, 3, 10)(torch.zeros(4, 3, 8, 8)).shape[1]
    layout, last = describe("densenet_d2l"), build("densenet_d2l").get_submodule("classifier").in_features
    channels = layout.num_init_features
    for index, layers in enumerate(layout.num_layers):
        channels = (channels if index == 0 else int(channels * layout.compression)) + layers * layout.growth_rate
    return [
        Fact(
            f"channels that layers 1 to {num_layers} read, with k0 = {k0} and k = {k}: {', '.join(map(str, seen))}",
            seen == [k0 + (layer - 1) * k for layer in range(1, num_layers + 1)],
        ),
        Fact(f"each layer {'reads' if contents else 'does not read'} the input and all earlier outputs", contents),
        Fact(f"the block {'passes on' if passed else 'does not pass on'} its input and all outputs", passed),
        Fact(f"channels after a block of 2 layers on 3 channels with growth rate 10: {width}", width == 3 + 2 * 10),
        Fact(f"channels before the classifier of densenet_d2l: {last}", last == channels),
    ]


def check_parallel_blocks() -> list[Fact]:
    """The output is the concatenation of the branches' outputs, so its features add up; also for a single vector."""
    a, b = nn.Linear(20, 3), nn.Linear(20, 6)
    facts = []
    for name, x in (("a vector", torch.randn(20)), ("a batch", torch.randn(4, 20))):
        joined = Parallel(a, b, dim=-1)(x)
        same = torch.equal(joined, torch.cat((a(x), b(x)), dim=-1))
        text = f"features of {name}: {a.out_features} + {b.out_features} = {joined.shape[-1]}"
        facts.append(Fact(f"{text}, {'equal to' if same else 'other than'} the branches' outputs", same))
    return facts
