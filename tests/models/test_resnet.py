"""Residual networks that start as the identity, and their twins without shortcuts."""

from pathlib import Path

import pytest
import torch

from lit_cnn.layers import BasicBlock, Bottleneck
from lit_cnn.models import LitResNet, build, list_variants


def test_each_block_can_start_as_the_identity():
    network = build("resnet18", num_classes=10, zero_init_residual=True)
    x = torch.randn(2, 64, 8, 8).relu()
    assert torch.equal(network.layer1(x), x)
    for name, match in (("plain18", "needs shortcuts"), ("preact_resnet18", "end in BatchNorm")):
        with pytest.raises(ValueError, match=match):
            build(name, zero_init_residual=True)


def test_weights_replace_the_start_as_the_identity_with_a_warning(tmp_path: Path):
    path = tmp_path / "resnet20.pt"
    torch.save(LitResNet(variant="resnet20").network.state_dict(), path)
    with pytest.warns(UserWarning, match="zero_init_residual has no effect: weights replace all initial values"):
        classifier = LitResNet(variant="resnet20", zero_init_residual=True, weights=str(path))
    assert classifier.network.layer1[0].bn2.weight.all()


def test_every_plain_network_is_its_twin_without_shortcuts():
    plain = [name for name in list_variants() if name.startswith("plain")]
    assert len(plain) == 10
    for name in plain:
        with torch.device("meta"):
            twin, without = build(name.replace("plain", "resnet")), build(name)
        assert {key for key in twin.state_dict() if "downsample" not in key} == set(without.state_dict())
        blocks = [module for module in without.modules() if isinstance(module, (BasicBlock, Bottleneck))]
        assert all(block.plain for block in blocks)
        assert not any(block.plain for block in twin.modules() if isinstance(block, (BasicBlock, Bottleneck)))
