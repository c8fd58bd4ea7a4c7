"""Heat maps: they show the figure that decides, follow the weights, and leave the network as it was."""

import numpy as np
import pytest
import torch
from planted import SIZE, make_images, train_small
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.explain import METHODS, Explanation, explain, features, field_of, heat_map
from lit_cnn.inference.explain.maps import CAPTUM, place_on_images
from lit_cnn.inference.explain.places import survey
from lit_cnn.inference.trained import Trained
from lit_cnn.models import describe, lightning_module_of, list_variants

# Where the head flattens the maps, the mean of a gradient over all places is of no place: Grad-CAM is not tested there.
OF_PLACES = ("layercam", "occlusion", "ig")


@pytest.fixture(scope="module")
def by_shape() -> Trained:
    return train_small(by_place=False)


@pytest.fixture(scope="module")
def by_place() -> Trained:
    return train_small(by_place=True)


def needs(method: str) -> None:
    if method in CAPTUM:
        pytest.importorskip("captum")


def share_in_figure(heat: np.ndarray, inside: torch.Tensor) -> float:
    """The share of the heat that lies in figures, or at most two pixels off."""
    near = F.max_pool2d(inside[:, None].float(), 5, stride=1, padding=2)[:, 0].numpy()
    return float((heat * near).sum() / heat.sum())


@pytest.mark.parametrize(
    ("kind", "method"), [*(("by_shape", name) for name in METHODS), *(("by_place", name) for name in OF_PLACES)]
)
def test_the_heat_is_in_the_figure_that_decides(kind: str, method: str, request: pytest.FixtureRequest):
    needs(method)
    trained = request.getfixturevalue(kind)
    images, labels, inside = make_images(6, kind == "by_place", seed=2)
    explanation = explain(trained, images, method)
    assert explanation.targets.tolist() == labels.tolist()
    assert explanation.heat.shape == (6, SIZE, SIZE)
    assert explanation.heat.dtype == np.float32
    assert explanation.heat.min() >= 0
    assert explanation.heat.max() <= 1
    # The figures and two pixels around them are a sixth of the area.
    speaks_for = explanation.heat if method != "ig" else explanation.values.clip(min=0)  # of which heat cuts the peaks
    assert share_in_figure(speaks_for, inside) > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_the_map_changes_when_the_weights_are_random(method: str, by_shape: Trained):
    """Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292."""
    needs(method)
    images, labels, _ = make_images(4, by_place=False, seed=3)
    trained = explain(by_shape, images, method, labels).values
    kept = {name: tensor.clone() for name, tensor in by_shape.network.state_dict().items()}
    random = []
    for seed in range(3):
        torch.manual_seed(seed)
        for module in by_shape.network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
        random.append(rank_correlation(trained, explain(by_shape, images, method, labels).values))
    by_shape.network.load_state_dict(kept)
    assert rank_correlation(trained, explain(by_shape, images, method, labels).values) > 0.999
    # Convolutions with random weights see bright figures too, and LayerCAM has no values below 0.
    assert np.mean(random) < 0.7


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The mean of Spearman's correlation over images; a map that is constant correlates with none."""
    found = [
        spearmanr(first.ravel(), second.ravel()).statistic
        for first, second in zip(one, other, strict=True)
        if first.std() and second.std()
    ]
    return float(np.mean(found)) if found else 0.0


def test_integrated_gradients_sum_to_the_difference_of_the_logits(by_place: Trained):
    pytest.importorskip("captum")
    images, labels, _ = make_images(4, by_place=True, seed=4)
    values = explain(by_place, images, "ig", labels).values.sum(axis=(1, 2))
    batch = by_place.preprocess(images)
    with torch.no_grad():
        change = by_place.network(batch) - by_place.network(torch.zeros_like(batch))
    np.testing.assert_allclose(values, change[torch.arange(4), labels].numpy(), rtol=0.01, atol=1e-3)


