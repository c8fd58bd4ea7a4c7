"""``lit-cnn doctor --overfit``: whether a network can learn a few images by heart."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data import ImageDataModule
from lit_cnn.data.finding import Finding
from lit_cnn.data.splits import Images
from lit_cnn.network.base import evaluating
from lit_cnn.network.signs import gradient_rms, measure_forward
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.start_faults import find_dead_layers, find_gradient_fault

NUM_IMAGES = 20
GOAL = 0.01  # loss below which the images are known by heart
MAX_STEPS = 2000
MAX_SECONDS = 55.0  # with the search for the reason, at most a minute
# A loss that falls by less than this share over the second half of the steps does not fall any more.
STILL_FALLING = 0.1
# Last losses whose median counts: with dropout, single ones jump.
NUM_LAST = 10


def check_overfit(classifier: LitClassifier, data: ImageDataModule, lr: float, device: torch.device) -> Finding:
    """Trains a network on a few images without augmentation until the loss is below 0.01, or finds out why it is not.

    Dropout and BatchNorm are as in training. Each step of SGD (Nesterov momentum 0.9, constant rate) sees all images.

    Args:
        classifier: An untrained network; it is trained.
        data: After its ``setup("fit")``.
        lr: Learning rate.
        device: Where to train.

    Returns:
        An error if the loss stays above, with the reason.
    """
    train = data.splits["train"]
    positions = choose_images(train.labels)
    labels = train.labels[positions].to(device)
    if len(labels.unique()) < 2:
        text = f"the {len(labels)} images have one class: any network learns that; it means nothing"
        return Finding("warning", "overfit", text, {"images": len(labels)})
    images = data.preprocessing(train.fetch(positions).to(device)).to(classifier.dtype)
    if contradiction := find_contradiction(images, labels, positions, train, data.class_names):
        return Finding("error", "overfit", contradiction, {"images": len(labels)})
    classifier.to(device).train()
    losses, seconds = _train(classifier, images, labels, lr)
    last = losses[-1] if math.isfinite(losses[-1]) else None
    details = {"images": len(labels), "steps": len(losses), "seconds": round(seconds, 1), "loss": last, "lr": lr}
    done = f"the loss is {losses[-1]:.3g} on {len(labels)} images after {len(losses):,} steps ({seconds:.1f} s, --lr {lr:g})"
    if losses[-1] < GOAL:
        return Finding("ok", "overfit", done, details)
    with evaluating(classifier), torch.no_grad():
        quiet = float(F.cross_entropy(classifier(images).float(), labels))
    if quiet < GOAL:
        reason = f"dropout or BatchNorm alone keeps it up: in evaluation it is {quiet:.2g}"
        return Finding("warning", "overfit", f"{done}; {reason}", details)
    reason = _find_reason(classifier, images, losses, lr)
    return Finding("error", "overfit", f"{done}, not below {GOAL:g}: {reason}", details)


def choose_images(labels: Tensor, num_images: int = NUM_IMAGES) -> Tensor:
    """Positions of the first images of each class, as many of each as possible; all if there are fewer images."""
    by_class = [torch.nonzero(labels == label).flatten().tolist() for label in labels.unique().tolist()]
    turns = [(turn, position) for positions in by_class for turn, position in enumerate(positions[:num_images])]
    return torch.tensor(sorted(position for _, position in sorted(turns)[:num_images]))


def find_contradiction(
    images: Tensor, labels: Tensor, positions: Tensor, train: Images, class_names: Sequence[str]
) -> str | None:
    """Equal images of different classes, which no network can tell apart; None if there are none."""
    first: dict[bytes, int] = {}
    for index, image in enumerate(images.cpu()):
        other = first.setdefault(image.contiguous().numpy().tobytes(), index)
        if labels[index] != labels[other]:
            names = [f"{train.name(int(positions[i]))} ({class_names[int(labels[i])]})" for i in (other, index)]
            return f"{' and '.join(names)} are the same image with different labels: correct one of them"
    return None


def _train(classifier: LitClassifier, images: Tensor, labels: Tensor, lr: float) -> tuple[list[float], float]:
    """Losses of the steps, the last of which is below the goal or not finite, or ends the time; and the seconds."""
    parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True)
    losses: list[float] = []
    began = time.monotonic()
    while True:
        optimizer.zero_grad()
        logits, loss = classifier.training_loss(images.to(memory_format=torch.channels_last), labels)
        # Without the losses of auxiliary heads.
        losses.append(float(F.cross_entropy(logits.detach().float(), labels)))
        loss.backward()
        seconds = time.monotonic() - began
        ended = len(losses) == MAX_STEPS or seconds > MAX_SECONDS
        if losses[-1] < GOAL or not math.isfinite(losses[-1]) or ended:
            return losses, seconds
        optimizer.step()


def _find_reason(classifier: LitClassifier, images: Tensor, losses: Sequence[float], lr: float) -> str:
    if not math.isfinite(losses[-1]):
        return f"the numbers grew beyond all bounds; try --lr {lr / 10:g}"
    if losses[-1] > losses[0]:
        return f"it has risen from {losses[0]:.3g}; try --lr {lr / 10:g}"
    network = classifier.network
    _, statistics = measure_forward(network, images)
    # Dead units first: they are one reason why a gradient vanishes.
    fault = find_dead_layers(statistics) or find_gradient_fault(network, statistics, gradient_rms(network))
    return fault or describe_course(losses, lr)


def describe_course(losses: Sequence[float], lr: float) -> str:
    """What the course of a loss says of the learning rate."""
    still_falls = f"it still falls; try --lr {lr * 3:g}, smaller images or a smaller network"
    if len(losses) < NUM_LAST:
        return still_falls
    before, last = _median(losses[: len(losses) // 2][-NUM_LAST:]), _median(losses[-NUM_LAST:])
    if last < (1 - STILL_FALLING) * before:
        return still_falls
    return f"it does not fall any more; try --lr {lr * 10:g} and --lr {lr / 10:g}"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
