"""Train, compare and hand over classic convolutional networks with PyTorch Lightning.

``from lit_cnn import LitGoogLeNet, FashionMNIST``: models and datasets are imported when they are first asked for.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name[0].isupper():  # else a module of this package, which Python looks for next
        import importlib

        for package in ("lit_cnn.models", "lit_cnn.data"):
            module = importlib.import_module(package)
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
