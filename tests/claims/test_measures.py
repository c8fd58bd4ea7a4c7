"""Measures of networks whose answers are known by construction."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.claims import measures
from lit_cnn.models import build


class Labels(nn.Module):
    """Its logits are the first ten pixels of the first row, times a factor; counts the images of each batch."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.batches: list[int] = []
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        self.modes.append((self.training, torch.is_inference_mode_enabled()))
        return self.factor * x[:, 0, 0, :10]


def one_hot_images(labels: Tensor, size: int = 12) -> Tensor:
    images = torch.zeros(len(labels), 1, size, size)
    images[torch.arange(len(labels)), 0, 0, labels] = 1
    return images


LABELS = torch.arange(1200) % 10
IMAGES = one_hot_images(LABELS)


def test_accuracy_is_the_share_of_images_whose_largest_logit_is_the_label():
    network = Labels().train()
    wrong = LABELS.clone()
    wrong[:300] = (wrong[:300] + 1) % 10
    assert measures.accuracy(network, IMAGES, LABELS) == 1
    assert measures.accuracy(network, IMAGES, wrong) == 0.75
    assert network.batches[:3] == [500, 500, 200]
    assert set(network.modes) == {(False, True)}
    assert network.training


def test_cross_entropy_is_the_mean_over_all_images():
    assert measures.cross_entropy(Labels(0.0), IMAGES, LABELS) == pytest.approx(math.log(10))
    expected = F.cross_entropy(3 * IMAGES[:, 0, 0, :10], LABELS).item()
    assert measures.cross_entropy(Labels(3.0), IMAGES, LABELS) == pytest.approx(expected, rel=1e-6)


class Recorder(nn.Module):
    """Keeps the images that it is given; every logit is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return torch.zeros(len(x), 10)


def test_images_are_shifted_in_eight_directions_and_the_border_is_filled():
    image = torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    network = Recorder()
    measures.accuracy_when_shifted(network, image, torch.zeros(1, dtype=torch.long), pixels=2, fill=-7.0)
    assert len(network.seen) == 8
    expected = set()
    for rows in (-2, 0, 2):
        for columns in (-2, 0, 2):
            if rows or columns:
                moved = image.roll((rows, columns), dims=(2, 3))
                moved[:, :, : max(rows, 0)] = -7
                moved[:, :, 5 + min(rows, 0) :] = -7
                moved[:, :, :, : max(columns, 0)] = -7
                moved[:, :, :, 5 + min(columns, 0) :] = -7
                expected.add(tuple(moved.flatten().tolist()))
    assert {tuple(seen.flatten().tolist()) for seen in network.seen} == expected


def test_each_channel_has_its_own_background_which_is_its_smallest_value_by_default():
    images = torch.rand(3, 2, 6, 6) + torch.tensor([5.0, -3.0]).view(1, 2, 1, 1)
    labels = torch.zeros(3, dtype=torch.long)
    for fill in (None, (0.5, -0.5)):
        network = Recorder()
        measures.accuracy_when_shifted(network, images, labels, pixels=1, fill=fill)
        expected = torch.tensor(fill) if fill else images.amin((0, 2, 3))
        rows = [seen[:, :, 0] for seen in network.seen if torch.equal(seen[:, :, 1:], images[:, :, :-1])]
        assert len(rows) == 1
        assert torch.equal(rows[0], expected.view(1, 2, 1).expand(3, 2, 6))


def test_accuracy_when_shifted_is_the_mean_over_the_shifts():
    class Corner(nn.Module):
        """Class 1 if the upper left pixel is lit."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((torch.full((len(x),), 0.5), x[:, 0, 0, 0]), dim=1)

    images, labels = torch.zeros(600, 1, 8, 8), torch.ones(600, dtype=torch.long)
    images[:, 0, 4, 4] = 1
    # One shift of eight brings the pixel into the corner.
    assert measures.accuracy_when_shifted(Corner(), images, labels) == 1 / 8
    assert measures.accuracy_when_shifted(Corner(), images, labels, pixels=3) == 0
    # The corner is on the border of all shifts but those up and to the left.
    assert measures.accuracy_when_shifted(Corner(), images, labels, pixels=3, fill=1.0) == 5 / 8


@pytest.mark.parametrize("pixels", [0, -1, 12])
def test_a_shift_moves_the_image_but_not_out_of_sight(pixels: int):
    with pytest.raises(ValueError, match=f"pixels must be from 1 to 11, got {pixels}"):
        measures.accuracy_when_shifted(Labels(), IMAGES, LABELS, pixels)


def test_accuracy_at_other_sizes_is_none_where_the_network_refuses():
    images, labels = torch.randn(20, 1, 28, 28), torch.zeros(20, dtype=torch.long)
    lenet = build("lenet")
    assert measures.accuracy_at_size(lenet, images, labels, 28) == measures.accuracy(lenet, images, labels)
    assert measures.accuracy_at_size(lenet, images, labels, 24) is None
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
    assert measures.accuracy_at_size(fixed, images, labels, 32) is None
    pooled = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert measures.accuracy_at_size(pooled, images, labels, 24) is not None


@pytest.mark.parametrize("size", [4, 12])
def test_images_are_resized_as_the_data_are(size: int):
    image = torch.randn(1, 1, 8, 8)
    network = Recorder()
    measures.accuracy_at_size(network, image, torch.zeros(1, dtype=torch.long), size)
    expected = F.interpolate(image, (size, size), mode="bilinear", antialias=size < 8)
    assert torch.equal(network.seen[-1], expected)


