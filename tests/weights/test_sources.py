"""Weights from torchvision, from files and from runs."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import Command, variants
from PIL import Image
from torch import nn

from lit_cnn.data import Digits, FakeImages, ImageFolder
from lit_cnn.data.reading import read_image
from lit_cnn.inference.loading import load_pretrained, load_run
from lit_cnn.models import LitAlexNet, LitGoogLeNet, LitLeNet, LitMLP, LitResNet, build
from lit_cnn.network.parts import head_names
from lit_cnn.runs.folder import Run
from lit_cnn.weights.adapt import start_from
from lit_cnn.weights.sources import Weights, find_weights

# Where there is nothing to download, and nothing else to be seen of it.
NO_NETWORK = pytest.mark.usefixtures("hub")
NEAR = "are not torchvision's of resnet18; did you mean IMAGENET1K_V1?"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps what it has downloaded; it has downloaded nothing, and can download nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(url: str, *_: object, **__: object) -> None:
        raise urllib.error.URLError(f"no network for {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def download(hub: Path, name: str, weights: str = "IMAGENET1K_V1", **options: object) -> nn.Module:
    """torchvision's network with random weights, saved where its published ones would be."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, **options)
    url = torchvision.models.get_model_weights(name)[weights].url
    torch.save(network.state_dict(), hub / Path(url).name)
    return network.eval()


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1", "DEFAULT", "ResNet18_Weights.DEFAULT"])
def test_torchvisions_weights_come_by_torchvisions_names(hub: Path, name: str):
    theirs = download(hub, "resnet18")
    ours = LitResNet(num_classes=1000, variant="resnet18", weights=name).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)
    assert str(ours.pretrained) == "weights of ResNet18_Weights.IMAGENET1K_V1"
    assert ours.pretrained.class_names[:2] == ("tench", "goldfish")
    assert ours.pretrained.mean == (0.485, 0.456, 0.406)


def test_weights_that_cannot_be_downloaded_say_where_to_put_the_file(hub: Path):
    with pytest.raises(
        OSError, match=rf"cannot download https://.*resnet18.*\(.*no network.*\): put the file at {hub}/resnet18-"
    ):
        LitResNet(variant="resnet18", weights="IMAGENET1K_V1")


def test_a_broken_download_is_named(hub: Path):
    download(hub, "resnet18")
    (file,) = hub.iterdir()
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=rf"{file} is not the file that torchvision published .*: delete it"):
        LitResNet(variant="resnet18", weights="IMAGENET1K_V1")


def test_another_number_of_classes_replaces_the_head_alone(hub: Path):
    theirs = download(hub, "resnet18")
    ours = LitResNet(num_classes=3, variant="resnet18", weights="IMAGENET1K_V1")
    state = ours.network.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert name.startswith("fc.") or torch.equal(state[name], tensor), name
    assert "new fc for 3 classes instead of 1000" in str(ours.pretrained)


