"""Which pixels of the image a cell of a feature map can see.

The sizes are followed through the operations of a forward pass, as Araujo, Norris and Sim 2019, "Computing receptive fields
of convolutional neural networks", Distill, do by hand: kernels, strides, paddings; where paths join, the hull of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_cnn.inference.explain.places import Place, kept
from lit_cnn.network.base import evaluating

aten = torch.ops.aten


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that the cells of a feature map can see; heights first.

    Args:
        first: Top and left pixel that the first cell sees; negative in the padding.
        size: Pixels that a cell sees, also where they lie outside of the image.
        stride: Pixels from a cell to the next.
    """

    first: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of what a cell sees, the latter two exclusive; it may reach out of the image."""
        top, left = (start + step * cell for start, step, cell in zip(self.first, self.stride, (row, column), strict=True))
        return top, left, top + self.size[0], left + self.size[1]


def receptive_field(network: nn.Module, image: Tensor, place: Place) -> ReceptiveField:
    """What the cells of a feature map see.

    Args:
        network: From images to logits; used in evaluation mode, and left in its own.
        image: As the network takes it, (1, C, H, W).
        place: The maps, see :func:`lit_cnn.inference.explain.places.survey`.

    Raises:
        ValueError: If the cells are not regular, as after an average over windows of several sizes.
    """
    with torch.inference_mode(False), torch.no_grad(), evaluating(network), kept(network, place) as found:
        image = image.detach().clone()
        with _Fields(image) as fields:
            network(image)
    field = fields.of(found[0])
    if field is None:
        raise ValueError(f"the cells of {place.name} have no receptive field of one size: choose an earlier --layer")
    return field


class _Fields(TorchDispatchMode):
    """Follows the fields through the operations of torch. Where an operation is not regular, nothing is known after it."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        # By the tensor's identity; the tensors are held, so that no other gets it. A field is None if the tensor depends on
        # the image, but not regularly. What does not depend on the image, such as a weight, has no entry.
        self.known: dict[int, tuple[Tensor, ReceptiveField | None]] = {}
        self._enter(image, ReceptiveField((0, 0), (1, 1), (1, 1)))

    def of(self, tensor: Tensor) -> ReceptiveField | None:
        found = self.known.get(id(tensor))
        return None if found is None else found[1]

    def _enter(self, tensor: Tensor, field: ReceptiveField | None) -> None:
        self.known[id(tensor)] = (tensor, field)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Shapes from before the operation, which may work in place.
        inputs = [
            (leaf.shape, self.known[id(leaf)][1])
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor) and id(leaf) in self.known
        ]
        result = func(*args, **(kwargs or {}))
        if inputs and func.overloadpacket not in CONSTANTS:
            rule = RULES.get(func.overloadpacket)
            regular = [(shape, field) for shape, field in inputs if field is not None]
            for position, output in enumerate(tree_leaves(result)):
                if not isinstance(output, Tensor):
                    continue
                field = None
                # The first of a tuple is the map, the others are indices or statistics; all of a list are parts of a map.
                is_map = output.ndim > 2 and (position == 0 or isinstance(result, list))
                if is_map and len(regular) == len(inputs):
                    field = rule(regular[0][1], args) if rule else _joined(output, regular, isinstance(result, list))
                self._enter(output, field)
        return result


def _joined(output: Tensor, inputs: list[tuple[torch.Size, ReceptiveField]], is_part: bool = False) -> ReceptiveField | None:
    """The hull of the fields of all inputs, if height and width stay.

    Args:
        output: What came out.
        inputs: Shapes and fields of what went in.
        is_part: Whether the output is one of several parts: then it must also have as many axes as what went in.
    """
    fields = [field for _, field in inputs]
    if is_part and any(len(shape) != output.ndim for shape, _ in inputs):
        return None  # which axis is gone is not known
    if any(shape[-2:] != output.shape[-2:] for shape, _ in inputs) or len({field.stride for field in fields}) > 1:
        return None
    first = tuple(min(field.first[axis] for field in fields) for axis in (0, 1))
    last = tuple(max(field.first[axis] + field.size[axis] for field in fields) for axis in (0, 1))
    return ReceptiveField(first, (last[0] - first[0], last[1] - first[1]), fields[0].stride)


def _slid(
    field: ReceptiveField, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> ReceptiveField:
    """After a window that slides over the cells."""
    pairs = [list(pair) * (2 if len(pair) == 1 else 1) for pair in (kernel, stride or kernel, padding, dilation)]
    new = []
    for axis, (window, step, pad, gap) in enumerate(zip(*pairs, strict=True)):
        jump = field.stride[axis]
        reach = (window - 1) * gap * jump
        new.append((field.first[axis] - pad * jump, field.size[axis] + reach, jump * step))
    (top, height, down), (left, width, right) = new
    return ReceptiveField((top, left), (height, width), (down, right))


def _convolved(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField | None:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    return None if transposed else _slid(field, weight.shape[-2:], stride, padding, dilation)


def _max_pooled(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField:
    return _slid(field, args[1], _given(args, 2, ()), _given(args, 3, (0,)), _given(args, 4, (1,)))


def _averaged(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField:
    return _slid(field, args[1], _given(args, 2, ()), _given(args, 3, (0,)), (1,))


def _adapted(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField | None:
    shape, cells = args[0].shape[-2:], args[1]
    if any(size % number for size, number in zip(shape, cells, strict=True)):
        return None  # windows of several sizes
    window = [size // number for size, number in zip(shape, cells, strict=True)]
    return _slid(field, window, window, (0,), (1,))


def _mean(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField | None:
    ndim = args[0].ndim
    axes = {axis % ndim for axis in _given(args, 1, None) or range(ndim)}
    if not _given(args, 2, False):
        return None
    if {ndim - 2, ndim - 1} <= axes:
        return _slid(field, args[0].shape[-2:], (1,), (0,), (1,))
    return None if {ndim - 2, ndim - 1} & axes else field


def _sliced(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField:
    dim, start, step = _given(args, 1, 0), _given(args, 2, None) or 0, _given(args, 4, 1)
    axis = dim % args[0].ndim - (args[0].ndim - 2)
    if axis < 0:
        return field
    stride, first = list(field.stride), list(field.first)
    first[axis] += (start if start >= 0 else args[0].shape[dim] + start) * stride[axis]
    stride[axis] *= step
    return ReceptiveField((first[0], first[1]), field.size, (stride[0], stride[1]))


def _padded(field: ReceptiveField, args: tuple[Any, ...]) -> ReceptiveField:
    left, _, top, *_ = (*args[1], 0, 0)
    down, right = field.stride
    return ReceptiveField((field.first[0] - top * down, field.first[1] - left * right), field.size, field.stride)


def _given(args: tuple[Any, ...], position: int, default: Any) -> Any:
    """An argument of an operation, which torch leaves out if it is the default."""
    return args[position] if len(args) > position else default


# What these give depends on the shape and type of the input alone.
CONSTANTS = {
    *(aten.new_zeros, aten.new_ones, aten.new_full, aten.new_empty, aten.new_empty_strided),
    *(aten.zeros_like, aten.ones_like, aten.full_like, aten.empty_like, aten.rand_like, aten.randn_like),
}
RULES: dict[Any, Callable[[ReceptiveField, tuple[Any, ...]], ReceptiveField | None]] = {
    aten.convolution: _convolved,
    aten.max_pool2d_with_indices: _max_pooled,
    aten.avg_pool2d: _averaged,
    aten._adaptive_avg_pool2d: _adapted,
    aten.mean: _mean,
    aten.slice: _sliced,
    aten.constant_pad_nd: _padded,
}
