import pytest
import torch
from torch.nn import functional as F

from lit_cnn.data.augment.draws import MIXING, SHARE, more_draws
from lit_cnn.data.augment.mixing import mix, partner_shares, partners


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, labels, and random numbers for row, column and kind."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(count, 3, 12, 10, generator=generator),
        torch.arange(count) % 5,
        torch.rand(count, 3, generator=generator),
    )


def test_mixup_adds_the_partner_and_its_label_by_the_same_share():
    images, labels, draws = batch()
    shares = torch.linspace(0, 1, 8)
    mixed, targets = mix(images, labels, partner_shares(draws, shares, 12, 10, mixup=0.2, cutmix=0.0), 5)
    for number in range(8):
        partner, share = (number + 4) % 8, shares[number]
        torch.testing.assert_close(mixed[number], (1 - share) * images[number] + share * images[partner])
        expected = (1 - share) * F.one_hot(labels[number], 5) + share * F.one_hot(labels[partner], 5)
        torch.testing.assert_close(targets[number], expected.float())


def test_cutmix_takes_a_box_of_the_partner_and_counts_its_pixels():
    images, labels, draws = batch(200)
    shares = more_draws(0, 0, 200, 0.0, 1.0)[:, SHARE - 3]
    mixed, targets = mix(images, labels, partner_shares(draws, shares, 12, 10, mixup=0.0, cutmix=1.0), 5)
    other = partners(images)
    from_other = (mixed == other).all(1)
    assert torch.equal(from_other, ~(mixed == images).all(1))
    rows, columns = from_other.any(2), from_other.any(1)
    assert torch.equal(from_other, rows[:, :, None] & columns[:, None, :])  # a box
    different = labels != partners(labels)
    given = targets.gather(1, partners(labels)[:, None])[:, 0]
    torch.testing.assert_close(given[different], from_other.float().mean((1, 2))[different])
    # A box that lies inside has the share that was drawn, but for whole pixels.
    inside = rows[:, 1:-1].any(1) & ~rows[:, 0] & ~rows[:, -1] & ~columns[:, 0] & ~columns[:, -1]
    assert (from_other.float().mean((1, 2)) - shares)[inside].abs().max() < 0.2


def test_with_both_half_of_the_images_are_mixed_by_each():
    images, labels, _ = batch(400)
    draws = more_draws(0, 0, 400, 0.5, 1.0)
    shares = partner_shares(draws[:, MIXING.start - 3 : MIXING.stop - 3], draws[:, SHARE - 3], 12, 10, mixup=0.5, cutmix=1.0)
    is_constant = (shares == shares[:, :1, :1]).all(2).all(1)
    assert 150 < is_constant.sum() < 270  # some boxes of CutMix hold nothing or everything
    mixed, targets = mix(images, labels, shares, 5)
    assert mixed.shape == images.shape
    torch.testing.assert_close(targets.sum(1), torch.ones(400))


def test_shares_follow_the_beta_distribution():
    for alpha in (0.2, 1.0):
        shares = more_draws(0, 0, 20_000, alpha, 0.0)[:, SHARE - 3]
        assert shares.mean() == pytest.approx(0.5, abs=0.02)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_processes_pair_images_as_one_does():
    values = torch.arange(24)
    together = dict(zip(values.tolist(), partners(values).tolist(), strict=True))
    for rank in range(3):
        share = values[rank::3]
        assert dict(zip(share.tolist(), partners(share).tolist(), strict=True)).items() <= together.items()