def test_what_cannot_be_integrated_in_so_many_steps_is_told(by_place: Trained, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("captum")
    monkeypatch.setattr("lit_cnn.inference.explain.attribution.MOST_STEPS", 32)
    monkeypatch.setattr("lit_cnn.inference.explain.attribution.TOLERANCE", 0)
    monkeypatch.setattr("lit_cnn.inference.explain.attribution.LEAST_GAP", -1)
    with pytest.warns(UserWarning, match=r"integrated gradients sum to .*, but the logit differs by .*: 32 steps"):
        explain(by_place, make_images(1, by_place=True, seed=4)[0], "ig")


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was(method: str, by_shape: Trained):
    needs(method)
    network = by_shape.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images, _, _ = make_images(2, by_place=False, seed=5)
    expected = explain(by_shape, images, method).heat
    network.train().requires_grad_(False)
    try:
        with torch.inference_mode():
            heat = explain(by_shape, images, method).heat
        assert network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
    finally:
        network.eval().requires_grad_(True)
    np.testing.assert_allclose(heat, expected, rtol=0, atol=1e-5)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_single_images_give(method: str, by_shape: Trained):
    needs(method)
    images, labels, _ = make_images(3, by_place=False, seed=6)
    together = explain(by_shape, images, method, labels).heat
    alone = [explain(by_shape, images[i : i + 1], method, labels[i : i + 1]).heat[0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=0, atol=1e-4)


def test_the_default_is_exact_where_it_can_be(by_shape: Trained, by_place: Trained):
    images, _, _ = make_images(1, by_place=False, seed=7)
    assert explain(by_shape, images).method == "cam"
    assert explain(by_shape, images, layer="features.1").method == "layercam"
    assert explain(by_place, images).method == "layercam"
    heat = heat_map(by_shape, images[0], target=1)
    assert heat.shape == (SIZE, SIZE)
    assert heat.dtype == np.float32
    np.testing.assert_array_equal(heat, explain(by_shape, images, "cam", torch.tensor([1])).heat[0])


def test_a_layer_before_one_that_works_in_place_is_itself(by_shape: Trained):
    images, _, _ = make_images(1, by_place=False, seed=8)
    before, after = (features(by_shape, images, f"features.{number}").values for number in (0, 1))
    assert before.min() < 0
    np.testing.assert_array_equal(before.clip(min=0), after)


def test_the_strongest_channels_come_first(by_shape: Trained):
    found = features(by_shape, make_images(1, by_place=False, seed=8)[0])
    assert found.layer == "features"
    assert found.values.shape == (1, 12, SIZE // 2, SIZE // 2)
    peaks = found.values[0, found.strongest(0, 5)].max(axis=(1, 2))
    assert len(peaks) == 5
    assert (np.diff(peaks) <= 0).all()
    assert peaks[0] == found.values.max()


def test_what_preprocessing_cuts_off_has_no_heat():
    maps = torch.ones(1, 2, 2)
    placed = place_on_images(maps, Preprocessing(16, (0.5,), (0.5,), resize_size=20), size=20)[0]
    assert (placed[2:18, 2:18] == 1).all()
    assert placed.sum() == 256
    half = place_on_images(maps, Preprocessing(16, (0.5,), (0.5,), resize_size=20), size=40)[0]
    assert half[0].sum() == 0
    assert (half[6:34, 6:34] == 1).all()
    assert place_on_images(maps, Preprocessing(16, (0.5,), (0.5,)), size=28).min() > 0.999


def test_no_pixel_is_left_out_where_the_images_are_smaller_than_what_the_network_sees():
    # One map for each row, along the diagonal.
    placed = place_on_images(torch.diag_embed(torch.eye(28)), Preprocessing(28, (0.5,), (0.5,)), size=8)
    assert placed.shape == (28, 8, 8)
    assert placed.amax(dim=(1, 2)).min() > 0
    for row, one in enumerate(placed):
        cell = int(one.argmax()) // 8
        assert abs((cell + 0.5) * 28 / 8 - (row + 0.5)) <= 28 / 8 / 2


def test_integrated_gradients_on_images_smaller_than_what_the_network_sees():
    pytest.importorskip("captum")
    trained = trained_of("lenet", 28)
    torch.manual_seed(1)
    explanation = explain(trained, torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8), "ig")
    assert explanation.heat.shape == (2, 8, 8)
    assert (explanation.heat.max(axis=(1, 2)) == 1).all()
    means = F.adaptive_avg_pool2d(torch.from_numpy(explanation.values).clamp(min=0), 8).numpy()
    assert rank_correlation(explanation.heat, means) > 0.8


def test_heat_lies_on_the_place_that_it_is_of():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 3] = 1
    placed = place_on_images(maps, Preprocessing(16, (0.5,), (0.5,)), size=32)[0]
    assert placed[:16, 16:].sum() == placed.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lime"}, "method must be one of cam, gradcam, layercam, occlusion, ig, got 'lime'"),
        ({"method": "cam"}, "cam needs a network that ends in an average .* Small does not .*: take gradcam or layercam"),
        ({"method": "occlusion", "layer": "features"}, "occlusion has no choice of layer"),
        ({"layer": "feature.1"}, r"no layer 'feature.1' of Small gives feature maps; did you mean features"),
        ({"layer": "xyz"}, r"no layer 'xyz' of Small gives feature maps; there are features.0, "),
        ({"layer": "head"}, "no layer 'head' of Small gives feature maps"),
        ({"targets": torch.tensor([2])}, r"target must be from 0 to 1, got \[2\]"),
    ],
)
def test_what_does_not_exist_is_refused(by_place: Trained, options: dict[str, object], message: str):
    images, _, _ = make_images(1, by_place=True, seed=9)
    if options.get("method") in CAPTUM:
        pytest.importorskip("captum")
    with pytest.raises(ValueError, match=message):
        explain(by_place, images, **options)


