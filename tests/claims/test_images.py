"""The images of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from claim_files import study_of, write_claim

from lit_cnn.claims.images import load, make_data
from lit_cnn.claims.study import Claim
from lit_cnn.system.processes import handing_on

HERE = Path()


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return write_claim(tmp_path)


def test_the_images_of_a_study_are_the_same_for_all_seeds_and_arms(claim: Claim):
    study = study_of(claim)
    settings = study.settings("plain", 0.1)
    changed = settings | {"data": {"class_path": "Digits", "init_args": {"batch_size": 7, "flip": True}}}

    def pixels(of: dict[str, Any], seed: int) -> torch.Tensor:
        load.cache_clear()
        with handing_on({"PL_GLOBAL_SEED": str(seed)}):
            splits = make_data(of, HERE, seed).source.splits
        return torch.cat([splits[name].pixels for name in ("train", "val", "test")])

    first = pixels(settings, 0)
    assert len(first) == pytest.approx(60 + 40 + 40, abs=3)  # shares of classes are rounded
    assert torch.equal(pixels(changed, 100), first)


def test_the_splits_of_a_study_share_no_image(claim: Claim):
    settings = study_of(claim).settings("plain", 0.1) | {"train_images": None, "val_images": 400, "test_images": None}
    splits = make_data(settings, HERE, 0).source.splits
    assert [len(splits[name].labels) for name in ("train", "val", "test")] == [1037, 400, 360]
    train, val, test = ({image.numpy().tobytes() for image in splits[name].pixels} for name in ("train", "val", "test"))
    assert not train & val
    assert not (train | val) & test
    assert all(len(splits[name].labels.unique()) == 10 for name in splits)
