"""Splits that follow from the content of the images."""

import itertools
from collections import Counter

import numpy as np
import pytest

from lit_cnn.data.division import Drawing, TooFewUnitsError, divide, join_units
from lit_cnn.data.splits import Split

DRAWING = Drawing(test_fraction=0.1, val_fraction=0.1, split_seed=0)


def images_of(num_classes: int, num_images: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Digests and labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), num_images).tolist()
    return [random.bytes(16).hex() for _ in labels], labels


def drawn(digests: list[str], labels: list[int], drawing: Drawing = DRAWING) -> dict[str, Split]:
    return dict(zip(digests, drawing.draw([None] * len(labels), digests, labels), strict=True))


def test_every_split_holds_its_share_of_every_class():
    digests, labels = images_of(4, 2000)
    splits = drawn(digests, labels)
    for label in range(4):
        counts = Counter(splits[digest] for digest, own in zip(digests, labels, strict=True) if own == label)
        assert counts["test"] == pytest.approx(200, abs=50)  # 3.7 standard deviations
        assert counts["val"] == pytest.approx(180, abs=50)


def test_adding_and_removing_images_moves_no_other():
    digests, labels = images_of(3, 400)
    whole = drawn(digests, labels)
    keep = np.random.default_rng(1).random(len(labels)) < 0.7
    some = drawn(list(itertools.compress(digests, keep)), list(itertools.compress(labels, keep)))
    assert 700 < len(some) < 1000
    assert some.items() <= whole.items()


def test_order_and_class_names_do_not_matter():
    digests, labels = images_of(3, 10)
    renamed = [{0: 2, 1: 0, 2: 1}[label] for label in labels]
    assert drawn(digests[::-1], labels[::-1]) == drawn(digests, labels) == drawn(digests, renamed)


@pytest.mark.parametrize("num_images", [3, 4, 7, 15])
def test_small_classes_are_in_every_split(num_images: int):
    for seed in range(100):
        digests, labels = images_of(3, num_images, seed)
        splits = drawn(digests, labels)
        places = {(label, splits[digest]) for digest, label in zip(digests, labels, strict=True)}
        assert len(places) == 9


def test_a_class_of_two_images_stays_in_training_and_moves_no_other():
    digests, labels = images_of(3, 40)
    without = drawn(digests, labels)
    few, few_labels = images_of(3, 2, seed=1)
    splits = drawn(digests + few, labels + [label + 3 for label in few_labels])
    assert {splits[digest] for digest in few} == {"train"}
    assert without.items() <= splits.items()


def test_a_class_of_one_image_stays_in_training_if_only_validation_images_are_drawn():
    digests, labels = images_of(2, 2)
    assert sorted(drawn(digests, labels, Drawing(None, 0.1, 0)).values()) == ["train", "train", "val", "val"]
    splits = drawn([*digests, "one"], [*labels, 2], Drawing(None, 0.1, 0))
    assert splits["one"] == "train"


def test_a_small_class_that_shares_units_keeps_one_in_training():
    for seed in range(50):
        random = np.random.default_rng(seed)
        groups = [f"g{number}" for number in random.integers(0, 12, 60)] + ["g1", "g2"]
        labels = [*random.integers(0, 2, 60).tolist(), 2, 2]
        splits = Drawing(0.4, 0.4, 0).draw([None] * 62, groups, labels)
        assert "train" in splits[60:]
        by_group = dict(zip(groups, splits, strict=True))
        assert [by_group[group] for group in groups] == splits


def test_folds_and_classes_that_are_all_too_small_are_refused():
    digests, labels = images_of(2, 2)
    with pytest.raises(TooFewUnitsError) as caught:
        drawn(digests, labels)
    assert (caught.value.label, caught.value.num_units, caught.value.needed) == (0, 2, 3)
    digests, labels = images_of(2, 9)
    with pytest.raises(TooFewUnitsError) as caught:
        drawn([*digests, "one"], [*labels, 2], Drawing(0.1, 0.1, 0, num_folds=3, fold=0))
    assert (caught.value.label, caught.value.num_units, caught.value.needed) == (2, 1, 4)