def test_grey_images_see_what_a_colour_network_makes_of_three_equal_colours(hub: Path):
    theirs = download(hub, "resnet18")
    ours = LitResNet(num_classes=1000, in_channels=1, variant="resnet18", weights="IMAGENET1K_V1").eval()
    grey = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(ours(grey), theirs(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    assert "first convolution summed over the colours" in str(ours.pretrained)
    assert ours.pretrained.mean == pytest.approx((0.449,))


def test_a_network_for_colours_takes_a_third_of_a_grey_ones_weights_for_each(tmp_path: Path):
    grey, colour = LitAlexNet(in_channels=1).eval(), LitAlexNet(in_channels=3).eval()
    torch.save(grey.network.state_dict(), tmp_path / "grey.pt")
    weights = start_from(colour.network, find_weights(str(tmp_path / "grey.pt")))
    assert "spread over the colours" in str(weights)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(colour(images), grey(images.mean(dim=1, keepdim=True)), rtol=1e-4, atol=1e-4)


def test_googlenets_weights_want_images_from_minus_one_to_one(hub: Path):
    theirs = download(hub, "googlenet", aux_logits=True, init_weights=False)
    theirs.transform_input = True  # as torchvision sets it for its published weights
    ours = LitGoogLeNet(num_classes=1000, weights="IMAGENET1K_V1", aux_weight=0.3).eval()
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    own_mean, own_std = (torch.tensor(v).view(-1, 1, 1) for v in (ours.pretrained.mean, ours.pretrained.std))
    expected = theirs((pixels - mean) / std)
    torch.testing.assert_close(ours((pixels - own_mean) / own_std), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.network.aux1.fc2.weight, theirs.aux1.fc2.weight)


def test_data_are_normalised_as_the_weights_want(hub: Path, photos: Path, trainer):
    download(hub, "resnet18")
    model = LitResNet(num_classes=3, variant="resnet18", weights="IMAGENET1K_V1")
    data = ImageFolder(str(photos), image_size=32, batch_size=8)
    measured = data.preprocessing.mean
    trainer(limit_train_batches=1).fit(model, datamodule=data)
    assert data.preprocessing.mean == (0.485, 0.456, 0.406) != measured
    assert data.state_dict()["std"] == [0.229, 0.224, 0.225]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_files_of_weights_are_read(tmp_path: Path, suffix: str):
    torch.manual_seed(0)
    network = build("lenet_bn")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(network.state_dict(), path)
    else:
        torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    ours = LitLeNet(variant="lenet_bn", weights=str(path))
    assert all(torch.equal(ours.network.state_dict()[name], tensor) for name, tensor in network.state_dict().items())
    assert str(ours.pretrained) == f"weights of {path}"


def test_a_run_gives_its_best_weights_and_its_normalisation(lit_cnn: Command, tmp_path: Path):
    small = [
        "--data",
        "Digits",
        "--data.image_size",
        "28",
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "2",
        "--model.schedule",
        "constant",
    ]
    assert lit_cnn("fit", "--model", "LitLeNet", *small, "--runs_dir", "first").returncode == 0
    (run,) = (tmp_path / "first").glob("*/*/*")
    done = lit_cnn("fit", "--model", "LitLeNet", *small, "--model.weights", run, "--model.freeze", "backbone")
    assert done.returncode == 0, done.stderr
    assert f"weights of the run {run}; images normalised as for these weights" in done.stdout
    (second,) = (tmp_path / "runs").glob("*/*/*")
    before = torch.load(Run(run).best, weights_only=True)["state_dict"]
    after = torch.load(Run(second).best, weights_only=True)["state_dict"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"network.classifier.5.weight", "network.classifier.5.bias"}
    # Resuming, testing and predicting do not need the weights that it started from.
    for path in sorted(run.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert lit_cnn("test", "--run", second).returncode == 0
    resumed = lit_cnn("fit", "--run", second, "--trainer.max_epochs", "2")
    assert resumed.returncode == 0, resumed.stderr
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "digit.png")
    assert lit_cnn("predict", "--run", second, "--images", "digit.png").returncode == 0
    assert f"weights: {run}" in (second / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model.weights", "IMAGENET1K_V9"],
            "weights 'IMAGENET1K_V9' are not torchvision's of resnet18; did you mean IMAGENET1K_V1?",
        ),
        (
            ["--model.weights", "ResNet50_Weights.IMAGENET1K_V2"],
            "are not torchvision's of resnet18; did you mean IMAGENET1K_V1?",
        ),
        (["--model.weights", "nowhere/weights.pt"], "weights: there is no file or run folder nowhere/weights.pt"),
        (["--model.weights", "https://example.com/w.pt"], "https://example.com/w.pt is a remote address"),
        (["--model.weights", "IMAGENET1K_V1", "--model.variant", "resnet20"], "torchvision has no weights of resnet20"),
        (["--model.weights", "text.pt"], "text.pt is not a whole checkpoint: File is not a zip file"),
        (
            ["--model.weights", "other.pt"],
            "not of this ResNet's variant: only the network has conv1.weight",
        ),
        (["--model.weights", "broken.safetensors"], "broken.safetensors is not a complete safetensors file"),
        (["--model.weights", ""], "weights must be a file, a run's folder or a name of published weights, got ''"),
        (["--model.variant", "resnet51"], "there is no resnet51; did you mean resnet"),
        (
            ["--model.freeze", "layer9"],
            "freeze must be none, backbone or a part of the network with parameters before its last layer, got 'layer9'",
        ),
        (
            ["--model.freeze", "fc"],
            "a part of the network with parameters before its last layer, got 'fc'; there are none, backbone, conv1, bn1",
        ),
        (["--model.backbone_lr_scale", "0"], "backbone_lr_scale must be above 0, got 0.0; to stop it, freeze"),
    ],
)
@NO_NETWORK
def test_what_cannot_be_loaded_or_frozen_ends_in_one_line(
    lit_cnn: Command, tmp_path: Path, arguments: list[str], message: str
):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(build("lenet").state_dict(), tmp_path / "other.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    done = lit_cnn("fit", "--model", "LitResNet", "--data", "Digits", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"state_dict": Harmful()}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="it holds more than tensors and plain values"):
        find_weights(str(tmp_path / "weights.pt"))
    assert not (tmp_path / "harm").exists()


def test_a_trained_network_of_torchvision_predicts_with_its_own_preprocessing(hub: Path, tmp_path: Path, lit_cnn: Command):
    theirs = download(hub, "resnet18")
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    # Smooth, as photographs are: where a square begins may differ by half a pixel.
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    trained = load_pretrained("resnet18", "IMAGENET1K_V1", device="cpu")
    seen = trained.preprocessing(read_image(tmp_path / "photo.png", trained.native_size, 3)[None])
    expected = weights.transforms()(Image.open(tmp_path / "photo.png"))[None]
    assert seen.shape == expected.shape == (1, 3, 224, 224)
    # In levels of grey.
    difference = (seen - expected).abs() * 255 * 0.224
    assert difference.max() < 8
    assert difference.mean() < 1.5
    with torch.no_grad():
        torch.testing.assert_close(trained.classifier(expected), theirs(expected), rtol=1e-5, atol=1e-5)
    done = lit_cnn("predict", "--model", "resnet18", "--images", "photo.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1].split(",")[1] in weights.meta["categories"]
    done = lit_cnn("predict", "--model", "lenet", "--images", "photo.png")
    assert "torchvision has no weights of lenet" in done.stderr


def test_a_run_or_its_checkpoint_is_not_taken_for_published_weights(tmp_path: Path, trainer):
    fitted = trainer(limit_train_batches=1)
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=64))
    fitted.save_checkpoint(tmp_path / "end.ckpt")
    with pytest.raises(ValueError, match=r"end\.ckpt would lose its way of reading images; predict with a run instead"):
        load_pretrained("lenet", str(tmp_path / "end.ckpt"))


