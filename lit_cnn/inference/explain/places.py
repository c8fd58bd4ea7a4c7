"""The feature maps that a network computes in a forward pass, found by running it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lit_cnn.network.base import evaluating
from lit_cnn.network.names import nearest

# A map of fewer cells a side shows no place: an earlier one is taken, if one has more.
FEWEST_CELLS = 4
# What explains a network that has no maps.
WITHOUT_MAPS = "take --method occlusion or ig, which need none"


@dataclass(frozen=True)
class Place:
    """A feature map in a forward pass: what comes out of a module, or what goes into it.

    Args:
        module: Name of the module.
        call: Number of the call of this module in a forward pass.
        shape: Of one image: (channels, height, width).
        before: Whether it is what goes in.
    """

    module: str
    call: int
    shape: tuple[int, int, int]
    before: bool = False

    @property
    def name(self) -> str:
        return f"before {self.module}" if self.before else self.module

    @property
    def cells(self) -> int:
        """Cells on the shorter side."""
        return min(self.shape[1:])


@dataclass(frozen=True, eq=False)
class Head:
    """An average over each feature map, and at most one linear layer after it: there the class activation map is exact.

    Args:
        maps: The maps before the average.
        linear: The layer after it; None if the averages are the logits.
    """

    maps: Place
    linear: nn.Linear | None


@dataclass(frozen=True, eq=False)
class Survey:
    """The feature maps of a network for images of one size.

    Args:
        outputs: What comes out of each module that gives maps, by its name, in the order of a forward pass.
        last: The last maps with at least :data:`FEWEST_CELLS` cells a side, or with several cells; None without any.
        head: The exact end of the network; None if it ends otherwise.
        network: Name of the network's class.
    """

    outputs: dict[str, Place]
    last: Place | None
    head: Head | None
    network: str

    def find(self, layer: str | None = None) -> Place:
        """The maps that a layer gives; the last if no layer is named.

        Raises:
            ValueError: If there is no such layer, or no maps; suggests similar layers.
        """
        if layer is None:
            if self.last is None:
                raise ValueError(f"{self.network} has no feature map of several cells: {WITHOUT_MAPS}")
            return self.last
        if layer not in self.outputs:
            if not self.outputs:
                raise ValueError(f"{self.network} has no layer that gives feature maps: {WITHOUT_MAPS}")
            names = list(self.outputs)
            hint = nearest(layer, names)
            if "did you mean" not in hint:
                hint = f"there are {', '.join(names[:3])}, … and {names[-1]}: lit-cnn summary lists all"
            raise ValueError(f"no layer {layer!r} of {self.network} gives feature maps; {hint}")
        return self.outputs[layer]


@dataclass(frozen=True, eq=False)
class _Event:
    """A tensor that goes into a module or comes out of it."""

    name: str
    call: int
    before: bool
    tensor: Tensor
    version: int  # a layer that works in place changes the tensor, and its version

    @property
    def is_map(self) -> bool:
        return self.tensor.ndim == 4

    def is_same(self, other: _Event) -> bool:
        return self.tensor is other.tensor and self.version == other.version

    @property
    def place(self) -> Place:
        _, channels, height, width = self.tensor.shape
        return Place(self.name, self.call, (channels, height, width), self.before)


def survey(network: nn.Module, image: Tensor) -> Survey:
    """The feature maps of a network.

    Args:
        network: From images to logits; used in evaluation mode, and left in its own.
        image: As the network takes it, (1, C, H, W).
    """
    events: list[_Event] = []
    calls: dict[str, int] = {}
    hooks = []
    for name, module in network.named_modules():
        if not name:
            continue

        def enter(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            calls[name] = calls.get(name, -1) + 1
            if inputs and isinstance(inputs[0], Tensor):
                events.append(_Event(name, calls[name], True, inputs[0], inputs[0]._version))

        def leave(_: nn.Module, __: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            if isinstance(output, Tensor):
                events.append(_Event(name, calls[name], False, output, output._version))

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        # A version is counted outside of inference mode alone.
        with torch.inference_mode(False), torch.no_grad(), evaluating(network):
            logits = network(image.detach().clone())
    finally:
        for hook in hooks:
            hook.remove()
    outputs = {event.name: event.place for event in events if event.is_map and not event.before}
    modules = dict(network.named_modules())
    return Survey(outputs, _last(events, modules), _head(events, modules, logits), type(network).__name__)


def _last(events: list[_Event], modules: dict[str, nn.Module]) -> Place | None:
    found: list[_Event] = []
    has_output = False
    for before, event in zip([None, *events], events, strict=False):
        if before and not event.before and isinstance(modules[event.name], nn.AdaptiveAvgPool2d):
            grows = event.is_map and before.is_map and event.place.cells > before.place.cells
            if grows:
                break  # its cells only repeat others
        # What goes into the first module is the image.
        if event.is_map and (has_output or not event.before):
            found.append(event)
            has_output = True
    chosen: _Event | None = None
    for fewest in (FEWEST_CELLS, 2):
        chosen = next((event for event in reversed(found) if event.place.cells >= fewest), None)
        if chosen is not None:
            break
    if chosen is None:
        return None
    # Named by the outermost module that gives it, if one does.
    source = next((event for event in reversed(found) if not event.before and event.is_same(chosen)), chosen)
    return source.place


def _head(events: list[_Event], modules: dict[str, nn.Module], logits: Tensor) -> Head | None:
    """The exact end of a network; None if it ends otherwise, or its maps have one cell."""
    averages = [
        (before, event)
        for before, event in pairwise(events)
        if isinstance(modules[event.name], nn.AdaptiveAvgPool2d) and before.name == event.name and not event.before
    ]
    if not averages or averages[-1][1].tensor.shape[2:] != (1, 1) or _is_small(averages[-1][0]):
        return None
    maps, means = averages[-1][0].place, averages[-1][1].tensor.flatten(1)
    if _equal(means, logits):
        return Head(maps, None)
    linear = [event for event in events if isinstance(modules[event.name], nn.Linear)]
    # Between average and head there may be what changes nothing, such as a dropout in evaluation mode.
    if len(linear) < 2 or not _equal(linear[-1].tensor, logits) or not _equal(linear[-2].tensor, means):
        return None
    module = modules[linear[-1].name]
    assert isinstance(module, nn.Linear)
    return Head(maps, module)


def _is_small(event: _Event) -> bool:
    return not event.is_map or event.place.cells < 2


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


@contextmanager
def kept(network: nn.Module, place: Place) -> Iterator[list[Tensor]]:
    """Keeps the maps at a place in a forward pass, (N, channels, height, width).

    The following layers get a copy, so that in-place layers do not change the kept maps.

    Yields:
        A list that holds the maps after the forward pass.
    """
    found: list[Tensor] = []
    calls = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls - 1 != place.call:
            return tensor
        found.append(tensor)
        return tensor.clone()

    module = network.get_submodule(place.module)
    if place.before:
        hook = module.register_forward_pre_hook(lambda _, inputs: (keep(inputs[0]), *inputs[1:]))
    else:
        hook = module.register_forward_hook(lambda _, __, output: keep(output))
    try:
        yield found
    finally:
        hook.remove()
