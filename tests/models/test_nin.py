import torch

from lit_cnn.models import build


def test_only_d2ls_logits_are_rectified():
    torch.manual_seed(0)
    images = torch.randn(8, 1, 96, 96)
    for name, rectified in (("nin_d2l", True), ("nin_cifar", False)):
        logits = build(name, num_classes=10, in_channels=1).eval()(images)
        assert bool((logits >= 0).all()) == rectified


def test_the_maps_of_the_last_stage_are_one_for_each_class():
    network = build("nin_cifar", num_classes=7).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = network.features(images)
    assert maps.shape == (2, 7, 8, 8)
    torch.testing.assert_close(network(images), maps.mean(dim=(2, 3)))