def test_a_perceptron_has_no_convolution_to_change(tmp_path: Path):
    network = LitMLP(num_classes=10)
    torch.save(network.network.state_dict(), tmp_path / "w.pt")
    again = LitMLP(num_classes=4, weights=str(tmp_path / "w.pt"))
    assert "new layers.2 for 4 classes instead of 10" in str(again.pretrained)
    with pytest.raises(ValueError, match=r"do not fit this MLP: layers\.0\.weight is \(256, 784\) in the weights"):
        LitMLP(in_channels=3, weights=str(tmp_path / "w.pt"))


def test_weights_survive_the_file_formats_of_others(tmp_path: Path):
    network = build("resnet20", in_channels=1)
    for wrapped in ({"model": network.state_dict()}, {"state_dict": network.state_dict(), "epoch": 3}):
        torch.save(wrapped, tmp_path / "w.pth")
        ours = LitResNet(variant="resnet20", in_channels=1, weights=str(tmp_path / "w.pth"))
        assert torch.equal(ours.network.fc.weight, network.fc.weight)


def test_weights_trained_in_a_network_that_computes_something_else_are_refused(tmp_path: Path, trainer):
    model = LitLeNet(activation="relu", num_classes=4)
    fitted = trainer(limit_train_batches=1)
    fitted.fit(model, datamodule=FakeImages(num_images=64, num_classes=4))
    fitted.save_checkpoint(tmp_path / "relu.ckpt")
    with pytest.raises(ValueError, match=r"not of this LitLeNet.*; activation is relu in the checkpoint and tanh"):
        LitLeNet(num_classes=4, weights=tmp_path / "relu.ckpt")
    with pytest.raises(ValueError, match="activation is relu in the checkpoint and tanh in the network"):
        trainer().validate(LitLeNet(num_classes=4), datamodule=FakeImages(num_classes=4), ckpt_path=tmp_path / "relu.ckpt")
    # What matters in training alone may differ.
    again = LitLeNet(num_classes=3, activation="relu", weights=tmp_path / "relu.ckpt")
    assert "new classifier.5 for 3 classes instead of 4" in str(again.pretrained)


@pytest.mark.parametrize("name", [case.values[0] for case in variants()])
def test_every_network_takes_its_own_weights_for_other_classes_and_colours(name: str):
    with torch.device("meta"):
        seven, five = build(name, num_classes=7, in_channels=3), build(name, num_classes=5, in_channels=1)
        if name == "mlp":
            five = build(name, num_classes=5, in_channels=3)
        started = start_from(five, Weights("elsewhere", seven.state_dict()))
    assert f"new {head_names(five)[0]} for 5 classes instead of 7" in str(started)
    assert ("summed over the colours" in str(started)) == (name != "mlp")


def test_what_the_training_started_from_is_not_needed_to_load_its_checkpoint(tmp_path: Path, trainer):
    torch.save(build("lenet").state_dict(), tmp_path / "start.pt")
    fitted = trainer(limit_train_batches=1)
    fitted.fit(LitLeNet(weights=tmp_path / "start.pt"), datamodule=FakeImages(num_images=64))
    fitted.save_checkpoint(tmp_path / "end.ckpt")
    (tmp_path / "start.pt").unlink()
    assert LitLeNet.load_from_checkpoint(tmp_path / "end.ckpt", weights_only=True).hparams["weights"] is None
    assert load_run(tmp_path / "end.ckpt").classifier.pretrained is None
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert saved["lit_cnn"]["started_from"] == str(tmp_path / "start.pt")


