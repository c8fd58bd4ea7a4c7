"""Exact claims about single layers: weight decay, kernels, BatchNorm, tied parameters, initialisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.claims.fact import Fact, count_weights, gap_of
from lit_cnn.layers import BatchNorm2d, GappedUniform, conv, initialise, shared_layers
from lit_cnn.network.counting import count_parameters
from lit_cnn.training.optimizer import optimizer_factory


def check_weight_decay() -> list[Fact]:
    """The gradient of λ/2 |w|² is λw. SGD adds it to the step, which is the decay w ← (1 − lr λ) w. Adam rescales it."""
    lr, decay = 0.05, 0.1

    def train(optimizer: str, way: str, momentum: float = 0.0) -> Tensor:
        """Twenty steps from the same start; the decay is in the loss, beside the step, or an argument of the optimiser."""
        generator = torch.Generator().manual_seed(1)
        network = nn.Linear(5, 3, dtype=torch.float64)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(generator=generator)
        arguments = {"momentum": momentum} if momentum else {}
        factory = optimizer_factory(optimizer, lr, decay if way == "argument" else 0.0, arguments)
        steps = factory(network.parameters())
        for _ in range(20):
            x = torch.randn(8, 5, dtype=torch.float64, generator=generator)
            y = torch.randint(0, 3, (8,), generator=generator)
            loss = F.cross_entropy(network(x), y)
            if way == "loss":
                loss = loss + decay / 2 * sum(parameter.square().sum() for parameter in network.parameters())
            steps.zero_grad()
            loss.backward()
            if way == "beside":
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(1 - lr * decay)
            steps.step()
        return network.weight.detach()

    def compare(text: str, a: Tensor, b: Tensor, equal: bool) -> Fact:
        gap = gap_of(a, b)
        return Fact(f"{text} give weights that differ by {gap:.1g} after 20 steps", gap < 1e-6 if equal else gap > 1e-3)

    argument, momentum = "argument weight_decay", train("SGD", "loss", momentum=0.9)
    return [
        compare("SGD: the L2 term in the loss and weight decay", train("SGD", "loss"), train("SGD", "beside"), True),
        compare(f"SGD: the L2 term and torch's {argument}", train("SGD", "loss"), train("SGD", "argument"), True),
        compare(
            f"SGD with momentum: the L2 term and torch's {argument}", momentum, train("SGD", "argument", momentum=0.9), True
        ),
        compare("SGD with momentum: the L2 term and weight decay", momentum, train("SGD", "beside", momentum=0.9), False),
        compare("Adam: the L2 term and weight decay", train("Adam", "loss"), train("Adam", "beside"), False),
        compare(f"Adam: the L2 term and torch's {argument}", train("Adam", "loss"), train("Adam", "argument"), True),
        compare(f"AdamW: weight decay and torch's {argument}", train("Adam", "beside"), train("AdamW", "argument"), True),
    ]


def check_stacked_convolutions() -> list[Fact]:
    """n stacked 3×3 convolutions see 2n + 1 pixels in a row, and have 9n C² weights; one large one has (2n + 1)² C²."""
    channels, size, facts = 64, 15, []

    def field(network: nn.Module) -> tuple[int, int]:
        """Height and width of the pixels that the middle of the output depends on."""
        # Positive weights and pixels: no ReLU is off, so that every path counts.
        for parameter in network.parameters():
            parameter.data.abs_()
        x = torch.rand(1, channels, size, size, requires_grad=True)
        network(x)[0, 0, size // 2, size // 2].backward()
        assert x.grad is not None
        seen = x.grad.abs().sum(dim=(0, 1)) > 0
        return int(seen.any(dim=1).sum()), int(seen.any(dim=0).sum())

    for stacked, word in ((2, "two"), (3, "three")):
        large = 2 * stacked + 1
        small = nn.Sequential(*(conv(channels, channels, 3, padding=1) for _ in range(stacked)))
        single = conv(channels, channels, large, padding=large // 2)
        few, many = count_weights(small), count_weights(single)
        names = f"{word} 3×3: {{}}; one {large}×{large}: {{}}"
        facts.append(
            Fact(
                f"weights at {channels} channels of {names.format(f'{few:,}', f'{many:,}')}",
                few == stacked * 9 * channels**2 and many == large**2 * channels**2 and few < many,
            )
        )
        fields = field(small), field(single)
        facts.append(
            Fact(
                f"receptive field of {names.format(*(f'{height}×{width}' for height, width in fields))}",
                fields == ((large, large), (large, large)),
            )
        )
    return facts


def check_modes_of_batch_norm() -> list[Fact]:
    """Training uses the statistics of the batch, so an output depends on the other images. Prediction uses running ones."""
    facts = []
    x = torch.randn(8, 3, 4, 4) * 2 + 1
    mean, biased = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    for name, norm in (("torch.nn.BatchNorm2d", nn.BatchNorm2d), ("BatchNorm2d of lit_cnn", BatchNorm2d)):
        layer = norm(3)
        dependence = gap_of(layer(x[:2])[0], layer(x)[0])
        layer = norm(3)
        error = gap_of(layer(x), (x - mean) / (biased + layer.eps).sqrt())
        kept = gap_of(layer.running_mean, 0.1 * mean.flatten())
        kept = max(kept, gap_of(layer.running_var, 0.9 + 0.1 * x.var((0, 2, 3), correction=1)))
        stored = layer.running_mean.clone(), layer.running_var.clone()
        layer.eval()
        same = torch.equal(layer(x[:1])[0], layer(x)[0])
        across = (1, -1, 1, 1)
        formula = (x - stored[0].view(across)) / (stored[1].view(across) + layer.eps).sqrt()
        predicted = gap_of(layer(x), formula)
        unchanged = torch.equal(layer.running_mean, stored[0]) and torch.equal(layer.running_var, stored[1])
        facts += [
            Fact(f"{name}, training: other images in the batch change an output by {dependence:.2f}", dependence > 1e-3),
            Fact(f"{name}, training: output and (x − mean) / √(variance + ε) differ by {error:.1g}", error < 1e-5),
            Fact(f"{name}, training: running statistics differ from 0.9 old + 0.1 batch by {kept:.1g}", kept < 1e-6),
            Fact(f"{name}, prediction: an output {'does not depend' if same else 'depends'} on the other images", same),
            Fact(f"{name}, prediction: output and the formula with running statistics differ by {predicted:.1g}",
                 predicted < 1e-5),
            Fact(f"{name}, prediction: running statistics {'stay' if unchanged else 'change'}", unchanged),
        ]  # fmt: skip
    return facts


def check_gradients_of_tied_parameters() -> list[Fact]:
    """The loss depends on a tied weight through each use; by the chain rule, the gradient is the sum over the uses."""
    tied, untied = shared_layers(tied=True), shared_layers(tied=False)
    untied.load_state_dict(tied.state_dict())  # the shared layer comes under both names
    x = torch.randn(6, 4)
    for network in (tied, untied):
        network(x).square().sum().backward()
    gap = max(
        gap_of(getattr(tied[2], name).grad, getattr(untied[2], name).grad + getattr(untied[4], name).grad)
        for name in ("weight", "bias")
    )
    size = tied[2].weight.grad.abs().max().item()
    few, many = count_parameters(tied), count_parameters(untied)
    return [
        Fact(
            f"gradient of the tied layer, up to {size:.2f}, and sum of the untied ones differ by {gap:.1g}",
            gap < 1e-5 * size,
        ),
        # 4 → 8 → 8 → 8 → 1; the layer 8 → 8 counts once if tied.
        Fact(f"parameters, tied: {few}; untied: {many}", (few, many) == (40 + 72 + 9, 40 + 2 * 72 + 9)),
    ]


def check_gapped_initialisation() -> list[Fact]:
    """w is 0 with probability ½, else U(5, 10) with either sign: variance ½ (5² + 5·10 + 10²) / 3 = 175/6."""
    weight = initialise(nn.Linear(1000, 1000), GappedUniform()).weight.detach().double()
    n, sd, half_range = weight.numel(), math.sqrt(175 / 6), 2.5

    def share(name: str, hits: Tensor, expected: float) -> Fact:
        measured, error = hits.double().mean().item(), math.sqrt(expected * (1 - expected) / n)
        text = f"{name} of {n:,} weights: {measured:.4f}; expected {expected} ± {5 * error:.4f}"
        return Fact(text, abs(measured - expected) < 5 * error)

    sizes = weight[weight != 0].abs()
    low, high = (sizes.min().item(), sizes.max().item()) if len(sizes) else (math.nan, math.nan)
    middle, error = sizes.mean().item(), half_range / math.sqrt(3) / math.sqrt(max(1, len(sizes)))
    # Of the standard deviation, by the fourth moment ½ (10⁵ − 5⁵) / 25 = 1937.5.
    spread, spread_error = weight.std().item(), math.sqrt((1937.5 - sd**4) / n) / (2 * sd)
    return [
        share("share of zeros", weight == 0, 0.5),
        share("share above zero", weight > 0, 0.25),
        share("share from 5 to 7.5", (weight >= 5) & (weight < 7.5), 0.125),
        Fact(f"sizes of the others: from {low:.3f} to {high:.3f}", low >= 5 and high <= 10),
        Fact(f"mean size: {middle:.4f}; expected 7.5 ± {5 * error:.4f}", abs(middle - 7.5) < 5 * error),
        Fact(
            f"standard deviation: {spread:.4f}; expected √(175/6) = {sd:.4f} ± {5 * spread_error:.4f}",
            abs(spread - sd) < 5 * spread_error and math.isclose(GappedUniform().variance.item(), 175 / 6, rel_tol=1e-6),
        ),
    ]


def check_shapes_of_kernels() -> list[Fact]:
    """An output channel sums over all input channels and over the window; a pooling takes the maximum of each window."""
    c_i, c_o, k_h, k_w = 3, 5, 2, 4
    layer = nn.Conv2d(c_i, c_o, kernel_size=(k_h, k_w))
    shape = tuple(layer.weight.shape)
    x = torch.randn(1, c_i, 6, 9)
    windows = x.unfold(2, k_h, 1).unfold(3, k_w, 1)  # (1, c_i, H', W', k_h, k_w)
    assert layer.bias is not None
    gap = gap_of(layer(x), torch.einsum("ncyxhw,ochw->noyx", windows, layer.weight) + layer.bias.view(1, -1, 1, 1))

    grid = torch.arange(16.0).reshape(1, 1, 4, 4)
    pooled = nn.MaxPool2d((2, 3), stride=(2, 3), padding=(0, 1))(grid)
    padded = F.pad(grid, (1, 1, 0, 0), value=-math.inf)
    maxima = padded.unfold(2, 2, 2).unfold(3, 3, 3).amax(dim=(-2, -1))
    rows = [[round(value) for value in row] for row in pooled[0, 0].tolist()]
    return [
        Fact(
            f"kernel of {c_i} → {c_o} channels with window {k_h}×{k_w}: {' × '.join(map(str, shape))}",
            shape == (c_o, c_i, k_h, k_w),
        ),
        Fact(f"convolution and sum over input channels and window differ by {gap:.1g}", gap < 1e-5),
        Fact(f"maxima of the 4×4 example: {rows}", torch.equal(pooled, maxima)),
    ]
