"""The band in which another training with a recipe is expected, and the line that tells of it."""

import pytest

from lit_cnn.benchmark.bands import Band, Expectation

LINE = "test accuracy 98.00 % ± 1.00 (mean and standard deviation of seeds 0, 1, 2), band 95.0 to 100.0 %, 9 s"


@pytest.mark.parametrize(
    ("accuracies", "num_images", "low", "high"),
    [
        ((0.90, 0.91, 0.92), 10_000, 88.0, 94.0),  # three standard deviations of one point
        ((0.9069, 0.9069, 0.9069), 10_000, 90.3, 91.0),  # no spread: 0.3 points, rounded outwards
        ((0.9, 0.9, 0.9), 200, 89.0, 91.0),  # two of few images
        ((0.97, 0.98, 0.99), 10_000, 95.0, 100.0),
        ((0.02, 0.01, 0.0), 10_000, 0.0, 4.0),
    ],
)
def test_a_band_is_three_standard_deviations_and_at_least_a_little(accuracies, num_images, low, high):
    assert Band.around(accuracies, num_images) == Band(low, high)


def test_two_seeds_have_no_band():
    assert Band.around((0.9, 0.91), 10_000) is None


def test_the_ends_of_a_band_belong_to_it():
    band = Band(90.2, 91.2)
    assert all(accuracy in band for accuracy in (0.902, 0.912, 0.9020000100135803, 0.9119999))
    assert all(accuracy not in band for accuracy in (0.9019, 0.9121, 0.0, 1.0))
    assert str(band) == "90.2 to 91.2 %"


def test_a_recipe_tells_what_is_expected_of_another_training():
    machine = "Z80 (AVX2, 2 threads), 32-true"
    text = f"# Paper: nobody 2026.\n# Expected: {LINE}; {machine}.\nseed_everything: 0\n"
    expectation = Expectation.read(text)
    assert expectation == Expectation(Band(95.0, 100.0), None, None, machine)
    assert expectation.judge(0.96, "a.yaml") == "expected: 95.0 to 100.0 % (a.yaml): inside"
    outside = f"test accuracy 94.90 % is outside the expected 95.0 to 100.0 % of a.yaml, measured on {machine}"
    assert expectation.judge(0.949, "a.yaml") == outside


def test_a_label_stands_beside_the_band():
    expectation = Expectation.read(
        "# Expected: test accuracy 90.00 % (JPEG copy), band 89.5 to 90.5 % (JPEG copy), 9 s; Z80."
    )
    assert expectation
    assert expectation.judge(0.9, "a.yaml") == "expected: 89.5 to 90.5 % (JPEG copy) (a.yaml): inside"
    assert "89.5 to 90.5 % (JPEG copy) of a.yaml" in expectation.judge(0.8, "a.yaml")
    text = "# Expected: test accuracy 90.00 %, band 89.5 to 90.5 % (JPEG copy; images 16894a48), 9 s; Z80."
    assert Expectation.read(text) == Expectation(Band(89.5, 90.5), "JPEG copy", "16894a48", "Z80")


@pytest.mark.parametrize(
    "text", ["", "# Expected: not yet measured.\n", "# Expected: test accuracy 90.00 % (seed 0), 9 s; Z80, 32-true.\n", LINE]
)
def test_a_recipe_without_a_band_expects_nothing(text: str):
    assert Expectation.read(text) is None
