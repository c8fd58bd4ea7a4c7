import pytest
import torch

from lit_cnn.data.augment import Augmentation
from lit_cnn.data.loader import Loader
from lit_cnn.data.splits import ArrayImages


def numbered(num_images: int) -> ArrayImages:
    """Images whose only pixel, and label, is their number."""
    numbers = torch.arange(num_images)
    return ArrayImages(numbers.to(torch.uint8).view(-1, 1, 1, 1), numbers)


def order(loader: Loader) -> list[int]:
    return [int(label) for batch in loader for label in batch.labels]


def test_training_order_is_a_permutation_of_its_own_in_each_epoch():
    epoch = 0
    loader = Loader(numbered(100), 10, shuffle=True, seed=3, epoch=lambda: epoch)
    first, again = order(loader), order(loader)
    assert first == again
    assert sorted(first) == list(range(100))
    iterator = iter(loader)
    epoch = 1
    assert order(loader) != first
    torch.testing.assert_close(next(iterator).labels, next(iter(loader)).labels)
    assert order(Loader(numbered(100), 10, shuffle=True, seed=4)) != first


def test_a_balanced_order_is_drawn_from_seed_and_epoch_alone():
    labels = torch.tensor([0] * 90 + [2] * 9 + [5])
    images = ArrayImages(torch.zeros(100, 1, 1, 1, dtype=torch.uint8), labels)

    def drawn(**arguments: object) -> list[int]:
        return [int(p) for batch in Loader(images, 10, shuffle=True, balance=True, **arguments) for p in batch.positions]

    assert drawn(seed=3) == drawn(seed=3)
    assert len({tuple(drawn(seed=seed, epoch=lambda epoch=epoch: epoch)) for seed in (3, 4) for epoch in (0, 1)}) == 4
    assert drawn(seed=3, position=lambda: 4) == drawn(seed=3)[40:]
    counts = torch.zeros(100)
    for epoch in range(60):
        counts += torch.bincount(torch.tensor(drawn(epoch=lambda epoch=epoch: epoch)), minlength=100)
    # 6,000 draws: each class about 2,000 times, and within it each image about as often.
    assert [float(counts[labels == label].sum()) for label in (0, 2, 5)] == pytest.approx([2000] * 3, abs=150)
    assert counts[90:99].tolist() == pytest.approx([2000 / 9] * 9, abs=60)
    assert counts[:90].min() > 0


def test_processes_share_the_batches_of_a_balanced_order_and_repeated_images_have_draws_of_their_own():
    images = numbered(90)
    alone = list(Loader(images, 8, shuffle=True, seed=5, balance=True))
    shares = [list(Loader(images, 8, shuffle=True, seed=5, balance=True, rank=rank, world_size=2)) for rank in range(2)]
    for number, batch in enumerate(alone):
        for rank in range(2):
            torch.testing.assert_close(shares[rank][number].positions, batch.positions[rank::2])
            torch.testing.assert_close(shares[rank][number].draws, batch.draws[rank::2])
    positions, draws = torch.cat([b.positions for b in alone]), torch.cat([b.draws for b in alone])
    assert len(positions.unique()) < len(positions)
    assert len(draws.unique(dim=0)) == len(draws)


def test_training_drops_the_part_batch_but_not_a_small_dataset():
    assert [len(b.labels) for b in Loader(numbered(25), 10, shuffle=True)] == [10, 10]
    small = Loader(numbered(7), 10, shuffle=True)
    assert len(small) == 1
    assert [len(b.labels) for b in small] == [7]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_change_nothing(num_workers: int):
    with_workers = list(Loader(numbered(64), 8, shuffle=True, seed=1, num_workers=num_workers))
    without = list(Loader(numbered(64), 8, shuffle=True, seed=1))
    assert len(with_workers) == len(without) == 8
    for ours, theirs in zip(with_workers, without, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_global_batches(world_size: int):
    images = numbered(90)
    alone = list(Loader(images, 8, shuffle=True, seed=5))
    shares = [list(Loader(images, 8, shuffle=True, seed=5, rank=r, world_size=world_size)) for r in range(world_size)]
    for number, batch in enumerate(alone):
        rows = {int(p): d.tolist() for p, d in zip(batch.positions, batch.draws, strict=True)}
        shared = {int(p): d.tolist() for s in shares for p, d in zip(s[number].positions, s[number].draws, strict=True)}
        assert shared == rows
        assert {len(s[number].labels) for s in shares} == {8 // world_size}


@pytest.mark.parametrize(("num_images", "world_size"), [(33, 1), (33, 2), (65, 2), (64, 2), (7, 3), (3, 3), (5, 4)])
def test_evaluation_counts_every_image_once(num_images: int, world_size: int):
    shares = [
        list(Loader(numbered(num_images), 8 * world_size, shuffle=False, rank=r, world_size=world_size))
        for r in range(world_size)
    ]
    assert sorted(int(label) for share in shares for batch in share for label in batch.labels) == list(range(num_images))
    # Processes that disagree on the number of batches would wait for each other for ever.
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch.labels) for share in shares for batch in share)


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(
        ValueError, match="MixUp and CutMix mix pairs within each of 2 processes: the batch must be a multiple of 4, got 10"
    ):
        Loader(numbered(20), 10, shuffle=True, world_size=2, augmentation=Augmentation(mixup=0.2))
    with pytest.raises(ValueError, match="the batch must be a multiple of 4, got 18"):  # all images are one batch
        Loader(numbered(19), 64, shuffle=True, world_size=2, augmentation=Augmentation(mixup=0.2))
    with pytest.raises(ValueError, match=r"batch_size=10 .* cannot be divided by 4"):
        Loader(numbered(20), 10, shuffle=True, world_size=4)
    with pytest.raises(ValueError, match="1 images are too few for 2 processes"):
        Loader(numbered(1), 2, shuffle=False, world_size=2)


def test_an_error_in_a_worker_reaches_the_loop():
    class Broken(ArrayImages):
        def fetch(self, positions: torch.Tensor) -> torch.Tensor:
            raise ValueError(f"cannot read {positions.tolist()}")

    images = numbered(6)
    with pytest.raises(ValueError, match="cannot read"):
        list(Loader(Broken(images.pixels, images.labels), 2, shuffle=False, num_workers=2))
