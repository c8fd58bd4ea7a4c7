"""Our networks against torchvision's of the same name, with copied weights."""

import re

import pytest
import torch
import torchvision
from conftest import variants
from torch import nn
from torch.nn import functional as F

from lit_cnn.models import build, list_variants, load_torchvision_weights

SHARED = [name for name in list_variants() if name in torchvision.models.list_models()]
# A size that both take and that keeps the tests short.
SIZE = 64


@pytest.fixture(scope="module", params=variants(SHARED))
def pair(request: pytest.FixtureRequest) -> tuple[str, nn.Module, nn.Module]:
    """A name, torchvision's network and ours with its weights; BatchNorms that have seen something."""
    name = request.param
    torch.manual_seed(0)
    with_aux = name == "googlenet"
    options = {"aux_logits": True, "init_weights": False} if with_aux else {}
    theirs = torchvision.models.get_model(name, weights=None, num_classes=20, **options)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.device("meta"):  # no need to draw weights that are replaced
        ours = build(name, num_classes=20, **({"aux_heads": True} if with_aux else {}))
    ours.to_empty(device="cpu")
    load_torchvision_weights(ours, theirs.state_dict())
    return name, theirs, ours


def test_all_nineteen_are_compared():
    assert len(SHARED) == 19


def test_copied_weights_give_the_same_logits_loss_and_gradients(pair: tuple[str, nn.Module, nn.Module]):
    name, theirs, ours = pair
    images, labels = torch.randn(2, 3, SIZE, SIZE), torch.tensor([1, 3])
    with torch.no_grad():
        expected = theirs.eval()(images)
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-5, atol=1e-5)
    losses = []
    for network in (theirs.train(), ours.train()):
        torch.manual_seed(1)  # of the dropout
        if name == "googlenet":
            outputs = network(images) if network is theirs else network.forward_with_aux(images)
            logits, *auxiliary = (outputs.logits, outputs.aux_logits1, outputs.aux_logits2) if network is theirs else outputs
        else:
            logits, auxiliary = network(images), []
        loss = F.cross_entropy(logits, labels) + 0.3 * sum(F.cross_entropy(aux, labels) for aux in auxiliary)
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients.pop(key), rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}"
        )
    assert not gradients


def test_in_double_precision_the_logits_agree_to_ten_digits(pair: tuple[str, nn.Module, nn.Module]):
    _, theirs, ours = pair
    images = torch.randn(1, 3, SIZE, SIZE, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.double().eval()(images), theirs.double().eval()(images), rtol=1e-10, atol=1e-10)


def test_auxiliary_heads_are_left_out_where_the_network_has_none():
    theirs = torchvision.models.googlenet(weights=None, num_classes=20, aux_logits=True, init_weights=False).eval()
    ours = build("googlenet", num_classes=20).eval()
    load_torchvision_weights(ours, theirs.state_dict())
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_names_of_densenets_saved_long_ago_are_understood():
    state = torchvision.models.densenet121(weights=None, num_classes=20).state_dict()
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))(\d)")
    old = {dotted.sub(r"\1.\2", name): tensor for name, tensor in state.items() if "num_batches" not in name}
    assert set(old) - set(state)
    ours = build("densenet121", num_classes=20)
    load_torchvision_weights(ours, old)
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        (
            "resnet18",
            "resnet34",
            "not of this ResNet's variant: only the weights have layer1.2.conv1.weight",
        ),
        ("resnet18", "vgg11", "not of this ResNet's variant: only the network has conv1.weight"),
        (
            "vgg11",
            "alexnet",
            r"do not fit this VGG: features\.0\.weight is \(64, 3, 11, 11\) in the weights and \(64, 3, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused_by_the_first_mismatch(ours: str, theirs: str, match: str):
    with torch.device("meta"):
        network, state = build(ours), torchvision.models.get_model(theirs, weights=None).state_dict()
    with pytest.raises(ValueError, match=match):
        load_torchvision_weights(network, state)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_the_same_parameters_start_as_zeros(name: str):
    def zeros(network: nn.Module) -> set[str]:
        return {key for key, value in network.named_parameters() if "bn" in key and not value.any()}

    for zero_init_residual in (True, False):
        theirs = torchvision.models.get_model(name, weights=None, zero_init_residual=zero_init_residual)
        ours = build(name, zero_init_residual=zero_init_residual)
        assert zeros(ours) == zeros(theirs)
        assert any(key.endswith("weight") for key in zeros(ours)) == zero_init_residual
