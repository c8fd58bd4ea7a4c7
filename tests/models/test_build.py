"""``build`` with weights: what ``LitClassifier(weights=…)`` starts from, as a network alone."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet, LitResNet, build


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state dict of a ResNet-20 for colour images of ten classes."""
    torch.manual_seed(0)
    torch.save(build("resnet20").state_dict(), tmp_path / "resnet20.pt")
    return tmp_path / "resnet20.pt"


def differing(network: torch.nn.Module, state_dict: dict[str, Tensor]) -> set[str]:
    own = network.state_dict()
    return {
        name for name in own if own[name].shape != state_dict[name].shape or not torch.equal(own[name], state_dict[name])
    }


def test_without_weights_they_are_random():
    torch.manual_seed(0)
    first, second = build("resnet20"), build("resnet20", weights=None)
    assert not torch.equal(first.fc.weight, second.fc.weight)


@pytest.mark.parametrize("as_given", [str, Path])
def test_weights_of_a_file_are_loaded(file: Path, as_given: type):
    assert differing(build("resnet20", weights=as_given(file)), torch.load(file)) == set()


def test_other_classes_and_grey_images_change_the_first_and_the_last_layer_alone(file: Path):
    network = build("resnet20", num_classes=3, in_channels=1, weights=file)
    saved = torch.load(file)
    assert differing(network, saved) == {"conv1.weight", "fc.weight", "fc.bias"}
    torch.testing.assert_close(network.conv1.weight, saved["conv1.weight"].sum(dim=1, keepdim=True))
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_torchvisions_weights_come_by_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    theirs = torchvision.models.resnet18(weights=None)
    torch.save(theirs.state_dict(), folder / Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name)
    assert differing(build("resnet18", weights="IMAGENET1K_V1"), theirs.state_dict()) == set()


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path):
    """As in torchvision's IMAGENET1K_FEATURES of VGG-16, whose linear layers have none."""
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    theirs["layer4.1.conv2.weight"].fill_(float("nan"))
    torch.save(theirs, tmp_path / "own.pth")
    with pytest.raises(ValueError, match=r"own\.pth holds values that are no numbers, in layer4\.1\.conv2\.weight"):
        build("resnet18", num_classes=3, weights=tmp_path / "own.pth")


@pytest.mark.parametrize(
    ("name", "weights", "match"),
    [
        (
            "resnet18",
            "IMAGENET1K_V9",
            "weights 'IMAGENET1K_V9' are not torchvision's of resnet18; did you mean IMAGENET1K_V1",
        ),
        ("resnet20", "IMAGENET1K_V1", "torchvision has no weights of resnet20"),
        ("resnet20", "nowhere.pt", r"weights: there is no file or run folder nowhere\.pt"),
        ("lenet", "resnet20.pt", "not of this LeNet's variant: only the network has features.0.weight"),
    ],
)
@pytest.mark.usefixtures("file")
def test_errors_are_those_of_the_classifier(
    name: str, weights: str, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=match):
        build(name, weights=weights)
    with pytest.raises(ValueError, match=match):
        {"lenet": LitLeNet}.get(name, LitResNet)(variant=name, weights=weights)


def test_a_checkpoint_of_a_network_that_computes_something_else_is_refused(tmp_path: Path, trainer):
    model = LitLeNet(activation="relu", batch_norm="torch", num_classes=4)
    fitted = trainer(limit_train_batches=1)
    fitted.fit(model, datamodule=FakeImages(num_images=64, num_classes=4))
    path = tmp_path / "relu.ckpt"
    fitted.save_checkpoint(path)
    network = build("lenet", num_classes=4, weights=path, activation="relu")
    assert differing(network, model.network.state_dict()) == set()
    with pytest.raises(ValueError, match=r"relu\.ckpt.*trained with activation='relu', but the network has 'tanh'"):
        build("lenet", num_classes=4, weights=path)
