"""Why a network answers as it does: heat maps, feature maps, receptive fields."""

from lit_cnn.inference.explain.features import Features, LayerField, features, field_of
from lit_cnn.inference.explain.maps import METHODS, Explanation, Method, explain, heat_map

__all__ = [
    "METHODS",
    "Explanation",
    "Features",
    "LayerField",
    "Method",
    "explain",
    "features",
    "field_of",
    "heat_map",
]
