"""What TensorBoard shows besides the metrics: graph, images, weights, hyper-parameters."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from lit_cnn.network.base import evaluating
from lit_cnn.training.metrics import is_log_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

# Metrics that the HParams tab shows beside the hyper-parameters.
SCORES = ("test/acc", "val/acc", "val/loss", "train/images_per_s")


class RunLogger(TensorBoardLogger):
    """Writes TensorBoard's event files directly into the run's folder.

    Args:
        run_folder: The folder.
        purge_step: Step from which a run is resumed: TensorBoard hides what was logged earlier for this and later steps.
    """

    def __init__(self, run_folder: str | Path, purge_step: int | None = None) -> None:
        super().__init__(save_dir=run_folder, name="", version="", default_hp_metric=False, purge_step=purge_step)
        if purge_step is not None:
            _wait_for_next_second(Path(run_folder))

    def save(self) -> None:
        """Writes the events, but no hparams.yaml: the run has a config.yaml."""
        self.experiment.flush()


class Dashboard(Callback):
    """Draws a run for TensorBoard, with a :class:`RunLogger`.

    - Every ``trainer.log_every_n_steps`` steps: learning rate and gradient norm (L2, before clipping).
    - Once: the graph, the hyper-parameters, and a training batch as the network sees it.
    - About ``num_pictures`` times: the validation images with the highest loss, the confusion matrix, the filters of the
      first convolution, histograms of the weights.

    Args:
        num_pictures: Number of drawings over ``max_epochs``, with the first and the last epoch.
        num_worst: Number of validation images with the highest loss.
    """

    def __init__(self, num_pictures: int = 4, num_worst: int = 16) -> None:
        self.num_pictures = num_pictures
        self.num_worst = num_worst
        self._confusion: MulticlassConfusionMatrix | None = None
        self._worst: list[Tensor] = []

    # Once a run

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        writer = _writer(trainer)
        if writer is None:
            return
        _add_hyper_parameters(writer, trainer, pl_module)
        size, channels = getattr(trainer.datamodule, "image_size", None), pl_module.in_channels
        if size is not None:
            network = pl_module.network
            images = torch.zeros(1, channels, size, size, device=pl_module.device, dtype=pl_module.dtype)
            with evaluating(network), warnings.catch_warnings():
                # TensorBoard draws graphs with torch.jit.trace, which torch deprecates; there is no other way.
                warnings.filterwarnings("ignore", r"`torch\.jit\.trace\w*` is deprecated", FutureWarning)
                # A network may decide by the size of its images, which is the same in all graphs of a run.
                warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean", torch.jit.TracerWarning)
                writer.add_graph(network, images)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        writer = _writer(trainer)
        if batch_idx or trainer.current_epoch or writer is None:
            return
        preprocessing = getattr(trainer.datamodule, "preprocessing", None)
        if preprocessing is not None:
            from torchvision.utils import make_grid

            writer.add_image("network/training_batch", make_grid(preprocessing.to_display(batch[0][:64]).float(), nrow=8))

    # Every log_every_n_steps

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if is_log_step(trainer):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            pl_module.log("train/gradient_norm", nn.utils.get_total_norm(gradients))
            pl_module.log("train/lr", optimizer.param_groups[0]["lr"])

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
        logits, labels = outputs.detach(), batch[1]
        self._confusion.update(logits, labels)
        if len(batch) > 2:
            self._worst.append(self._keep_worst(_summarise(logits, labels, batch[2])))

    def _keep_worst(self, rows: Tensor) -> Tensor:
        return rows[rows[:, 0].topk(min(self.num_worst, len(rows))).indices]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._confusion is None:
            return
        # All processes call these two, which gather from all of them.
        confusion = self._confusion.compute().cpu()
        worst = self._gather_worst() if self._worst else None
        writer = _writer(trainer)
        if writer is None:
            return
        names = list(getattr(trainer.datamodule, "class_names", map(str, range(pl_module.num_classes))))
        step = trainer.global_step
        writer.add_figure("validation/confusion_matrix", _confusion_figure(confusion, names), step)
        if worst is not None:
            writer.add_figure("validation/worst_images", _worst_figure(worst, trainer.datamodule, names), step)
        filters = _first_filters(pl_module.network)
        if filters is not None:
            writer.add_image("network/first_layer_filters", filters, step)
        for name, parameter in pl_module.network.named_parameters():
            if parameter.ndim > 1:
                writer.add_histogram(f"weights/{name}", parameter.detach().float(), step)

    def _gather_worst(self) -> Tensor:
        rows = torch.cat(self._worst)
        if torch.distributed.is_initialized():
            gathered: list[Tensor] = [rows] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, rows)
            rows = torch.cat(gathered)
        return self._keep_worst(rows)


def _wait_for_next_second(run_folder: Path) -> None:
    """TensorBoard reads the files of a run in the order of their names, which begin with the second of their creation."""
    seconds = [int(path.name.split(".")[3]) for path in run_folder.glob("events.out.tfevents.*")]
    if max(seconds, default=0) == int(time.time()):
        time.sleep(1)


def _writer(trainer: pl.Trainer) -> SummaryWriter | None:
    if trainer.is_global_zero and isinstance(trainer.logger, RunLogger):
        return trainer.logger.experiment
    return None


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
        key: value if isinstance(value, bool | int | float | str) else str(value)
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


def _confusion_figure(confusion: Tensor, names: list[str]) -> Figure:
    from matplotlib.figure import Figure

    num_classes = len(names)
    few_classes = num_classes <= 20
    figure = Figure(figsize=(6.4, 6) if few_classes else (10, 9.4), layout="constrained")
    axes = figure.subplots()
    fractions = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    axes.imshow(fractions.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(num_classes) if num_classes <= 50 else []
    axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90)
    axes.set_yticks(ticks, [names[i] for i in ticks])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if few_classes:
        for row in range(num_classes):
            for column in range(num_classes):
                if confusion[row, column]:
                    colour = "white" if fractions[row, column] > 0.5 else "black"
                    count = int(confusion[row, column])
                    axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    return figure


def _worst_figure(worst: Tensor, data: Any, names: list[str]) -> Figure:
    from matplotlib.figure import Figure

    columns = 4
    rows = math.ceil(len(worst) / columns)
    # Fixed positions: an automatic layout takes longer than all other drawing.
    figure = Figure(figsize=(2.1 * columns, 2.4 * rows))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.45 / (2.4 * rows), wspace=0.05, hspace=0.45)
    images = data.splits["val"]
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, (_, label, predicted, confidence, position) in zip(figure.axes, worst.tolist(), strict=False):
        pixels = images.fetch(torch.tensor([int(position)]))[0].permute(1, 2, 0).cpu()
        axes.imshow(pixels.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        name = Path(images.name(int(position))).name
        title = f"{name}\nis {names[int(label)]}\n{names[int(predicted)]} {confidence:.0%}"
        axes.set_title(title, fontsize=8, color="black" if label == predicted else "firebrick")
    return figure


def _first_filters(network: nn.Module) -> Tensor | None:
    """Grid of the kernels of the first convolution, in colour if it has three channels: (3, H, W), from 0 to 1."""
    from torchvision.utils import make_grid

    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        return None
    kernels = first.weight.detach().float().cpu()  # (out, in, h, w)
    if kernels.shape[1] != 3:
        kernels = kernels.mean(dim=1, keepdim=True)
    kernels = F.interpolate(kernels, scale_factor=max(1, 32 // kernels.shape[-1]), mode="nearest")
    return make_grid(kernels, nrow=math.ceil(math.sqrt(len(kernels))), normalize=True, scale_each=True, padding=2)
