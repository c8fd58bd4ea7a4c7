"""Training and evaluation of an image classifier, whatever its network and its images."""

from __future__ import annotations

import difflib
from functools import partial
from inspect import signature
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score

from lit_cnn.finetuning import freeze as freeze_up_to
from lit_cnn.finetuning import frozen_norms, parameter_groups
from lit_cnn.input_size import describe_sizes, takes
from lit_cnn.pretrained import Weights, find_weights, start_from
from lit_cnn.provenance import compare_arguments, compare_tensors
from lit_cnn.training.schedule import Schedule, rate_factor

# Key of a checkpoint under which the classifier says what it is.
CHECKPOINT_KEY = "lit_cnn"


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    """A class of ``torch.optim`` by its name.

    Raises:
        ValueError: If there is none of that name; offers the nearest.
    """
    found = getattr(torch.optim, name, None)
    if isinstance(found, type) and issubclass(found, torch.optim.Optimizer):
        return found
    names = [
        key
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key != "Optimizer"
    ]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or sorted(names)
    raise ValueError(f"optimizer {name!r} is not in torch.optim; did you mean {', '.join(near)}?")


def is_log_step(trainer: pl.Trainer) -> bool:
    """Whether Lightning hands what the step in progress logs to the logger."""
    every = trainer.log_every_n_steps
    return every > 0 and (trainer.global_step + 1) % every == 0


