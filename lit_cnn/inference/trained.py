"""A trained network with everything that it needs to classify new images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.batches import BadImage, without_bad
from lit_cnn.inference.calibrated import calibrate_batches, confidence_of_checkpoint
from lit_cnn.inference.confidence import Confidence
from lit_cnn.inference.embed import embed
from lit_cnn.inference.inputs import GivenFiles, GivenImages, OneImage
from lit_cnn.inference.predict import Prediction, predict
from lit_cnn.network.tta import Tta, pixel_of, read_tta
from lit_cnn.training.classifier import LitClassifier

OnBadImage: TypeAlias = Literal["error", "skip"]


@dataclass(frozen=True, repr=False)
class Trained:
    """A trained classifier with everything that it needs to classify new images.

    Args:
        classifier: In evaluation mode.
        preprocessing: From uint8 images of the reading's size to the network's input.
        class_names: Name of each output.
        reading: How a file becomes pixels, as in training.
        dataset: Name of the training images; None if it is not known.
        source: The checkpoint file, or the name of torchvision's weights.
        mirrored: Whether training mirrored images; None if it is not known.
    """

    classifier: LitClassifier
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    reading: Reading
    dataset: str | None
    source: str
    mirrored: bool | None = None

    @property
    def variant(self) -> str:
        """Name of the network, for example ``resnet18``; its class if it is not of the catalogue."""
        return self.classifier.hparams.get("variant") or type(self.network).__name__

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.reading.channels

    @property
    def native_size(self) -> int:
        """Height and width at which files are decoded, in pixels."""
        return self.reading.image_size

    @property
    def network(self) -> nn.Module:
        """The network alone: images from :meth:`preprocess` in, logits (N, num_classes) out."""
        return self.classifier.network

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self.classifier.device

    def to(self, device: str | torch.device) -> Trained:
        """Moves the network to another device, in place."""
        self.classifier.to(device)
        return self

    def preprocess(self, images: Tensor) -> Tensor:
        """Resizes and normalises a batch as in training, on the network's device.

        Shape:
            Input uint8 (N, channels, H, W); output float32 (N, channels, image_size, image_size).
        """
        return self.preprocessing(images.to(self.device))

    @overload
    def predict(
        self,
        images: Image.Image,
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
        tta: Tta | bool | None = None,
        calibrated: bool = False,
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        images: list[OneImage] | tuple[OneImage, ...],
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
        tta: Tta | bool | None = None,
        calibrated: bool = False,
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        images: OneImage,
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
        tta: Tta | bool | None = None,
        calibrated: bool = False,
    ) -> Any: ...
    def predict(
        self,
        images: Any,
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
        tta: Tta | bool | None = None,
        calibrated: bool = False,
    ) -> Any:
        """Classifies images: one image gives one prediction, many give a list in the same order.

        Every image passes through the steps of training: orientation from EXIF, :attr:`reading`, normalisation.
        Large JPEG files are decoded at a reduced scale, as in training; an array of all their pixels differs slightly.
        The batch size changes probabilities by rounding alone, on a CPU by less than 1e-6.

        Args:
            images: A file (str or Path), a PIL image, an array (H, W) or (H, W, C), or a tensor (C, H, W), both uint8;
                grey arrays may be uint16. Many images are a list or tuple of these, an array (N, H, W, C), a tensor
                (N, C, H, W), a table (CSV or Parquet) with a column ``path``, or a folder, which stands for all images
                below it. A PIL image of 16 bits a colour has lost its low bytes when its pixels were loaded: give its file.
            batch_size: Images at a time.
            on_bad_image: With ``skip``, files that cannot be decoded are left out with a warning; ``file`` of each
                prediction is its image.
            tta: Test-time augmentation: each probability is the mean over views of the image. ``flip`` is the image and its
                mirror image, in twice the time: it helps where both have the same class, as with most photos. ``shifts``
                is the image and its eight shifts by one pixel, in nine times the time. True is ``flip``.
            calibrated: Whether probabilities are those at the temperature of the run, see
                :class:`lit_cnn.inference.confidence.Confidence`, and ``likely`` of each is its prediction set at 90 %.

        Raises:
            ValueError: If something else is given, or a file cannot be decoded; names it. Also if none of them can.
        """
        tta = read_tta(tta)
        if tta and calibrated:
            raise ValueError("calibration was measured without test-time augmentation: leave out tta or calibrated")
        confidence = confidence_of_checkpoint(self.source) if calibrated else None
        given = self._given(images, on_bad_image)
        batches = self.predict_batches(given, batch_size, tta, confidence=confidence)
        predictions = without_bad(batches, len(given))
        return predictions[0] if given.is_single else predictions

    def predict_each(
        self, images: GivenImages | GivenFiles, batch_size: int = 64, tta: Tta | None = None
    ) -> Iterator[Prediction]:
        """Predictions one after another, as they are computed, without those of files that cannot be decoded."""
        for batch in self.predict_batches(images, batch_size, tta):
            yield from (prediction for _, prediction in batch if isinstance(prediction, Prediction))

    def predict_batches(
        self,
        images: GivenImages | GivenFiles,
        batch_size: int = 64,
        tta: Tta | None = None,
        num_workers: int | None = None,
        confidence: Confidence | None = None,
    ) -> Iterator[list[tuple[Any, Prediction | BadImage]]]:
        """Classifies images one batch after another, see :func:`lit_cnn.inference.predict.predict`.

        No more than a few batches are in memory, however many images there are. With a confidence, they are calibrated.
        """
        pixel = pixel_of(self.preprocessing.image_size, self.native_size)
        batches = predict(self.classifier, self.preprocess, self.class_names, images, batch_size, tta, num_workers, pixel)
        return calibrate_batches(batches, confidence) if confidence else batches

    def embed(self, images: Any, batch_size: int = 64, on_bad_image: OnBadImage = "error") -> np.ndarray:
        """Features of images: what the network computes before the layer that outputs the classes.

        >>> features = load_run("runs/photos/resnet18/20260101-120000-1a2b").embed("photos/")  # doctest: +SKIP
        >>> features.shape  # doctest: +SKIP
        (500, 512)

        Args:
            images: As of :meth:`predict`.
            batch_size: Images at a time.
            on_bad_image: As of :meth:`predict`. Rows of skipped files are missing.

        Returns:
            Array float32 (N, D), also for one image. D is the number of inputs of the last layer. If that is a convolution,
            as in NiN, features are means over all positions.

        Raises:
            ValueError: As :meth:`predict`.
        """
        given = self._given(images, on_bad_image)
        return np.stack(without_bad(self.embed_batches(given, batch_size), len(given)))

    def embed_batches(
        self, images: GivenImages | GivenFiles, batch_size: int = 64, num_workers: int | None = None
    ) -> Iterator[list[tuple[Any, np.ndarray | BadImage]]]:
        """Features of one batch after another, see :func:`lit_cnn.inference.embed.embed`."""
        return embed(self.network, self.preprocess, images, batch_size, num_workers)

    def _given(self, images: Any, on_bad_image: OnBadImage) -> GivenImages:
        if on_bad_image not in get_args(OnBadImage):
            raise ValueError(f"on_bad_image must be error or skip, got {on_bad_image!r}")
        return GivenImages(images, self.reading, skip_bad=on_bad_image == "skip")

    def __repr__(self) -> str:
        dataset = f" trained on {self.dataset}" if self.dataset else ""
        names = ", ".join((*self.class_names[:3], "…") if len(self.class_names) > 10 else self.class_names)
        return f"Trained({self.variant}{dataset}, {len(self.class_names)} classes: {names}; {self.source}, on {self.device})"