def test_a_resumed_training_knows_what_it_started_from(tmp_path: Path, trainer):
    torch.save(build("lenet").state_dict(), tmp_path / "start.pt")
    data = FakeImages(num_images=64)
    for epochs, weights, checkpoint in ((1, tmp_path / "start.pt", None), (2, None, tmp_path / "end.ckpt")):
        fitted = trainer(max_epochs=epochs)
        fitted.fit(LitLeNet(weights=weights, schedule="constant"), datamodule=data, ckpt_path=checkpoint, weights_only=True)
        fitted.save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert (saved["epoch"], saved["lit_cnn"]["started_from"]) == (2, str(tmp_path / "start.pt"))


def test_a_fresh_network_after_a_pretrained_one_sees_images_normalised_as_their_own(hub: Path, trainer):
    download(hub, "resnet18")
    data = FakeImages(num_images=64, num_classes=3, channels=3, image_size=32)
    own = data.preprocessing
    trainer(limit_train_batches=1).fit(LitResNet(num_classes=3, weights="IMAGENET1K_V1"), datamodule=data)
    assert data.preprocessing.mean == (0.485, 0.456, 0.406) != own.mean
    trainer(limit_train_batches=1).fit(LitResNet(num_classes=3), datamodule=data)
    assert data.preprocessing == own


def test_a_last_layer_of_other_classes_is_pointed_out(tmp_path: Path, trainer):
    fitted = trainer(limit_train_batches=1)
    fitted.fit(LitLeNet(num_classes=10), datamodule=FakeImages(num_images=64))
    fitted.save_checkpoint(tmp_path / "fake.ckpt")
    model = LitLeNet(weights=tmp_path / "fake.ckpt")
    with pytest.warns(UserWarning, match=r"whose 10 classes \(class 0, class 1, class 2, …\) are not those of digits"):
        trainer(limit_train_batches=1).fit(model, datamodule=Digits(image_size=28))


def test_missing_auxiliary_heads_are_new_and_said_to_be(tmp_path: Path):
    torch.save(build("googlenet", num_classes=4).state_dict(), tmp_path / "plain.pt")
    model = LitGoogLeNet(num_classes=4, aux_weight=0.3, weights=tmp_path / "plain.pt")
    assert "new auxiliary heads" in str(model.pretrained)
    state = build("googlenet", num_classes=4, aux_heads=True).state_dict()
    del state["aux1.fc1.weight"]
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"only the network has aux1\.fc1\.weight"):
        LitGoogLeNet(num_classes=4, aux_weight=0.3, weights=tmp_path / "part.pt")


def test_weights_beside_a_run_are_refused(lit_cnn: Command):
    done = lit_cnn("predict", "--run", "runs/x", "--weights", "IMAGENET1K_V1", "--images", ".")
    assert done.returncode == 2
    assert "--weights belong to a --model" in done.stderr


def test_torchvisions_own_file_is_known_by_its_name_wherever_it_lies(hub: Path, tmp_path: Path):
    download(hub, "resnet18")
    (file,) = hub.iterdir()
    moved = file.rename(tmp_path / file.name)
    model = LitResNet(num_classes=3, variant="resnet18", weights=moved)
    assert model.normalisation == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert "weights of ResNet18_Weights.IMAGENET1K_V1" in str(model.pretrained)


def test_what_is_frozen_without_weights_and_what_weights_do_not_say_is_said(lit_cnn: Command, tmp_path: Path):
    small = ["--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--model.freeze", "backbone"]
    small += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert "; the frozen part is random without --model.weights" in lit_cnn("fit", *small).stdout
    torch.save(build("lenet").state_dict(), tmp_path / "bare.pt")
    done = lit_cnn("fit", *small, "--model.weights", "bare.pt")
    assert "images normalised as for this dataset: the weights do not say how" in done.stdout
    assert "random" not in done.stdout


def test_an_option_of_other_architectures_is_not_suggested(lit_cnn: Command):
    done = lit_cnn("fit", "--model", "LitResNet", "--data", "Digits", "--model.dropout", "0.5")
    assert "unknown option --model.dropout" in done.stderr
    assert "did you mean" not in done.stderr


def test_predictions_are_not_made_for_a_folder_that_is_not_there(lit_cnn: Command):
    done = lit_cnn("predict", "--run", "runs/x", "--images", ".", "--output", "nowhere/p.csv")
    assert done.returncode == 2
    assert "there is no folder for the output nowhere/p.csv" in done.stderr


def test_a_damaged_checkpoint_gives_no_weights(tmp_path: Path):
    path = tmp_path / "weights.pt"
    torch.save(build("lenet").state_dict(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.pt is not a whole checkpoint: .* is damaged"):
        find_weights(str(path))
