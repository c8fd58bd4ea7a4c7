"""Datasets of labelled images, one LightningDataModule each.

They are imported when one of them is first asked for: :mod:`lit_cnn.data.names` needs no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_cnn.data.cifar import CIFAR10, CIFAR100
    from lit_cnn.data.digits import Digits
    from lit_cnn.data.fake import FakeImages
    from lit_cnn.data.folder import ImageFolder
    from lit_cnn.data.mnist import MNIST, FashionMNIST
    from lit_cnn.data.module import ImageDataModule
    from lit_cnn.data.table import ImageTable

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Digits",
    "FakeImages",
    "FashionMNIST",
    "ImageDataModule",
    "ImageFolder",
    "ImageTable",
]
_MODULES = ("cifar", "digits", "fake", "folder", "mnist", "module", "table")


if not TYPE_CHECKING:  # so that a type checker finds misspelt names

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        # All of them: the command line finds datasets by the subclasses of ImageDataModule.
        for module in _MODULES:
            found = vars(importlib.import_module(f"{__name__}.{module}"))
            globals().update({cls: found[cls] for cls in __all__ if cls in found})
        return globals()[name]
