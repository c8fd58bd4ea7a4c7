"""Vital signs of a network: statistics of its activations, its gradients and the changes of its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Functions that networks call in place of modules, by the names of these modules.
_FUNCTIONS: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "ReLU": (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    "ReLU6": (F.relu6,),
    "Hardtanh": (F.hardtanh,),  # which nn.ReLU6 calls
    "LeakyReLU": (F.leaky_relu,),
    "ELU": (F.elu,),
    "GELU": (F.gelu,),
    "SiLU": (F.silu,),
    "Hardswish": (F.hardswish,),
    "Sigmoid": (torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
    "Tanh": (torch.tanh, Tensor.tanh, Tensor.tanh_),
}
_ACTIVATIONS = {function: name for name, functions in _FUNCTIONS.items() for function in functions}
# Activations that pass nothing on, and no gradient, where their input is negative.
RELUS = ("ReLU", "ReLU6")


@dataclass(frozen=True)
class ActivationStatistics:
    """The output of one call of a layer, over all images, channels and positions.

    Args:
        class_name: Class of the layer; for a function such as ``F.relu``, that of the module that does the same.
        mean: Mean.
        sd: Standard deviation, with the number of values as the divisor.
        dead: Of a ReLU, the share of units (channels) that are zero at every position of every image; else None.
    """

    class_name: str
    mean: float
    sd: float
    dead: float | None


def activation_statistics(network: nn.Module, images: Tensor) -> dict[str, ActivationStatistics]:
    """Statistics of all layers with weights and of all activations in one forward pass.

    See :func:`measure_forward`, which also returns the logits.
    """
    return measure_forward(network, images)[1]


def measure_forward(network: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, ActivationStatistics]]:
    """One forward pass without gradients, in the present mode of each module.

    Buffers, such as the running statistics of BatchNorm, and the state of the random numbers stay as they were. The pass
    is not compiled, whether the network is or not.

    Args:
        network: On the device of the images.
        images: A batch (N, C, H, W), or whatever the network takes.

    Returns:
        The output of the network, and the statistics by layer in the order of the calls. A function has the name of its
        module and its own, ``layer1.0.relu``. Further calls of the same name are numbered: ``layer1.0.relu:2``.
    """
    recorder = _Recorder()
    with _unchanged(network, images.device), recorder.attached(network), torch.no_grad():
        # Not network(): that would be the compiled network, which has no hooks.
        output: Tensor = network.forward(images)
    return output, recorder.statistics()


def weighted_layers(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weight of each layer that has one, biases aside, by the name of the layer; shared layers count once."""
    weights = {name: getattr(module, "weight", None) for name, module in network.named_modules()}
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


def gradient_rms(network: nn.Module) -> dict[str, float]:
    """Root mean square of the gradient of each layer's weight, by the name of the layer; those without one are left out."""
    gradients = {name: weight.grad for name, weight in weighted_layers(network).items() if weight.grad is not None}
    return _floats({name: _rms(gradient) for name, gradient in gradients.items()})


def weight_change(network: nn.Module, before: Mapping[str, Tensor]) -> dict[str, float]:
    """Root mean square of the change of each layer's weight, divided by that of the weight before.

    Args:
        network: After the change.
        before: Copies of the weights that :func:`weighted_layers` named before it.

    Returns:
        The ratio by layer; NaN where the weight was zero.
    """
    with torch.no_grad():
        after = weighted_layers(network)
        ratios = {name: _rms(after[name] - weight) / _rms(weight) for name, weight in before.items()}
        zero = {name: _rms(weight) == 0 for name, weight in before.items()}
        return _floats({name: ratio.masked_fill(zero[name], torch.nan) for name, ratio in ratios.items()})


class _Recorder(TorchFunctionMode):
    """Takes the statistics of a forward pass: of modules by hooks, of activations where their functions are called."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[str, str, list[Tensor]]] = []  # name, class, mean and sd, and of a ReLU the dead share
        self._within: list[tuple[str, str]] = []  # name and class of the modules that are running, the innermost last

    @contextmanager
    def attached(self, network: nn.Module) -> Iterator[None]:
        hooks = []
        weighted = weighted_layers(network)
        for name, module in network.named_modules():
            # A module may have several names. It is hooked once, by the first of them.
            hooks.append(module.register_forward_pre_hook(self._enter(name)))
            hooks.append(module.register_forward_hook(self._leave(name if name in weighted else None), always_call=True))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any) -> None:
            self._within.append((name, type(module).__name__))

        return hook

    def _leave(self, name: str | None) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            self._within.pop()
            if name is not None and isinstance(output, Tensor):
                self._record(name, type(module).__name__, output)

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        class_name = _ACTIVATIONS.get(func)
        if class_name is not None:
            name, caller = self._within[-1] if self._within else ("", "")
            if caller in _FUNCTIONS:
                self._record(name, caller, output)
            else:
                self._record(f"{name}.{class_name.lower()}".lstrip("."), class_name, output)
        return output

    def _record(self, name: str, class_name: str, output: Tensor) -> None:
        values = output.detach().to(torch.promote_types(output.dtype, torch.float32))
        # Many times as quick on the processor as torch.var_mean and torch.amax.
        mean = values.mean()
        measures = [mean, torch.linalg.vector_norm(values - mean) / max(1, values.numel()) ** 0.5]
        if class_name in RELUS:
            over = [dim for dim in range(values.ndim) if dim != 1]
            total = values.sum(dim=over) if over else values  # no value is negative: none is positive if this is 0
            measures.append((total == 0).to(mean.dtype).mean())
        self._calls.append((name, class_name, measures))

    def statistics(self) -> dict[str, ActivationStatistics]:
        if not self._calls:
            return {}
        # Read in one go: each read waits for the accelerator.
        values = iter(torch.stack([value for _, _, measures in self._calls for value in measures]).tolist())
        counts: Counter[str] = Counter()
        found = {}
        for name, class_name, measures in self._calls:
            counts[name] += 1
            numbered = name if counts[name] == 1 else f"{name}:{counts[name]}"
            mean, sd, *dead = (next(values) for _ in measures)
            found[numbered] = ActivationStatistics(class_name, mean, sd, dead[0] if dead else None)
        return found


@contextmanager
def _unchanged(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Buffers and random numbers are afterwards what they were before."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices = [] if device.type == "cpu" else [device]
    try:
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _rms(values: Tensor) -> Tensor:
    return values.float().square().mean().sqrt()


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read in one go."""
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True)) if values else {}
