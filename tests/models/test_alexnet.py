import pytest
import torch
from torch import nn

from lit_cnn.models import LitAlexNet, build


def test_the_papers_initialisation_is_a_gaussian_of_standard_deviation_a_hundredth_and_some_biases_of_one():
    network = LitAlexNet(init="paper").network
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 8
    assert [float(layer.bias.detach().mean()) for layer in layers] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert all(abs(float(layer.weight.detach().std()) - 0.01) < 0.001 for layer in layers)


def test_kaimings_initialisation_tells_images_apart_and_the_papers_does_not_yet():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 96, 96)
    spread = {}
    for init in ("kaiming", "paper"):
        logits = build("alexnet_half", init=init).eval()(images).detach()
        spread[init] = float(logits.std(dim=0).mean())  # between the images
    assert 0.1 < spread["kaiming"] < 10
    # What reaches the end is the biases of one: the images hardly matter.
    assert spread["paper"] < 0.01


@pytest.mark.parametrize("lrn", [True, False])
def test_local_response_normalisation_follows_the_first_two_layers_if_asked(lrn: bool):
    network = LitAlexNet(lrn=lrn).network
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.LocalResponseNorm)]
    assert norms == (["features.1.1", "features.4.1"] if lrn else [])
    # Weights fit whether or not it is there.
    network.load_state_dict(LitAlexNet(lrn=not lrn).network.state_dict())


@pytest.mark.parametrize(("variant", "order"), [("alexnet", "DLRDLRL"), ("alexnet_d2l", "LRDLRDL")])
def test_dropout_stands_before_or_after_the_hidden_layers(variant: str, order: str):
    with torch.device("meta"):
        network = build(variant)
    assert "".join(type(module).__name__[0] for module in network.classifier) == order


def test_names_and_probabilities_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="init must be one of kaiming, paper, got 'Paper'"):
        LitAlexNet(init="Paper")
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and below 1, got 1\.5"):
        LitAlexNet(dropout=1.5)
