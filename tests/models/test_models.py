"""What every architecture must do; a new one is tested without being named here."""

from pathlib import Path

import pytest
import torch

from lit_cnn import models
from lit_cnn.classifier import LitClassifier
from lit_cnn.input_size import takes

KINDS = [getattr(models, name) for name in models.__all__]


def variants_of(kind: type[LitClassifier]) -> list[str]:
    return list(__import__(kind.__module__, fromlist=["VARIANTS"]).VARIANTS)


CASES = [(kind, variant) for kind in KINDS for variant in variants_of(kind)]


def smallest(classifier: LitClassifier) -> int:
    """An image size that the network takes, and that BatchNorm can train on."""
    return next(size for size in range(28, 513) if takes(classifier.network, classifier.in_channels, size))


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_logits_have_the_shape_and_every_parameter_gets_a_gradient(
    kind: type[LitClassifier], variant: str, in_channels: int
):
    classifier = kind(num_classes=7, in_channels=in_channels, variant=variant)
    size = smallest(classifier)
    images, labels = torch.randn(4, in_channels, size, size), torch.tensor([0, 2, 4, 6])
    assert classifier(images).shape == (4, 7)
    logits, loss = classifier.training_loss(images, labels)
    assert logits.shape == (4, 7)
    assert loss.isfinite()
    loss.backward()
    without = [name for name, p in classifier.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    dead = [name for name, p in classifier.named_parameters() if p.ndim > 1 and not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_logits_of_an_image_do_not_depend_on_the_others(kind: type[LitClassifier], variant: str):
    classifier = kind(num_classes=3, in_channels=1, variant=variant).eval()
    images = torch.randn(3, 1, smallest(classifier), smallest(classifier))
    with torch.no_grad():
        torch.testing.assert_close(classifier(images)[:1], classifier(images[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "variant"), CASES)
def test_arguments_survive_in_the_hyper_parameters(kind: type[LitClassifier], variant: str, tmp_path: Path):
    classifier = kind(num_classes=4, in_channels=1, variant=variant, lr=0.3, optimizer="Adam")
    torch.save(dict(classifier.hparams), tmp_path / "hparams.pt")
    again = kind(**torch.load(tmp_path / "hparams.pt", weights_only=True))
    again.load_state_dict(classifier.state_dict())
    assert again.hparams == classifier.hparams
    assert again.hparams["lr"] == 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_one_batch_is_learnt_by_heart(kind: type[LitClassifier]):
    torch.manual_seed(0)
    classifier = kind(num_classes=4, in_channels=1)
    size = smallest(classifier)
    images, labels = torch.randn(8, 1, size, size), torch.arange(8) % 4
    optimizer = torch.optim.Adam(classifier.parameters(), lr=2e-3)
    for _ in range(40):
        logits, loss = classifier.training_loss(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert (logits.argmax(1) == labels).float().mean() == 1


def test_every_model_has_a_recipe_for_every_dataset_of_the_recipes():
    experiments = Path(__file__).parents[2] / "experiments"
    for folder in ("digits", "fashion_mnist", "cifar10"):
        for kind in KINDS:
            assert (experiments / folder / f"{kind.__module__.rpartition('.')[2]}.yaml").is_file()
