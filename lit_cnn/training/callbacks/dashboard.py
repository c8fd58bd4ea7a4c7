"""What TensorBoard shows besides the metrics: graph, images, weights, hyper-parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from lit_cnn.data.augment import Augmentation
from lit_cnn.data.loader import Batch
from lit_cnn.network.base import evaluating
from lit_cnn.system.text import printable
from lit_cnn.training.class_scores import names_of_classes
from lit_cnn.training.figures import draw_confusion, draw_filters, draw_seen, draw_worst
from lit_cnn.training.metrics import is_log_step
from lit_cnn.training.optimizer import rate_of
from lit_cnn.training.run_logger import RunLogger

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Metrics that the HParams tab shows beside the hyper-parameters.
SCORES = ("test/acc", "val/acc", "val/loss", "train/images_per_s")
NOTHING = Augmentation()  # changes no image
NUM_AUGMENTED = 8  # images that are drawn before and after augmentation


class Dashboard(Callback):
    """Draws a run for TensorBoard, with a :class:`RunLogger`.

    - Every ``trainer.log_every_n_steps`` steps: learning rate and gradient norm (L2, before clipping).
    - Once: the graph, the hyper-parameters, a training batch as the network sees it, and, with augmentation, some of its
      images beside what is stored.
    - About ``num_pictures`` times: the confusion matrix, the validation images with the highest loss, the filters of the
      first convolution, histograms of the weights of some layers.

    The logger draws training and validation in the same charts. What cannot be drawn does not end a training.

    Args:
        num_pictures: Number of drawings over ``max_epochs``, with the first and the last epoch.
        num_worst: Number of validation images with the highest loss.
        num_layers: Number of layers with histograms of their weights, from the first to the last.
    """

    def __init__(self, num_pictures: int = 4, num_worst: int = 16, num_layers: int = 5) -> None:
        self.num_pictures = num_pictures
        self.num_worst = num_worst
        self.num_layers = num_layers
        self._confusion: MulticlassConfusionMatrix | None = None
        self._worst: list[Tensor] = []

    # Once a run

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with _drawing(trainer) as writer:
            if writer is not None:
                _add_hyper_parameters(writer, trainer, pl_module)
                _add_graph(writer, trainer, pl_module)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx or trainer.current_epoch:
            return
        with _drawing(trainer) as writer:
            preprocessing = getattr(trainer.datamodule, "preprocessing", None)
            if writer is not None and preprocessing is not None:
                from torchvision.utils import make_grid

                images = preprocessing.to_display(batch[0][:64]).float()
                writer.add_image("pictures/training_batch", make_grid(images, nrow=8))
                if isinstance(batch, Batch) and getattr(trainer.datamodule, "augmentation", NOTHING) != NOTHING:
                    data = trainer.datamodule
                    stored = data.splits["train"].fetch(batch.positions[:NUM_AUGMENTED].cpu())
                    picture = draw_seen(data, stored, batch, NUM_AUGMENTED)
                    writer.add_image("data/augmented", picture, dataformats="HWC")

    # Every log_every_n_steps

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if is_log_step(trainer):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            pl_module.log("train/gradient_norm", nn.utils.get_total_norm(gradients))
            pl_module.log("train/lr", rate_of(pl_module, optimizer))

    # A few times a run

    def _should_draw(self, trainer: pl.Trainer) -> bool:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(trainer.logger, RunLogger):
            return False
        epochs = trainer.max_epochs or 0
        # Without a limit of epochs, every tenth is drawn.
        every = max(1, math.ceil((epochs - 1) / max(1, self.num_pictures - 1))) if epochs > 0 else 10
        return trainer.current_epoch % every == 0 or trainer.current_epoch == epochs - 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._confusion, self._worst = None, []
        if self._should_draw(trainer):
            self._confusion = MulticlassConfusionMatrix(pl_module.num_classes, validate_args=False).to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._confusion is None:
            return
        if batch_idx == dataloader_idx == 0:  # at the end of the epoch, averaged weights have been put away
            with _drawing(trainer) as writer:
                if writer is not None:
                    self._draw_network(writer, pl_module.network, trainer.global_step)
        logits, labels = outputs.detach(), batch[1]
        self._confusion.update(logits, labels)
        if isinstance(batch, Batch):
            self._worst.append(self._keep_worst(_summarise(logits, labels, batch[2])))

    def _keep_worst(self, rows: Tensor) -> Tensor:
        return rows[rows[:, 0].topk(min(self.num_worst, len(rows))).indices]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._confusion is None:
            return
        # All processes call these two, which gather from all of them.
        confusion = self._confusion.compute().cpu()
        worst = self._gather_worst() if self._worst else None
        names = names_of_classes(trainer.datamodule, pl_module.num_classes)
        step = trainer.global_step
        with _drawing(trainer) as writer:
            if writer is not None:
                writer.add_image(
                    "pictures/confusion_matrix", draw_confusion(confusion.numpy(), names), step, dataformats="HWC"
                )
        with _drawing(trainer) as writer:
            if writer is not None and worst is not None:
                pictures = draw_worst(worst, trainer.datamodule.splits["val"], names)
                writer.add_image("pictures/highest_loss", pictures, step, dataformats="HWC")

    def _draw_network(self, writer: SummaryWriter, network: nn.Module, step: int) -> None:
        filters = draw_filters(network)
        if filters is not None:
            writer.add_image("pictures/first_layer_filters", filters, step, dataformats="HWC")
        weights = [(name, parameter) for name, parameter in network.named_parameters() if parameter.ndim > 1]
        for number in np.unique(np.linspace(0, len(weights) - 1, min(self.num_layers, len(weights))).round().astype(int)):
            name, parameter = weights[number]
            writer.add_histogram(f"weights/{name}", parameter.detach().float(), step)

    def _gather_worst(self) -> Tensor:
        rows = torch.cat(self._worst)
        if torch.distributed.is_initialized():
            gathered: list[Tensor] = [rows] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, rows)
            rows = torch.cat(gathered)
        return self._keep_worst(rows)


@contextmanager
def _drawing(trainer: pl.Trainer) -> Iterator[SummaryWriter | None]:
    """The writer of the first process, within a context in which errors become a warning; None if nothing is drawn."""
    logger = trainer.logger
    if not (trainer.is_global_zero and isinstance(logger, RunLogger)):
        yield None
        return
    with logger.tolerating():
        yield logger.writer


def _add_graph(writer: SummaryWriter, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    size = getattr(trainer.datamodule, "image_size", None)
    if size is None:
        return
    network = pl_module.network
    images = torch.zeros(1, pl_module.in_channels, size, size, device=pl_module.device, dtype=pl_module.dtype)
    with evaluating(network), warnings.catch_warnings():
        # TensorBoard draws graphs with torch.jit.trace, which torch deprecates; there is no other way.
        warnings.filterwarnings("ignore", r"`torch\.jit\.trace(_method)?` is deprecated\. ", FutureWarning)
        # A network may decide by the size of its images, which is the same in all graphs of a run.
        is_constant = r"Converting a tensor to a Python boolean might cause the trace to be incorrect\. "
        warnings.filterwarnings("ignore", is_constant, torch.jit.TracerWarning)
        writer.add_graph(network, images)


def _add_hyper_parameters(writer: SummaryWriter, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    from torch.utils.tensorboard.summary import hparams

    values: dict[str, Any] = {"model": type(pl_module).__name__, "precision": str(trainer.precision)}
    values |= dict(pl_module.hparams)
    if trainer.datamodule is not None:
        without_effect = ("data_dir", "num_workers", "memory_gb", "cache_dir")  # on the result
        data_hparams = trainer.datamodule.hparams.items()
        values |= {f"data/{key}": value for key, value in data_hparams if key not in without_effect}
        values |= {"data": type(trainer.datamodule).__name__, "data/seed": getattr(trainer.datamodule, "seed", None)}
    values["max_epochs"] = trainer.max_epochs
    shown = {
        key: value if isinstance(value, bool | int | float) else printable(str(value))
        for key, value in values.items()
        if value is not None
    }
    # The values of the scores are the scalars of the same names, which are logged during the run.
    for summary in hparams(shown, dict.fromkeys(SCORES, 0)):
        writer.file_writer.add_summary(summary)


def _summarise(logits: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """Rows of loss, label, prediction, probability of the prediction, position: (N, 5), on the CPU."""
    loss = F.cross_entropy(logits, labels, reduction="none")
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    # On the CPU as doubles, which hold each position exactly and which some accelerators lack.
    return torch.stack([column.cpu().double() for column in (loss, labels, predicted, confidence, positions)], dim=1)