def trained_of(variant: str, size: int) -> Trained:
    """A network that nobody trained, for images of a size."""
    torch.manual_seed(0)
    classifier = lightning_module_of(variant)(num_classes=4, in_channels=3, variant=variant).eval()
    names = ("ant", "bee", "cat", "dog")
    return Trained(classifier, Preprocessing(size, (0.5,) * 3, (0.25,) * 3), names, Reading(size, 3), None, variant)


def test_a_network_without_feature_maps_has_no_places():
    trained = trained_of("mlp", 28)
    images = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    remedy = "take --method occlusion or ig"
    with pytest.raises(ValueError, match=f"MLP has no feature map of several cells: {remedy}"):
        heat_map(trained, images[0])
    with pytest.raises(ValueError, match=f"MLP does not on these images: {remedy}"):
        explain(trained, images, "cam")
    with pytest.raises(ValueError, match=f"MLP has no layer that gives feature maps: {remedy}"):
        features(trained, images, "network")
    with pytest.raises(ValueError, match="MLP has no feature map of several cells"):
        field_of(trained)


def test_cells_that_only_repeat_others_are_not_taken():
    layers = [nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3, stride=2), nn.AdaptiveAvgPool2d(7)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(98, 2))
    found = survey(network, torch.randn(1, 1, 16, 16))
    assert found.outputs["3"].shape == (2, 7, 7)
    assert found.find().name == "1"  # the later one has 3×3 cells
    assert found.find().shape == (2, 7, 7)


def check_sum(trained: Trained, images: torch.Tensor, explanation: Explanation) -> None:
    """Checks that an exact map sums to the logit without its bias."""
    batch = trained.preprocess(images)
    linear = survey(trained.network, batch[:1]).head.linear
    with torch.no_grad():
        logits = trained.network(batch) - (0 if linear is None else linear.bias)
    expected = logits[torch.arange(len(batch)), torch.from_numpy(explanation.targets)].numpy()
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", list_variants())
def test_every_variant_can_be_explained(variant: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("captum")
    # Few passes: networks with random weights need many steps.
    for name, value in {"SQUARES": 2, "STEPS": 8, "TOLERANCE": 1e9}.items():
        monkeypatch.setattr(f"lit_cnn.inference.explain.attribution.{name}", value)
    size = max(describe(variant).min_size, 64) if describe(variant).max_size is None else describe(variant).min_size
    trained = trained_of(variant, size)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    has_maps = variant != "mlp"
    is_exact = has_maps and explain(trained, images).method == "cam"
    methods = [method for method in METHODS if method in CAPTUM or (has_maps and (is_exact or method != "cam"))]
    for method in methods:
        explanation = explain(trained, images, method)
        assert explanation.heat.shape == (2, size, size)
        assert np.isfinite(explanation.heat).all()
        if method == "cam":
            check_sum(trained, images, explanation)
    if has_maps:
        found = features(trained, images)
        assert min(found.values.shape[2:]) > 1
        assert min(field_of(trained).field.size) > 1
