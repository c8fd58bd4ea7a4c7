"""What the server answers: the classes of images, with the pixels and the reading of training."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_cnn.data.library_warnings import recorded_warnings
from lit_cnn.data.opening import despite_metadata, open_image, reason
from lit_cnn.data.reading import MAX_PIXELS
from lit_cnn.export.serve_request import Answer, Question
from lit_cnn.inference.trained import Trained

# Pixels of all images of a request: four of the largest that are read.
MAX_PIXELS_TOGETHER = 4 * MAX_PIXELS


class Answering:
    """Answers the questions of several clients together.

    Args:
        trained: The network.
        batch_size: Images that the network gets at a time.
        threads: Images that are decoded at a time.
        heat_map: How much each pixel speaks for a class, from 0 to 1: :func:`lit_cnn.inference.explain.heat_map`.
    """

    def __init__(
        self, trained: Trained, batch_size: int, threads: int, heat_map: Callable[[Trained, Tensor, int], np.ndarray]
    ) -> None:
        self.trained = trained
        self.batch_size = batch_size
        self.heat_map = heat_map
        self._pool = ThreadPoolExecutor(threads)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The answer to each question. One that cannot be answered changes no other.

        Raises:
            RuntimeError: If the network cannot compute.
        """
        prepared = self._prepare(questions)
        images = [image for of_question in prepared if isinstance(of_question, list) for image in of_question]
        probabilities = iter(self._probabilities(images))
        return [
            of_question if isinstance(of_question, Answer) else self._answer(question, of_question, probabilities)
            for question, of_question in zip(questions, prepared, strict=True)
        ]

    def _prepare(self, questions: Sequence[Question]) -> list[list[Tensor] | Answer]:
        """The pixels of each question's images, or why it is refused."""
        refusals = [_refuse_pixels(question) for question in questions]
        pairs = list(zip(questions, refusals, strict=True))
        files = [file for question, refusal in pairs if refusal is None for file in question.images]
        decoded = iter(list(self._pool.map(self._decode, files)))
        return [
            refusal or _all_or_refusal(question, [next(decoded) for _ in question.images]) for question, refusal in pairs
        ]

    def _decode(self, file: bytes) -> Tensor | Exception:
        """Pixels (channels, native_size, native_size), or why there are none."""
        try:
            return self.trained.reading.decode(io.BytesIO(file))[0]
        except Exception as error:  # Pillow's decoders raise errors of many classes
            return error

    def _probabilities(self, images: list[Tensor]) -> list[np.ndarray]:
        # A list: a generator would leave inference mode on while heat maps, which need gradients, are computed.
        probabilities: list[np.ndarray] = []
        for start in range(0, len(images), self.batch_size):
            batch = torch.stack(images[start : start + self.batch_size])
            with torch.inference_mode():
                logits = self.trained.classifier(self.trained.preprocess(batch))
                probabilities.extend(logits.float().softmax(dim=1).numpy(force=True))
        return probabilities

    def _answer(self, question: Question, pixels: list[Tensor], probabilities: Iterator[np.ndarray]) -> Answer:
        answers = [self._describe(question, image, next(probabilities)) for image in pixels]
        if not all(np.isfinite(answer["probability"]) for answer in answers):
            return Answer({"error": "the network computes no finite numbers for this image"}, 500)
        return Answer(answers[0] if question.is_single else answers)

    def _describe(self, question: Question, pixels: Tensor, probabilities: np.ndarray) -> dict[str, Any]:
        order = np.argsort(-probabilities, kind="stable")[: question.top]
        top = [[self.trained.class_names[label], float(probabilities[label])] for label in order]
        answer: dict[str, Any] = {"class": top[0][0], "probability": top[0][1], "top": top}
        if question.heat_map:
            answer["pixels"] = _png(pixels.permute(1, 2, 0).squeeze(-1).numpy())
            try:
                heat = self.heat_map(self.trained, pixels, int(order[0]))
                answer["heat_map"] = _png((255 * heat).round().astype(np.uint8))
            # ValueError: a network without feature maps has none. RuntimeError of torch, MemoryError, or a fault of the
            # method: the classes are known, and other clients wait.
            except Exception as error:
                answer |= {"heat_map": None, "no_heat_map": reason(error)}
        return answer


def _all_or_refusal(question: Question, decoded: list[Tensor | Exception]) -> list[Tensor] | Answer:
    images: list[Tensor] = []
    for number, image in enumerate(decoded):
        name = "the image" if question.is_single else f"images[{number}]"
        if isinstance(image, MemoryError):
            return Answer({"error": f"the server has too little memory to decode {name}: try again later"}, 503)
        if isinstance(image, Exception):
            return Answer({"error": f"{name} cannot be decoded as an image ({reason(image)})"}, 422)
        images.append(image)
    return images


def _refuse_pixels(question: Question) -> Answer | None:
    """Why a question is refused before anything is decoded. A single image has the limit of training alone."""
    if len(question.images) == 1:
        return None
    num_pixels = sum(map(_num_pixels, question.images))
    if num_pixels <= MAX_PIXELS_TOGETHER:
        return None
    error = f"the images have {num_pixels:,} pixels together, more than {MAX_PIXELS_TOGETHER:,}: send fewer at a time"
    return Answer({"error": error}, 413)


def _num_pixels(file: bytes) -> int:
    """Pixels of an image according to its header; 0 if it has none."""
    try:
        with recorded_warnings():
            return despite_metadata(_size_of, io.BytesIO(file))
    except Exception:  # of many classes, as above; decoding tells the client which
        return 0


def _size_of(file: Path | IO[bytes]) -> int:
    with open_image(file) as image:
        return image.width * image.height


def _png(pixels: np.ndarray) -> str:
    """uint8 pixels (H, W) or (H, W, 3) as a PNG file in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