def test_noise_has_its_deviation_is_repeatable_and_leaves_other_random_numbers_alone():
    network = Recorder()
    zeros, labels = torch.zeros(1200, 1, 12, 12), torch.zeros(1200, dtype=torch.long)
    state = torch.get_rng_state()
    for seed in (0, 0, 1):
        measures.accuracy_under_noise(network, zeros, labels, sd=0.3, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (torch.cat(network.seen[start : start + 3]) for start in (0, 3, 6))
    assert first.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert measures.accuracy_under_noise(Labels(), IMAGES, LABELS, sd=0.0) == 1
    assert measures.accuracy_under_noise(Labels(), IMAGES, LABELS, sd=5.0) < 0.5


class Slow(nn.Module):
    """Waits before each pass."""

    def __init__(self, name: str, log: list[str], advance: Callable[[float], None], delay: float) -> None:
        super().__init__()
        self.name, self.log, self.advance, self.delay = name, log, advance, delay
        self.layer = nn.Linear(4, 2)

    def __deepcopy__(self, memo: dict) -> nn.Module:
        return Slow(self.name, self.log, self.advance, self.delay)

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(self.name)
        self.advance(self.delay)
        return self.layer(x)


@pytest.mark.parametrize("training", [True, False])
def test_networks_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch, training: bool):
    now, log = [0.0], []
    monkeypatch.setattr(measures.time, "perf_counter", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    networks = [Slow("fast", log, advance, 0.25), Slow("slow", log, advance, 0.5)]
    speeds = measures.images_per_s(networks, torch.randn(8, 4), training, rounds=3, seconds=1.0)
    assert speeds == [[32.0] * 3, [16.0] * 3]
    # In each round, a step that is not counted, and as many as fill the second.
    assert log == (["fast"] * 5 + ["slow"] * 3) * 3


def test_timing_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(4, 1, 4, 4)
    state = torch.get_rng_state()
    speeds = measures.images_per_s([network], images, rounds=2, seconds=0.0)
    assert [len(rounds) for rounds in speeds] == [2]
    assert min(speeds[0]) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_is_what_the_backward_pass_needs():
    n = 16
    images = torch.randn(n, 10)
    # The first layer keeps its input, the ReLU its output, which is the input of the next layer: counted once.
    network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    assert measures.peak_memory(network, images) == 4 * n * (10 + 20)
    # A sigmoid keeps its output too; the input of a ReLU is not kept.
    deeper = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    assert measures.peak_memory(deeper, images) == 4 * n * (10 + 20 + 30)
    frozen = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5))
    frozen.requires_grad_(False)
    assert measures.peak_memory(frozen, images) == 0


def test_memory_grows_with_the_batch_and_leaves_the_network_as_it_was():
    network = build("densenet_40_12", num_classes=10).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one, two = (measures.peak_memory(network, torch.zeros(n, 3, 8, 8)) for n in (2, 4))
    assert one < two <= 2 * one
    assert measures.peak_memory(network, torch.zeros(2, 3, 8, 8)) == one
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training


def test_shifted_images_lie_in_memory_as_the_images_do():
    network = Recorder()
    images = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    measures.accuracy_when_shifted(network, images, torch.zeros(2, dtype=torch.long))
    assert all(seen.is_contiguous(memory_format=torch.channels_last) for seen in network.seen)


def test_gradient_ratio_of_a_chain_follows_from_the_chain_rule():
    # z = w2 w1 x: the gradient of w1 is w2 x dL/dz, that of w2 is w1 x dL/dz. Both logits change w1.
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False))
    network[0].weight.data[:] = 0.2
    network[1].weight.data = torch.tensor([[0.3], [-0.3]])
    x, labels = torch.ones(4, 1), torch.zeros(4, dtype=torch.long)
    # dL/dz = (−g, g): w1 gets −0.6 g, w2 gets ∓0.2 g.
    assert measures.gradient_ratio(network, x, labels, "0", "1") == pytest.approx(3.0)
    assert measures.gradient_ratio(network, x, labels, "1", "0") == pytest.approx(1 / 3)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_a_gradient_in_the_last_layer_there_is_no_finite_ratio():
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False))
    x, labels = torch.ones(4, 1), torch.zeros(4, dtype=torch.long)
    nn.init.zeros_(network[0].weight)
    assert measures.gradient_ratio(network, x, labels, "0", "1") == math.inf
    nn.init.zeros_(network[1].weight)
    assert math.isnan(measures.gradient_ratio(network, x, labels, "0", "1"))


def test_gradient_ratio_is_that_of_training_and_names_what_is_missing():
    network = build("resnet20", num_classes=3, in_channels=1).eval()
    images, labels = torch.randn(8, 1, 16, 16), torch.arange(8) % 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ratio = measures.gradient_ratio(network, images, labels, "conv1", "fc")
    assert 0 < ratio < math.inf
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    network.train()
    F.cross_entropy(network(images), labels).backward()
    rms = [layer.weight.grad.square().mean().sqrt().item() for layer in (network.conv1, network.fc)]
    assert ratio == pytest.approx(rms[0] / rms[1], rel=1e-4)
    with pytest.raises(ValueError, match="layer 'conv' has no gradient; the first that has one is conv1, the last fc"):
        measures.gradient_ratio(network, images, labels, "conv", "fc")
