"""Frozen parts and slower backbones."""

import pytest
import torch
from torch import nn

from lit_cnn import layers
from lit_cnn.data import FakeImages
from lit_cnn.models import LitGoogLeNet, LitLeNet, LitResNet, build, list_variants
from lit_cnn.network.parts import first_convolution, freeze, frozen_norms, head_names, parameter_groups


@pytest.mark.parametrize("name", ["mlp", "lenet", "alexnet_half", "vgg11_bn_small", "nin_cifar", "resnet20", "densenet_d2l"])
def test_the_head_is_the_layer_whose_outputs_are_the_classes(name: str):
    with torch.device("meta"):
        (head,) = head_names(build(name, num_classes=13))
        assert build(name, num_classes=13).get_submodule(head).weight.shape[0] == 13


def test_every_head_of_googlenet_is_one():
    with torch.device("meta"):
        assert head_names(build("googlenet", aux_heads=True)) == ("fc", "aux1.fc2", "aux2.fc2")
        assert head_names(build("googlenet")) == ("fc",)


def test_the_first_convolution_reads_the_images():
    for name in list_variants():
        with torch.device("meta"):
            network = build(name, in_channels=5)
        first = first_convolution(network)
        assert (first is None) == (name == "mlp")
        assert first is None or network.get_submodule(first).in_channels == 5


@pytest.mark.parametrize(
    ("up_to", "learning"),
    [
        ("backbone", {"network.fc"}),
        ("layer3", {"network.fc"}),
        ("layer2", {"network.layer3", "network.fc"}),
        ("conv1", {"network.bn1", "network.layer1", "network.layer2", "network.layer3", "network.fc"}),
    ],
)
def test_what_is_frozen_stays_as_it_is_to_the_bit_and_the_rest_learns(up_to: str, learning: set[str], trainer):
    torch.manual_seed(0)
    model = LitResNet(variant="resnet20", num_classes=4, in_channels=1, freeze=up_to, lr=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer(max_epochs=2).fit(model, datamodule=FakeImages(num_images=64, num_classes=4, image_size=32, channels=1))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {".".join(name.split(".")[:2]) for name in changed} == learning
    frozen = frozen_norms(model.train().network)
    assert bool(frozen) == (up_to != "conv1")
    assert not any(norm.training for norm in frozen)
    assert model.network.fc.training


def test_the_written_out_batch_norm_is_frozen_too():
    model = LitLeNet(variant="lenet_bn", batch_norm="lit_cnn", freeze="backbone").train()
    norms = [m for m in model.modules() if isinstance(m, (layers.BatchNorm1d, layers.BatchNorm2d))]
    assert [norm.training for norm in norms] == [False] * 4


def test_frozen_norms_stay_frozen_in_their_synchronised_form():
    model = LitResNet(variant="resnet20", freeze="layer1")
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model).train()
    norms = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert [norm.training for norm in norms].count(False) == len(frozen_norms(model.network)) == 7


def test_a_subclass_with_hooks_of_its_own_does_not_thaw_them(trainer):
    class Mine(LitResNet):
        def on_train_start(self) -> None:
            self.network.train()

    model = Mine(variant="resnet20", num_classes=4, in_channels=1, freeze="backbone")
    trainer(max_epochs=1).fit(model, datamodule=FakeImages(num_images=64, num_classes=4, image_size=32, channels=1))
    assert not model.network.bn1.running_mean.any()


@pytest.mark.parametrize("part", ["fc", "aux1", "aux1.fc1", "last_pool", "inception9"])
def test_what_is_no_part_before_the_heads_cannot_be_named(part: str):
    with torch.device("meta"):
        network = build("googlenet", aux_heads=True)
    with pytest.raises(ValueError, match=f"before its last layer, got '{part}'"):
        freeze(network, part)


def test_a_part_inside_another_can_be_named():
    network = build("vgg8_bn_small")
    freeze(network, "features.4")
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learning[0] == "features.5.weight"


def test_the_backbone_learns_at_its_own_rate_and_the_schedule_moves_both(trainer):
    model = LitGoogLeNet(num_classes=4, in_channels=1, aux_weight=0.3, lr=0.1, backbone_lr_scale=0.01, schedule="cosine")
    groups = parameter_groups(model.network, 0.1, 0.01)
    assert [group["lr"] for group in groups] == [0.001, 0.1]
    heads = {id(p) for name in ("fc", "aux1.fc2", "aux2.fc2") for p in model.network.get_submodule(name).parameters()}
    assert {id(p) for p in groups[1]["params"]} == heads
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    fitted = trainer(max_epochs=1)
    fitted.fit(model, datamodule=FakeImages(num_images=64, num_classes=4, image_size=32, channels=1))
    slow, fast = (group["lr"] for group in fitted.optimizers[0].param_groups)
    assert slow == pytest.approx(fast * 0.01)
    assert fast < 0.01


def test_biases_and_norms_have_a_weight_decay_of_their_own_at_either_rate():
    network = build("resnet20", num_classes=4)
    freeze(network, "layer1")
    groups = parameter_groups(network, 0.1, 0.5, norm_weight_decay=0.0)
    assert [(group["lr"], group.get("weight_decay")) for group in groups] == [(0.05, None), (0.05, 0), (0.1, None), (0.1, 0)]
    assert [len(group["params"]) for group in groups] == [12, 24, 1, 1]
    alone = {
        id(parameter)
        for name, parameter in network.named_parameters()
        if "bn" in name or name.endswith("bias")
        if parameter.requires_grad
    }
    assert {id(parameter) for group in groups[1::2] for parameter in group["params"]} == alone
    assert len(parameter_groups(network, 0.1, 1.0)) == 1