class LitClassifier(pl.LightningModule):
    """Loss, metrics, optimiser and schedule of a classifier; one subclass for each architecture.

    Batches are tuples that begin with images (N, C, H, W) and labels (N,). Training minimises the cross-entropy with label
    smoothing and class weights; evaluation reports the plain one. Logged are ``train/loss`` and ``train/acc``, and for
    ``val`` and ``test``: ``loss``, ``acc``, ``top5`` (more than five classes), ``f1`` (mean over classes) and ``ece``
    (expected calibration error, 15 bins), ``test/images`` being how many images were counted.

    Args:
        network: Takes images (N, in_channels, H, W), gives logits (N, num_classes).
        num_classes: Outputs of the network.
        in_channels: Channels of the images.
        optimizer: Name of a class in ``torch.optim``; not SparseAdam, which is for sparse gradients, nor Muon, which is for
            matrices alone.
        lr: Learning rate; where a schedule rises and falls, its highest.
        weight_decay: Of all parameters, where the optimiser has one.
        optimizer_args: Further arguments of the optimiser. If not given, SGD takes Nesterov momentum 0.9.
        schedule: Course of the learning rate over the steps, see :func:`lit_cnn.training.schedule.rate_factor`.
        warmup_ratio: Share of the steps in which the learning rate rises linearly first.
        label_smoothing: Share of the target spread over all classes, in training.
        class_weights: Weight of each class in the training loss.
        weights: Where the network's weights start from, see :func:`lit_cnn.pretrained.find_weights`; fresh if not given.
        freeze: What does not learn: ``none``, ``backbone`` (all but the layer of the classes), or all up to a named part of
            the network. BatchNorms in it stay in evaluation.
        backbone_lr_scale: Factor on the learning rate of all but the layer of the classes.

    Raises:
        ValueError: If an argument is out of its range.
        OSError: If weights cannot be downloaded.
    """

    # Arguments of a subclass that matter in training alone: weights fit whatever they were then.
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        in_channels: int,
        optimizer: str = "SGD",
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        optimizer_args: dict[str, Any] | None = None,
        schedule: Schedule = "cosine",
        warmup_ratio: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        weights: str | None = None,
        freeze: str = "none",
        backbone_lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if lr <= 0:
            raise ValueError(f"lr must be above 0, got {lr}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(f"class_weights must be {num_classes}, one for each class, got {len(class_weights)}")
        if backbone_lr_scale <= 0:
            raise ValueError(f"backbone_lr_scale must be above 0, got {backbone_lr_scale}; to stop it, freeze the backbone")
        rate_factor(schedule, 1, warmup_ratio)
        optimizer_class = find_optimizer(optimizer)
        # Captures the subclass's arguments too.
        self.save_hyperparameters(ignore=["network"], logger=False)
        if optimizer_args is None:
            optimizer_args = {"momentum": 0.9, "nesterov": True} if optimizer == "SGD" else {}
        decay = {"weight_decay": weight_decay} if "weight_decay" in signature(optimizer_class).parameters else {}
        self._make_optimizer = partial(optimizer_class, lr=lr, **decay | optimizer_args)
        try:
            self._make_optimizer([nn.Parameter(torch.zeros(1, 1))])
        except TypeError as error:
            raise ValueError(f"optimizer_args do not fit torch.optim.{optimizer}: {error}") from error

        self.pretrained: Weights | None = None
        # Mean and standard deviation of the images that the weights want; None for those of the data.
        self.normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        if weights is not None:
            self.hparams["weights"] = str(weights)  # a Path would keep a checkpoint from loading with weights_only
            found = find_weights(weights, self.hparams.get("variant"))
            if found.made_by:
                compare_arguments(self, *found.made_by)
            self.pretrained = start_from(network, found)
            if self.pretrained.mean and self.pretrained.std:
                self.normalisation = self.pretrained.mean, self.pretrained.std
            rank_zero_info(self.pretrained)
        freeze_up_to(network, freeze)

        # torch's LBFGS can flatten no other than contiguous parameters.
        format_of_weights = torch.contiguous_format if optimizer == "LBFGS" else torch.channels_last
        self.network = network.to(memory_format=format_of_weights)
        self.num_classes = num_classes
        self.in_channels = in_channels
        of_classes = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", of_classes, persistent=False)

        common = partial(dict, num_classes=num_classes, validate_args=False)
        # One value for each image: torchmetrics 1.9 forgets the weights of a MeanMetric that does not look for NaNs.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_acc = MulticlassAccuracy(average="micro", **common())
        self._logs_epoch = -1
        metrics = {
            "acc": MulticlassAccuracy(average="micro", **common()),
            "f1": MulticlassF1Score(average="macro", **common()),
            "ece": MulticlassCalibrationError(n_bins=15, **common()),
        }
        if num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(top_k=5, average="micro", **common())
        self.metrics = nn.ModuleDict()
        for split in ("val", "test"):
            # Without groups: torchmetrics takes metrics for one that merely agree on the first batch.
            self.metrics[split] = MetricCollection(metrics, prefix=f"{split}/", compute_groups=False).clone()
            self.metrics[f"{split}_loss"] = MeanMetric(nan_strategy="disable")
        self.num_tested = SumMetric(nan_strategy="disable")

    def train(self, mode: bool = True) -> LitClassifier:
        super().train(mode)
        self._keep_frozen()
        return self

    def _keep_frozen(self) -> None:
        if self.hparams["freeze"] != "none":
            for norm in frozen_norms(self.network):
                norm.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        return self.network(images)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Training loss of one set of logits."""
        smoothing = self.hparams["label_smoothing"]
        return F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=smoothing)

    def training_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and loss of a training batch; an architecture with a loss of its own overrides it."""
        logits = self(images)
        return logits, self.loss(logits, labels)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self._keep_frozen()
        images, labels = batch[0].to(self.dtype), batch[1]
        logits, loss = self.training_loss(images, labels)
        self.train_loss.update(loss.detach().expand(len(labels)))
        self.train_acc.update(logits.detach(), labels)
        if self._logs_epoch != self.current_epoch:
            # Lightning computes and resets them when the epoch ends; naming them once is enough, and cheaper.
            self._logs_epoch = self.current_epoch
            self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
            self.log("train/acc", self.train_acc, on_step=False, on_epoch=True)
        if is_log_step(self.trainer):
            self.log("train/loss_step", loss.detach())
        return loss

    def on_fit_start(self) -> None:
        self._logs_epoch = -1
        self.train_loss.reset()
        self.train_acc.reset()

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        return self._evaluation_step("val", batch)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self.num_tested.update(len(batch[1]))
        return self._evaluation_step("test", batch)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Probabilities (N, num_classes)."""
        return self(batch[0].to(self.dtype)).float().softmax(dim=1)

    def _evaluation_step(self, split: str, batch: tuple[Tensor, ...]) -> Tensor:
        images, labels = batch[0].to(self.dtype), batch[1]
        logits = self(images).float()
        self.metrics[f"{split}_loss"].update(F.cross_entropy(logits, labels, reduction="none"))
        self.metrics[split].update(logits, labels)
        return logits

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")
        self.log("test/images", self.num_tested.compute(), sync_dist=True)
        self.num_tested.reset()

    def _log_evaluation(self, split: str) -> None:
        # compute() has gathered from all processes; sync_dist averages equal values and keeps Lightning from warning.
        self.log(f"{split}/loss", self.metrics[f"{split}_loss"].compute(), sync_dist=True)
        self.log_dict(self.metrics[split].compute(), sync_dist=True)
        self.metrics[f"{split}_loss"].reset()
        self.metrics[split].reset()

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.network, self.hparams["lr"], self.hparams["backbone_lr_scale"])
        optimizer = self._make_optimizer(groups)
        num_steps = self.trainer.estimated_stepping_batches
        schedule = self.hparams["schedule"]
        if num_steps == float("inf"):
            if schedule != "constant" or self.hparams["warmup_ratio"]:
                raise ValueError(f"schedule {schedule} needs an end: set --trainer.max_epochs or --trainer.max_steps")
            num_steps = 1
        factor = rate_factor(schedule, int(num_steps), self.hparams["warmup_ratio"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Compares the network with the data before anything is trained or written; normalises them as its weights want.

        Raises:
            ValueError: If channels, classes or image size do not fit; says what would.
        """
        data = self.trainer.datamodule
        name = type(self).__name__
        channels = getattr(data, "channels", self.in_channels)
        if channels != self.in_channels:
            raise ValueError(
                f"{name} takes {self.in_channels} channels, but the images of {data.name} have {channels}: "
                f"build it with in_channels={channels}"
            )
        num_classes = getattr(data, "num_classes", self.num_classes)
        if num_classes > self.num_classes:
            raise ValueError(
                f"{name} has {self.num_classes} outputs, but {data.name} has {num_classes} classes: "
                f"build it with num_classes={num_classes}"
            )
        if hasattr(data, "normalise_with"):
            data.normalise_with(self.normalisation)
        names = self.pretrained.class_names if self.pretrained else None
        if names and tuple(getattr(data, "class_names", names)) != names:
            rank_zero_warn(
                f"the last layer is that of {self.pretrained.source}, whose {len(names)} classes "
                f"({', '.join(names[:3])}, …) are not those of {data.name}: it learns them anew"
            )
        size = getattr(data, "image_size", None)
        takes_size = partial(takes, self.network, self.in_channels)
        if size is not None and not takes_size(size):
            raise ValueError(
                f"{name} cannot take images of {size}×{size}; it takes {describe_sizes(takes_size)}: "
                f"set image_size (--data.image_size)"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kind = type(self)
        data = self.trainer.datamodule
        # Whoever loads this checkpoint needs not what its training started from.
        checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], "weights": None}
        checkpoint[CHECKPOINT_KEY] = {
            "class_path": f"{kind.__module__}.{kind.__qualname__}",
            "started_from": self.hparams["weights"],
            # Where Lightning keeps the state of the data module.
            "data_key": type(data).__qualname__ if data is not None else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        about = checkpoint.get(CHECKPOINT_KEY, {})
        class_path = about.get("class_path", "an unknown network")
        compare_arguments(self, class_path, checkpoint.get("hyper_parameters", {}))
        compare_tensors(self, class_path, checkpoint["state_dict"])
        data = checkpoint.get(about.get("data_key"), {})
        if "mean" in data:
            self.normalisation = tuple(data["mean"]), tuple(data["std"])