def test_the_seed_moves_the_validation_images_and_no_test_image():
    digests, labels = images_of(2, 300)
    first, second = drawn(digests, labels), drawn(digests, labels, Drawing(0.1, 0.1, split_seed=1))
    tests = [{digest for digest, split in splits.items() if split == "test"} for splits in (first, second)]
    assert tests[0] == tests[1]
    assert first != second


def test_splits_that_are_given_are_kept():
    digests, labels = images_of(2, 50)
    given: list[Split | None] = (["test"] * 5 + ["train"] * 45) * 2
    splits = Drawing(None, 0.1, 0).draw(given, digests, labels)
    assert [split == "test" for split in splits] == [split == "test" for split in given]
    assert "val" in splits


def test_each_image_is_in_the_validation_set_of_one_fold():
    digests, labels = images_of(3, 9)
    validated = Counter()
    tests = set()
    for fold in range(4):
        splits = drawn(digests, labels, Drawing(0.1, 0.1, split_seed=0, num_folds=4, fold=fold))
        validated.update(digest for digest, split in splits.items() if split == "val")
        tests.add(frozenset(digest for digest, split in splits.items() if split == "test"))
        assert {labels[digests.index(digest)] for digest, split in splits.items() if split == "val"} == {0, 1, 2}
    assert len(tests) == 1
    assert set(validated.values()) == {1}
    assert set(validated) | next(iter(tests)) == set(digests)


def test_folds_take_no_image_back_from_the_test_set():
    """Of few images of a class, more than the folds can spare may be test images; those are then refused, not moved."""
    refused = 0
    for seed in range(100):
        digests, labels = images_of(2, 6, seed)
        test = {digest for digest, split in drawn(digests, labels).items() if split == "test"}
        try:
            folds = drawn(digests, labels, Drawing(0.1, 0.1, split_seed=0, num_folds=5, fold=0))
        except TooFewUnitsError:
            refused += 1
        else:
            assert {digest for digest, split in folds.items() if split == "test"} == test
    assert 0 < refused < 50


def test_equal_images_and_groups_are_one_unit():
    digests = ["d1", "d2", "d1", "d3", "d4", "d5"]
    groups = [None, None, "a", "a", "b", "b"]
    units = join_units(digests, groups)
    assert units[0] == units[2] == units[3]  # the first image equals the third, which is in a group
    assert units[4] == units[5] != units[0] != units[1]
    assert join_units(digests, [None] * 6) == digests


def test_a_group_is_never_divided_and_adding_a_group_moves_no_other():
    digests, labels = images_of(3, 400)
    random = np.random.default_rng(0)
    groups = [f"patient {number}" for number in random.integers(0, 150, len(labels))]
    units = join_units(digests, groups)
    splits = DRAWING.draw([None] * len(labels), units, labels)
    by_group: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        by_group.setdefault(group, set()).add(split)
    assert all(len(places) == 1 for places in by_group.values())
    keep = [group != "patient 7" for group in groups]
    some = DRAWING.draw([None] * sum(keep), list(itertools.compress(units, keep)), list(itertools.compress(labels, keep)))
    assert some == list(itertools.compress(splits, keep))


def test_a_copy_without_a_group_does_not_move_the_group():
    digests, labels = images_of(2, 200)
    groups: list[str | None] = [f"patient {number // 4}" for number in range(400)]
    splits = DRAWING.draw([None] * 400, join_units(digests, groups), labels)
    for position in range(0, 400, 4):
        units = join_units([*digests, digests[position]], [*groups, None])
        assert DRAWING.draw([None] * 401, units, [*labels, labels[position]]) == [*splits, splits[position]]


def test_groups_of_several_classes_reach_every_split():
    for seed in range(30):
        random = np.random.default_rng(seed)
        groups = [f"g{number}" for number in random.integers(0, 6, 60)]
        labels = random.integers(0, 3, 60).tolist()
        parts = divide(groups, labels, [0.2, 0.8], "test", [1, 2])
        assert {(label, part) for label, part in zip(labels, parts, strict=True)} == set(
            itertools.product(range(3), range(2))
        )
