"""Whether weights belong to a network: said in one line, before torch lists every key."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from lit_cnn.classifier import LitClassifier


def compare_arguments(classifier: LitClassifier, class_path: str, arguments: dict[str, Any]) -> None:
    """Refuses weights that may fit by their shapes, but were trained in a network that computes something else.

    Args:
        classifier: What the weights are for.
        class_path: Of the LightningModule that they were trained in.
        arguments: Of that LightningModule.

    Raises:
        ValueError: If an argument differs that matters not in training alone.
    """
    kind = type(classifier)
    if class_path != f"{kind.__module__}.{kind.__qualname__}":
        return  # of another class, whose tensors will tell
    own = signature(kind.__init__).parameters.keys() - {"num_classes", "in_channels", *classifier.training_only}
    for name in sorted(own & classifier.hparams.keys() & arguments.keys()):
        there, here = arguments[name], classifier.hparams[name]
        if there != here:
            _refuse(classifier, class_path, f"{name} is {there} there and {here} here")


def compare_tensors(classifier: LitClassifier, class_path: str, state_dict: dict[str, Any]) -> None:
    """Refuses tensors of other names or shapes.

    Raises:
        ValueError: At the first difference.
    """
    own = classifier.state_dict()
    for name in [*own, *state_dict]:
        if name not in own or name not in state_dict:
            _refuse(classifier, class_path, f"{name} is only {'there' if name in state_dict else 'here'}")
        there, here = tuple(state_dict[name].shape), tuple(own[name].shape)
        if there != here:
            _refuse(classifier, class_path, f"{name} is {there} there and {here} here")


def _refuse(classifier: LitClassifier, class_path: str, what: str) -> NoReturn:
    hparams = classifier.hparams
    arguments = ", ".join(f"{key}={hparams[key]}" for key in ("variant", "num_classes", "in_channels") if key in hparams)
    raise ValueError(
        f"the weights do not fit: they are of {class_path}, not of this {type(classifier).__name__}({arguments}); {what}"
    )
