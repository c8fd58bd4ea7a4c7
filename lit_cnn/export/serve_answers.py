"""What the server answers: the classes of images, with the pixels and the reading of training."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_cnn.data.opening import reason
from lit_cnn.export.serve_request import Answer, Question
from lit_cnn.inference.trained import Trained


class Answering:
    """Answers the questions of several clients together.

    Args:
        trained: The network.
        batch_size: Images that the network gets at a time.
        threads: Images that are decoded at a time.
        heat_map: Which places of an image speak for a class, from 0 to 1: :func:`lit_cnn.inference.explain.heat_map`.
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
        files = [file for question in questions for file in question.images]
        decoded = iter(list(self._pool.map(self._decode, files)))
        pixels = [[next(decoded) for _ in question.images] for question in questions]
        good = [image for images in pixels if all(isinstance(one, Tensor) for one in images) for image in images]
        probabilities = iter(self._probabilities(good))
        return [self._answer(*pair, probabilities) for pair in zip(questions, pixels, strict=True)]

    def _decode(self, file: bytes) -> Tensor | str:
        """Pixels (channels, native_size, native_size), or why there are none."""
        try:
            return self.trained.reading.decode(io.BytesIO(file))[0]
        except Exception as error:  # Pillow's decoders raise errors of many classes
            return reason(error)

    def _probabilities(self, images: list[Tensor]) -> Iterable[np.ndarray]:
        for start in range(0, len(images), self.batch_size):
            batch = torch.stack(images[start : start + self.batch_size])
            with torch.inference_mode():
                logits = self.trained.classifier(self.trained.preprocess(batch))
                yield from logits.float().softmax(dim=1).numpy(force=True)

    def _answer(self, question: Question, pixels: list[Tensor | str], probabilities: Iterable[np.ndarray]) -> Answer:
        for number, image in enumerate(pixels):
            if isinstance(image, str):
                name = "the image" if question.is_single else f"images[{number}]"
                return Answer({"error": f"{name} cannot be decoded as an image ({image})"}, 422)
        answers = [self._describe(question, image, next(iter(probabilities))) for image in pixels]
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
                places = self.heat_map(self.trained, pixels, int(order[0]))
                answer["heat_map"] = _png((255 * places).round().astype(np.uint8))
            # A network without feature maps has none, and a fault here must not fail the whole batch.
            except (ValueError, RuntimeError) as error:
                answer |= {"heat_map": None, "no_heat_map": reason(error)}
        return answer


def _png(pixels: np.ndarray) -> str:
    """uint8 pixels (H, W) or (H, W, 3) as a PNG file in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
