"""Where the weights of a network come from, and whether data are those that they were trained on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl

from lit_cnn.data.manifest import FILE_NAME, beside
from lit_cnn.runs.format import CHECKPOINT_KEY, RUN_KEY, format_entries
from lit_cnn.runs.search import run_of_checkpoint
from lit_cnn.system.paths import quoted
from lit_cnn.system.text import told_apart


@dataclass(frozen=True)
class Origin:
    """The checkpoint that a network's weights were read from.

    Args:
        path: The file; None if it is not known.
        run: Identity of the run that saved it; None if it does not say.
        epoch: Epoch in which it was saved.
        step: Number of steps of the optimiser after which it was saved.
        dataset: Name of the data that the network was trained on; None if it does not say.
        data_key: Name of the class of these data; None if it does not say.
        data: What the checkpoint holds of these data.
    """

    path: str | None
    run: str | None
    epoch: int | None
    step: int | None
    dataset: str | None
    data_key: str | None
    data: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, checkpoint: dict[str, Any], path: Any = None) -> Origin:
        """The origin of the weights in the content of a checkpoint file."""
        about = checkpoint.get(CHECKPOINT_KEY, {})
        key = about.get("data_key")
        data = checkpoint.get(key) or {}
        return cls(
            str(path) if path else None,
            checkpoint.get(RUN_KEY),
            checkpoint.get("epoch"),
            checkpoint.get("global_step"),
            data.get("dataset") or about.get("data_name") or key,
            key,
            data,
        )

    @classmethod
    def of_training(cls, classifier: pl.LightningModule) -> Origin:
        """The origin of weights that were trained in this process with a data module, whichever files hold them too."""
        about = describe_classifier(classifier)
        state = classifier.trainer.datamodule.state_dict()
        return replace(cls.of({CHECKPOINT_KEY: about, about["data_key"]: state}), step=classifier.trainer.global_step)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation by channel, with which the network was trained; None if the data do not say."""
        if not {"image_size", "mean", "std"} <= self.data.keys():
            return None
        return tuple(self.data["mean"]), tuple(self.data["std"])

    def is_of_other(self, data: Any, with_digest: bool = True) -> bool:
        """Whether data are not those that the network was trained on, as far as that is known.

        Data are the same if their training and validation images are, else if they have the same name.

        Args:
            data: A data module.
            with_digest: Whether to compare the images where that needs them read. The manifest of files names them anyway.
        """
        if self.dataset is None or data is None:
            return False
        if getattr(data, "is_other_data", False):
            return True
        if getattr(data, "is_pinned", False):
            return False  # to the images of the run, some of which may be gone
        saved = self.data.get("digest")
        digest = getattr(data, "digest", None) if saved and (with_digest or hasattr(type(data), "manifest")) else None
        return digest != saved if saved and digest else name_of(data) != self.dataset

    def check(self, data: Any, stage: str, with_digest: bool | None = None) -> None:
        """Refuses data that do not go with the network, and shows it others as those that it was trained on.

        A size of the images that the data were made with stays.

        Args:
            data: A data module; None if it is not known.
            stage: ``fit`` resumes the training; ``validate``, ``test`` or ``predict``.
            with_digest: See :meth:`is_of_other`; where the training images are read anyway, if not given.

        Raises:
            ValueError: If a training would be resumed on other data, or an evaluation has other classes.
        """
        if with_digest is None:
            with_digest = stage in ("fit", "validate")
        if data is None:
            return
        if not self.is_of_other(data, with_digest):
            if stage != "fit" and self.data and hasattr(data, "see_as"):
                data.see_as(data.image_size, self.data.get("frame", 1.0))
            return
        if stage == "fit":
            self._refuse_training(data)
        if stage != "predict":
            self._check_classes(data)
        if self.normalisation and hasattr(data, "normalise_with"):
            wanted = getattr(data, "hparams", {}).get("image_size")
            data.see_as(wanted or self.data["image_size"], self.data.get("frame", 1.0))
            data.normalise_with(self.normalisation)

    def _refuse_training(self, data: Any) -> NoReturn:
        raise ValueError(
            f"a training on {self.dataset} cannot be resumed on {self._other(data)}: "
            f"start a new run from its weights (--model.weights {quoted(self.path or 'RUN')})"
        )

    def _check_classes(self, data: Any) -> None:
        trained, given = self.data.get("class_names"), getattr(data, "class_names", None)
        if trained is None or given is None or list(trained) == list(given):
            return
        if len(trained) != len(given):
            difference = f"{self.dataset} has {len(trained)} classes, {name_of(data)} has {len(given)}"
        else:
            number = next(i for i, (one, other) in enumerate(zip(trained, given, strict=True)) if one != other)
            one, other = told_apart(trained[number], given[number])
            difference = f"class {number} is {one} in {self.dataset} and {other} in {name_of(data)}"
        raise ValueError(
            f"a network trained on {self.dataset} cannot be evaluated on {name_of(data)}, whose classes differ: {difference}"
        )

    def describe_evaluation(self, data: Any, subject: Any = "the network") -> str | None:
        """What sets an evaluation apart from that of a run on its own images, for a user; None if nothing does.

        Args:
            data: The data module that is evaluated on.
            subject: Name of the network or its run.
        """
        size, trained_size = getattr(data, "image_size", None), self.data.get("image_size")
        has_other_size = size and trained_size and size != trained_size
        if self.is_of_other(data, with_digest=False):
            trained, given = self.dataset, self._other(data)
            if has_other_size:
                trained, given = f"{trained} at {trained_size}×{trained_size}", f"{given} at {size}×{size}"
            return f"cross-dataset evaluation: {subject} was trained on {trained}, evaluated on {given}"
        if has_other_size:
            return f"{subject} was trained on images of {trained_size}×{trained_size}, evaluated on {size}×{size}"
        return None

    def _other(self, data: Any) -> str:
        name = name_of(data)
        return f"other images of {name}" if name == self.dataset else str(name)


def describe_classifier(classifier: pl.LightningModule) -> dict[str, Any]:
    """What a checkpoint says of the network and of its data, for :class:`Origin` and for comparisons."""
    cls, data = type(classifier), classifier.trainer.datamodule
    return {
        **format_entries(),
        "class_path": f"{cls.__module__}.{cls.__qualname__}",
        "started_from": classifier.hparams["weights"],
        # Lightning stores the state of the data module under this key.
        "data_key": type(data).__qualname__ if data is not None else None,
        "data_name": name_of(data),
    }


def follow_run(data: Any, checkpoint: str | Path | None) -> None:
    """Uses the images and the splits of the run that saved a copied checkpoint; beside others, the data find them."""
    if checkpoint and hasattr(data, "set_up_for_run") and beside(checkpoint) is None:
        run = run_of_checkpoint(checkpoint)
        if run and (run.path / FILE_NAME).is_file():
            data.set_up_for_run(run.path / FILE_NAME)


def name_of(data: Any) -> str | None:
    """Name of a dataset; that of the class for data modules without names; None for loaders without a data module."""
    return None if data is None else getattr(data, "name", None) or type(data).__qualname__


def variant_of(classifier: pl.LightningModule) -> str:
    """Name of a network; that of the class for a user's own without variants."""
    return classifier.hparams.get("variant", type(classifier).__name__)


def data_of(trainer: pl.Trainer) -> pl.LightningDataModule | None:
    """The data module that the current batches come from; None for loaders that were passed without it.

    ``trainer.datamodule`` stays that of an earlier call.
    """
    return trainer._data_connector._datahook_selector.datamodule
