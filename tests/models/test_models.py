"""What every architecture must do; a new one is tested without being named here."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import DEFAULTS, variants
from pytorch_lightning import Trainer
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from lit_cnn.data import FakeImages
from lit_cnn.inference.loading import load_run
from lit_cnn.models import ARCHITECTURES, LitVGG, build, describe, lightning_module_of
from lit_cnn.network.base import Network
from lit_cnn.network.sizes import range_of_sizes, takes
from lit_cnn.training.classifier import LitClassifier

CLASSES = list(ARCHITECTURES.values())
# Generating code takes seconds to minutes. Two small networks are compiled fully, one of each architecture up to its graph.
COMPILED = [("lenet_bn", "inductor"), ("resnet20", "inductor")] + [
    (name, "aot_eager")
    for name in ("mlp", "alexnet_half", "vgg8_bn_small", "nin_cifar", "googlenet", "preact_resnet20", "densenet_d2l")
]


@functools.lru_cache(maxsize=1)
def network_of(name: str) -> Network:
    """Made once for the tests of a variant, which come in a row."""
    torch.manual_seed(0)
    return build(name, num_classes=7, in_channels=3)


def comfortable(name: str) -> int:
    """An image size at which BatchNorm has more than one value for each channel."""
    return max(describe(name).min_size, 28)


def pytest_generate_tests(metafunc: pytest.Metafunc):
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", variants(), scope="module")


def test_logits_have_the_shape_and_every_parameter_gets_a_gradient(variant: str):
    network = network_of(variant).train()
    size = comfortable(variant)
    images = torch.randn(4, 3, size, size)
    logits = network(images)
    assert logits.shape == (4, 7)
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 2, 4, 6]))
    assert loss.isfinite()
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    dead = [name for name, p in network.named_parameters() if p.ndim > 1 and not p.grad.any()]
    assert dead == []
    network.zero_grad(set_to_none=True)


def test_logits_of_an_image_do_not_depend_on_the_others(variant: str):
    network = network_of(variant).eval()
    images = torch.randn(3, 3, comfortable(variant), comfortable(variant))
    with torch.no_grad():
        torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", variants(all_take_long=True))
def test_a_checkpoint_gives_the_network_back(name: str, trainer: Callable[..., Trainer], tmp_path: Path):
    size = comfortable(name)
    model = lightning_module_of(name)(num_classes=4, in_channels=3, variant=name)
    data = FakeImages(num_images=16, num_classes=4, channels=3, native_size=size, batch_size=2)
    validated = trainer(limit_val_batches=1)
    validated.validate(model, datamodule=data, verbose=False)
    validated.save_checkpoint(tmp_path / "network.ckpt", weights_only=True)
    again = load_run(tmp_path / "network.ckpt", device="cpu").classifier
    (tmp_path / "network.ckpt").unlink()
    assert again.hparams["variant"] == name
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(again(images), model.eval()(images))


def test_its_parts_can_be_looked_into(variant: str):
    with torch.device("meta"):
        network = build(variant).eval()
    names = [name for name in get_graph_node_names(network)[1] if name not in ("x", "check_images")]
    extractor = create_feature_extractor(network, names[-2:])
    layout = describe(variant)
    images = torch.empty(1, layout.in_channels, layout.image_size, layout.image_size, device="meta")
    assert len(extractor(images)) == 2


@pytest.mark.parametrize(
    "default", [pytest.param(one, marks=pytest.mark.slow if one == "densenet121" else ()) for one in sorted(DEFAULTS)]
)
def test_it_can_be_exported(default: str):
    """Others are in the slow tests of exports."""
    with torch.device("meta"):
        network = build(default, num_classes=7, in_channels=3).eval()
    images = torch.randn(2, 3, comfortable(default), comfortable(default), device="meta")
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        exported = torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    assert exported.module()(torch.cat([images, images])).shape == (4, 7)


def test_it_takes_grey_images(variant: str):
    with torch.device("meta"):
        network = build(variant, num_classes=7, in_channels=1)
    size = describe(variant).min_size
    assert network.eval()(torch.empty(2, 1, size, size, device="meta")).shape == (2, 7)


def test_an_image_too_small_is_refused_with_the_smallest_size(variant: str):
    size = describe(variant).min_size
    network = network_of(variant).eval()
    if size == 1:
        assert network(torch.randn(1, 3, 1, 1)).shape == (1, 7)
        return
    with pytest.raises(
        ValueError, match=rf"^{type(network).__name__} takes images of .*{size}×{size}.*, got {size - 1}×{size}$"
    ):
        network(torch.randn(1, 3, size - 1, size))


@pytest.mark.parametrize("name", variants(all_take_long=True))
def test_it_takes_the_sizes_that_it_names(name: str, monkeypatch: pytest.MonkeyPatch):
    layout = describe(name)
    with torch.device("meta"):
        network = build(name, num_classes=7, in_channels=3)
    monkeypatch.setattr(Network, "check", lambda *_: None)
    assert range_of_sizes(lambda size: takes(network, 3, size)) == (layout.min_size, layout.max_size)


def test_the_number_of_channels_is_checked(variant: str):
    size = describe(variant).min_size
    with pytest.raises(ValueError, match=rf"takes images of shape \(N, 3, H, W\), got \(1, 2, {size}, {size}\)"):
        network_of(variant)(torch.randn(1, 2, size, size))


def test_it_says_where_it_comes_from(variant: str):
    layout = describe(variant)
    assert layout.paper[-4:].isdigit()
    assert layout.image_size >= layout.min_size


@pytest.mark.slow
@pytest.mark.parametrize(("name", "backend"), COMPILED)
def test_it_compiles_as_one_graph(name: str, backend: str):
    torch.manual_seed(0)
    network = build(name, num_classes=7, in_channels=1).eval()
    images = torch.randn(2, 1, comfortable(name), comfortable(name))
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(
            torch.compile(network, fullgraph=True, backend=backend)(images), expected, rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("cls", CLASSES)
def test_arguments_survive_in_the_hyper_parameters(cls: type[LitClassifier], tmp_path: Path):
    classifier = cls(num_classes=4, in_channels=1, lr=0.3, optimizer="Adam")
    torch.save(dict(classifier.hparams), tmp_path / "hparams.pt")
    again = cls(**torch.load(tmp_path / "hparams.pt", weights_only=True))
    again.load_state_dict(classifier.state_dict())
    assert again.hparams == classifier.hparams
    assert again.hparams["lr"] == 0.3


@pytest.mark.parametrize(
    "cls", [pytest.param(one, marks=pytest.mark.slow if one.__name__ == "LitNiN" else ()) for one in CLASSES]
)
def test_one_batch_is_learnt_by_heart(cls: type[LitClassifier]):
    torch.manual_seed(0)
    classifier = cls(num_classes=4, in_channels=1)
    size = comfortable(classifier.hparams["variant"])
    images, labels = torch.randn(8, 1, size, size), torch.arange(8) % 4
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _ in range(150):
        logits, loss = classifier.training_loss(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.05:
            break
    assert loss < 0.05
    assert (logits.argmax(1) == labels).float().mean() == 1


@pytest.mark.parametrize("cls", CLASSES)
def test_an_unknown_variant_or_a_count_below_one_is_refused(cls: type[LitClassifier]):
    variant = cls().hparams["variant"]
    with pytest.raises(ValueError, match=rf"unknown variant '{variant}x'; did you mean .*{variant}"):
        cls(variant=f"{variant}x")
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got 0"):
        cls(num_classes=0)
    with pytest.raises(ValueError, match="in_channels must be a whole number of at least 1, got -3"):
        cls(in_channels=-3)


def test_build_offers_names_like_one_that_does_not_exist():
    with pytest.raises(ValueError, match=r"unknown variant 'resnet51'; did you mean resnet"):
        build("resnet51")
    with pytest.raises(ValueError, match=r"unknown variant 'transformer'; lit-cnn models lists all"):
        build("transformer")
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got 0"):
        build("resnet18", num_classes=0)


def test_every_architecture_has_recipes_and_those_named_by_the_papers_too():
    experiments = Path(__file__).parents[2] / "experiments"
    for dataset in ("digits", "fashion_mnist"):
        assert set(ARCHITECTURES) <= {recipe.stem for recipe in (experiments / dataset).glob("*.yaml")}
    of_papers = {"resnet20", "resnet56", "vgg16_bn", "densenet_bc_100_12", "nin_cifar", "googlenet"}
    assert of_papers <= {recipe.stem for recipe in (experiments / "cifar10").glob("*.yaml")}


def test_dropout_is_refused_where_there_are_no_layers_for_it():
    """A comparison of two rates of dropout would otherwise compare equal networks."""
    with pytest.raises(ValueError, match="dropout=0 has no effect without hidden linear layers: leave it out"):
        LitVGG(dropout=0.0)
    dropped = [module.p for module in LitVGG(variant="vgg11_d2l", dropout=0.2).modules() if isinstance(module, nn.Dropout)]
    assert dropped == [0.2, 0.2]
