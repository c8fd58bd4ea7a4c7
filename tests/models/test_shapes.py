"""Shapes after each stage, as the papers' and d2l.ai's tables give them."""

import pytest
import torch

from lit_cnn.models import build, describe

STAGES = {
    "lenet": {"features.0": (6, 28, 28), "features.2": (6, 14, 14), "features.3": (16, 10, 10), "features.5": (16, 5, 5)},
    "lenet_bn": {"features.3": (6, 12, 12), "features.7": (16, 4, 4), "classifier.1": (120,)},
    "alexnet_half": {
        "features.0": (48, 55, 55), "features.2": (48, 27, 27), "features.5": (128, 13, 13), "features.12": (128, 6, 6),
    },
    "alexnet_d2l": {
        "features.0": (96, 54, 54), "features.2": (96, 26, 26), "features.5": (256, 12, 12), "features.12": (256, 5, 5),
        "classifier.0": (4096,),
    },
    "vgg11_d2l": {
        "features.2": (16, 112, 112), "features.5": (32, 56, 56), "features.10": (64, 28, 28), "features.15": (128, 14, 14),
        "features.20": (128, 7, 7),
    },
    "vgg16_bn_small": {"features.6": (64, 16, 16), "features.43": (512, 1, 1)},
    "nin_d2l": {
        "features.0": (96, 54, 54), "features.1": (96, 26, 26), "features.3": (256, 12, 12), "features.5": (384, 5, 5),
        "features.7": (10, 5, 5),
    },
    "nin_cifar": {
        "features.0": (96, 32, 32), "features.1": (96, 16, 16), "features.4": (192, 8, 8), "features.6": (10, 8, 8),
    },
    "googlenet_paper": {
        "conv1": (64, 112, 112), "conv3": (192, 56, 56), "inception3a": (256, 28, 28), "inception3b": (480, 28, 28),
        "inception4a": (512, 14, 14), "inception4d": (528, 14, 14), "inception4e": (832, 14, 14),
        "inception5b": (1024, 7, 7),
    },
    "googlenet_d2l": {
        "conv1": (64, 48, 48), "conv3": (192, 24, 24), "inception3b": (480, 12, 12), "inception4e": (832, 6, 6),
        "inception5b": (1024, 3, 3),
    },
    "resnet18_d2l": {
        "maxpool": (64, 24, 24), "layer1": (64, 24, 24), "layer2": (128, 12, 12), "layer3": (256, 6, 6),
        "layer4": (512, 3, 3),
    },
    "resnet56": {"conv1": (16, 32, 32), "layer1": (16, 32, 32), "layer2": (32, 16, 16), "layer3": (64, 8, 8)},
    "preact_resnet50": {"layer1": (256, 56, 56), "layer4": (2048, 7, 7)},
    "densenet_d2l": {
        "features.pool0": (64, 24, 24), "features.denseblock1": (192, 24, 24), "features.transition1": (96, 12, 12),
        "features.denseblock2": (224, 12, 12), "features.transition2": (112, 6, 6), "features.denseblock3": (240, 6, 6),
        "features.transition3": (120, 3, 3), "features.denseblock4": (248, 3, 3),
    },
    "densenet_bc_100_12": {
        "features.conv0": (24, 32, 32), "features.denseblock1": (216, 32, 32), "features.transition1": (108, 16, 16),
        "features.denseblock2": (300, 16, 16), "features.transition2": (150, 8, 8), "features.denseblock3": (342, 8, 8),
    },
    "densenet_40_12": {
        "features.denseblock1": (160, 32, 32), "features.transition1": (160, 16, 16), "features.denseblock3": (448, 8, 8),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_stages_have_the_published_shapes(name: str):
    layout = describe(name)
    with torch.device("meta"):
        network = build(name).eval()
    seen = {}
    for stage in STAGES[name]:
        network.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: seen.update({stage: tuple(output.shape[1:])})
        )
    network(torch.empty(1, layout.in_channels, layout.image_size, layout.image_size, device="meta"))
    assert seen == STAGES[name]
