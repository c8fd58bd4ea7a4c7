"""What ``lit-cnn models`` and ``lit-cnn summary`` print."""

import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, Command, variants
from torch import nn

from lit_cnn.commands.catalogue import describe_variant
from lit_cnn.models import build, describe, find_variant, lightning_module_of, list_variants
from lit_cnn.network.catalogue import find_in_catalogue, read_catalogue, write_catalogue
from lit_cnn.network.counting import count_multiply_adds, count_parameters, list_layers
from lit_cnn.weights.shipped_file import list_shipped


def test_the_layers_counts_add_up_to_the_networks():
    for name in ("lenet", "googlenet", "resnet18", "densenet_d2l"):
        with torch.device("meta"):
            network = build(name)
        size = 28 if name == "lenet" else 96
        images = torch.empty(1, network.in_channels, size, size, device="meta")
        for depth in (1, 2, None):
            *layers, whole = list_layers(network, images, depth)
            assert sum(layer.num_parameters for layer in layers) == whole.num_parameters == count_parameters(network)
            assert sum(layer.multiply_adds for layer in layers) == whole.multiply_adds
            assert whole.multiply_adds == count_multiply_adds(network, images)
            assert whole.output_shape == (1, network.num_classes)


def test_a_layer_that_is_used_twice_is_counted_once_and_shown_twice():
    shared = nn.Conv2d(3, 3, 1)
    layers = list_layers(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 3, 4, 4))
    assert [(layer.name, layer.class_name, layer.num_parameters) for layer in layers] == [
        ("0", "Conv2d", 12), ("1", "ReLU", 0), ("0", "Conv2d", 0), ("", "Sequential", 12),
    ]  # fmt: skip


def test_looking_leaves_the_network_as_it_was():
    network = build("lenet_bn").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    list_layers(network, torch.randn(1, 1, 28, 28))
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "variant"),
    [("vgg", "vgg11_bn_small"), ("LitVGG", "vgg11_bn_small"), ("alexnet", "alexnet"), ("LitAlexNet", "alexnet_half")],
)
def test_architectures_stand_for_their_default_variant(name: str, variant: str):
    assert find_variant(name) == variant
    assert find_in_catalogue(name)[0] == variant


OUTDATED = "lit_cnn/models/catalogue.json is out of date: run make catalogue"


def test_the_catalogue_names_every_variant_with_the_facts_of_its_table():
    catalogue = read_catalogue()
    assert list(catalogue) == list_variants(), OUTDATED
    for name, entry in catalogue.items():
        layout, cls = describe(name), lightning_module_of(name)
        assert f"lit_cnn.models.{entry.module}.{entry.class_name}" == f"{cls.__module__}.{cls.__name__}", OUTDATED
        assert entry.input_shape == (layout.in_channels, layout.image_size, layout.image_size), OUTDATED
        for fact in ("num_classes", "min_size", "max_size", "paper", "accuracy"):
            assert getattr(entry, fact) == getattr(layout, fact), f"{fact} of {name}: {OUTDATED}"


# The default variant of each architecture always; all others take too long. tests/models/test_counts.py compares more.
@pytest.mark.parametrize("name", variants(all_take_long=True))
def test_the_catalogue_holds_what_is_counted(name: str):
    assert read_catalogue()[name] == describe_variant(name), OUTDATED


def test_a_catalogue_that_is_written_is_read_back(tmp_path):
    entries = {name: describe_variant(name) for name in ("lenet", "vgg16_bn")}
    write_catalogue(entries, tmp_path / "catalogue.json")
    assert read_catalogue(tmp_path / "catalogue.json") == entries


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["models", "resnet"], 0),
        (["models", "transformer"], 2),
        (["models", "--help"], 0),
        (["summary", "--model", "resnet19"], 2),
        (["summary", "--help"], 0),
    ],
)
def test_what_needs_no_network_imports_neither_torch_nor_lightning(arguments: list[str], status: int):
    code = (
        "import sys; from lit_cnn.__main__ import main; sys.argv[0] = 'lit-cnn'\n"
        "try: status = main()\n"
        "except SystemExit as end: status = end.code or 0\n"
        "print(status, sorted({'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == f"{status} []"


def test_models_lists_what_matches(lit_cnn: Command):
    done = lit_cnn("models", "resnet20")
    assert done.returncode == 0
    header, *rows = done.stdout.splitlines()
    assert header.split()[:4] == ["name", "trained", "by", "parameters"]
    assert {row.split()[0] for row in rows} == {name for name in list_variants() if "resnet20" in name}
    expected = [
        "resnet20",
        "LitResNet",
        "269,722",
        "40,551,040",
        "3×32×32",
        "1",
        "He et al. 2016",
        "91.25 % CIFAR-10 (paper)",
        ", ".join(list_shipped().get("resnet20", ["-"])),
    ]
    assert expected in [re.split(" {2,}", row) for row in rows]
    assert len(lit_cnn("models", "vgg*_bn").stdout.splitlines()) == 5
    assert [row.split()[0] for row in lit_cnn("models", "litlenet").stdout.splitlines()[1:]] == ["lenet", "lenet_bn"]


def test_summary_shows_shapes_at_the_size_that_was_asked(lit_cnn: Command):
    shape = ["--image_size", "96", "--in_channels", "1", "--num_classes", "7"]
    done = lit_cnn("summary", "--model", "resnet18", *shape, "--depth", "1")
    assert done.returncode == 0
    assert re.search(r"^layer4 +Sequential +512×3×3 +8,393,728 +75,497,472$", done.stdout, re.M)
    assert re.search(r"^fc +Linear +7 +3,591 +3,584$", done.stdout, re.M)
    assert "Identity" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "transformer"], "no network is called like 'transformer'"),
        (["summary", "--model", "resnet19"], "unknown variant 'resnet19'; did you mean resnet1"),
        (["summary", "--model", "vgg16", "--image_size", "31"], "VGG takes images of at least 32×32, got 31×31"),
        (["summary", "--model", "vgg16", "--image_size", "0"], "image_size must be a whole number of at least 1, got 0"),
        (["summary", "--model", "lenet", "--in_channels", "0"], "in_channels must be a whole number of at least 1, got 0"),
        (["summary", "--model", "lenet", "--depth", "0"], "depth must be at least 1, got 0"),
    ],
)
def test_nonsense_ends_in_one_line(lit_cnn: Command, arguments: list[str], message: str):
    done = lit_cnn(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
