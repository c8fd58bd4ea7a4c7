import pytest
import torch
from torch import nn

from lit_cnn.models import LitGoogLeNet


def test_forward_gives_logits_in_training_too():
    classifier = LitGoogLeNet(num_classes=5, in_channels=1, aux_weight=0.3).train()
    assert classifier(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_auxiliary_losses_are_weighed_and_added():
    torch.manual_seed(0)
    classifier = LitGoogLeNet(num_classes=5, in_channels=1, aux_weight=0.3).eval()
    images, labels = torch.randn(4, 1, 32, 32), torch.tensor([0, 1, 2, 3])
    _, loss = classifier.training_loss(images, labels)
    main, aux1, aux2 = (classifier.loss(logits, labels) for logits in classifier.network.forward_with_aux(images))
    torch.testing.assert_close(loss, main + 0.3 * (aux1 + aux2))


def test_logits_are_the_same_with_and_without_auxiliary_heads():
    network = LitGoogLeNet(num_classes=5, aux_weight=0.3).network.eval()
    images = torch.randn(2, 3, 32, 32)
    logits, *auxiliary = network.forward_with_aux(images)
    assert torch.equal(network(images), logits)
    assert [aux.shape for aux in auxiliary] == [(2, 5), (2, 5)]


def test_auxiliary_heads_follow_the_variant_and_the_weight():
    assert LitGoogLeNet().network.aux1 is None
    assert LitGoogLeNet(variant="googlenet_paper").network.aux1 is not None
    assert LitGoogLeNet(variant="googlenet_paper", aux_weight=0).network.aux1 is None
    with pytest.raises(ValueError, match="no auxiliary heads"):
        LitGoogLeNet(variant="googlenet_d2l", aux_weight=0.3)
    with pytest.raises(ValueError, match=r"aux_weight must be at least 0, got -0\.1"):
        LitGoogLeNet(aux_weight=-0.1)


def test_the_papers_stem_normalises_over_neighbouring_channels_twice():
    for variant, times in (("googlenet_paper", 2), ("googlenet", 0)):
        network = LitGoogLeNet(variant=variant).network.eval()
        calls = []
        network.norm.register_forward_hook(
            lambda module, inputs, _, calls=calls: calls.append((type(module), inputs[0].shape))
        )
        network(torch.randn(1, 3, 64, 64))
        normalised = [shape for cls, shape in calls if cls is nn.LocalResponseNorm]
        assert len(normalised) == times
        assert times == 0 or normalised == [(1, 64, 16, 16), (1, 192, 16, 16)]
