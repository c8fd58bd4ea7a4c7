import pytest
import torch

from lit_cnn.models import LitGoogLeNet
from lit_cnn.models.googlenet import VARIANTS, GoogLeNet, Inception


def test_inception_keeps_the_size_and_joins_the_branches():
    block = Inception(8, 1, 2, 3, 4, 5, 6)
    x = torch.randn(2, 8, 9, 7)
    y = block(x)
    assert y.shape == (2, 1 + 3 + 5 + 6, 9, 7)
    torch.testing.assert_close(y[:, :1], block.branch1(x))
    torch.testing.assert_close(y[:, 9:], block.branch4(x))


def test_stages_have_the_papers_sizes():
    network = GoogLeNet(VARIANTS["googlenet_paper"], num_classes=10).eval()
    with torch.no_grad():
        logits, inner1, inner2 = network.forward_stages(torch.randn(1, 3, 224, 224))
    assert inner1.shape == (1, 512, 14, 14)
    assert inner2.shape == (1, 528, 14, 14)
    assert logits.shape == (1, 10)


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


def test_auxiliary_heads_follow_the_variant_and_the_weight():
    assert LitGoogLeNet().network.aux1 is None
    assert LitGoogLeNet(variant="googlenet_paper").network.aux1 is not None
    assert LitGoogLeNet(variant="googlenet_paper", aux_weight=0).network.aux1 is None
    with pytest.raises(ValueError, match="no auxiliary heads"):
        LitGoogLeNet(variant="googlenet_d2l", aux_weight=0.3)
    with pytest.raises(ValueError, match=r"aux_weight must be at least 0, got -0\.1"):
        LitGoogLeNet(aux_weight=-0.1)
