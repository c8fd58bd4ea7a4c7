"""Images that are read ahead of the network, in order, and few at a time."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lit_cnn.inference.batches import BadImage, read_batches


class Numbers:
    """Images of one pixel, whose value is their number; some are bad."""

    def __init__(self, items: Iterator[int], bad: tuple[int, ...] = ()) -> None:
        self.items = items
        self.bad = bad
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for item in self.items:
            self.taken += 1
            yield item

    def read(self, item: int) -> Tensor | BadImage:
        time.sleep(0.002 * (item % 3))  # later ones may be done earlier
        return BadImage(item, "bad") if item in self.bad else torch.full((1, 1, 1), item, dtype=torch.uint8)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_batches_come_in_order_with_bad_images_in_their_places(num_workers: int):
    batches = list(read_batches(Numbers(iter(range(10)), bad=(1, 4, 8, 9)), 4, num_workers))
    assert [batch.items for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[0].pixels.flatten().tolist() == [0, 2, 3]
    assert [output for _, output in batches[0].join("abc")] == ["a", BadImage(1, "bad"), "b", "c"]
    assert batches[2].pixels is None
    assert [item for item, _ in batches[2].join([])] == [8, 9]


def test_few_images_of_an_endless_list_are_read_ahead():
    images = Numbers(iter(int, 1))  # zeros without an end
    batches = read_batches(images, 5, num_workers=2)
    for number in range(1, 20):
        next(batches)
        assert images.taken <= 5 * (number + 3)
    batches.close()


def test_nothing_is_taken_after_the_end():
    images = Numbers(iter(int, 1))
    batches = read_batches(images, 1, num_workers=1)
    next(batches)
    deadline = time.monotonic() + 10
    while images.taken < 2 and time.monotonic() < deadline:  # one is read, and one waits
        time.sleep(0.001)
    batches.close()
    time.sleep(0.05)
    assert images.taken == 2


def test_a_batch_does_not_wait_for_the_next_line_of_a_pipe():
    line = threading.Event()

    def lines() -> Iterator[int]:
        yield from (1, 2)
        line.wait(20)
        yield 3

    batches = read_batches(Numbers(lines()), 2, num_workers=2)
    began = time.monotonic()
    assert next(batches).items == [1, 2]
    batches.close()  # as after Ctrl-C
    assert time.monotonic() - began < 10
    line.set()


def test_an_error_of_the_list_reaches_the_reader():
    def lines() -> Iterator[int]:
        yield 1
        raise ValueError("line 2 is wrong")

    batches = read_batches(Numbers(lines()), 1, num_workers=1)
    assert next(batches).items == [1]
    with pytest.raises(ValueError, match="line 2 is wrong"):
        next(batches)
