"""Training and evaluation of an image classifier, whatever its network and its images."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from lit_cnn.errors import TrainingError
from lit_cnn.network.parts import freeze as freeze_up_to
from lit_cnn.network.parts import frozen_norms, parameter_groups
from lit_cnn.training.callbacks.finite import FiniteLoss
from lit_cnn.training.callbacks.resume import ExactResume
from lit_cnn.training.compatibility import compare_arguments, compare_class, compare_tensors, compare_with_data
from lit_cnn.training.metrics import EvaluationMetrics, is_log_step
from lit_cnn.training.optimizer import fused, optimizer_factory
from lit_cnn.training.schedule import Schedule, rate_factor
from lit_cnn.weights.adapt import start_from
from lit_cnn.weights.sources import Weights, find_weights

# Key of a checkpoint under which the classifier says what it is.
CHECKPOINT_KEY = "lit_cnn"


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
        weights: Where the network's weights start from, see :func:`lit_cnn.weights.sources.find_weights`; random if not
            given.
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
        self._make_optimizer = optimizer_factory(optimizer, lr, weight_decay, optimizer_args)
        # Captures the subclass's arguments too.
        self.save_hyperparameters(ignore=["network"], logger=False)

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

        # One value for each image: torchmetrics 1.9 forgets the weights of a MeanMetric that does not look for NaNs.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_acc = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self._logs_epoch = -1
        self.metrics = nn.ModuleDict({split: EvaluationMetrics(split, num_classes) for split in ("val", "test")})
        self.num_tested = SumMetric(nan_strategy="disable")

    def configure_callbacks(self) -> list[pl.Callback]:
        return [ExactResume(), FiniteLoss()]

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

    def compile_network(self, mode: str) -> None:
        """Compiles what training and evaluation call, in place: the names of the weights stay."""
        self.network.compile(mode=mode)

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
            self._name_training_metrics()
        if is_log_step(self.trainer):
            self.log("train/loss_step", loss.detach())
        return loss

    def _name_training_metrics(self) -> None:
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True)

    def on_train_start(self) -> None:
        # An epoch that is gone on with may have had all its batches.
        if self.trainer.fit_loop.restarted_mid_epoch:
            self._name_training_metrics()

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
        # A copy: a network that replays a CUDA graph overwrites its logits when it is called again.
        logits = self(images).to(torch.float32, copy=True)
        self.metrics[split].update(logits, labels)
        return logits

    def on_validation_epoch_start(self) -> None:
        self.metrics["val"].reset()

    def on_test_epoch_start(self) -> None:
        self.metrics["test"].reset()

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")
        self.log("test/images", self.num_tested.compute(), sync_dist=True)
        self.num_tested.reset()

    def _log_evaluation(self, split: str) -> None:
        scores = self.metrics[split].compute()
        loss = float(scores[f"{split}/loss"])
        if self.trainer.state.fn == "fit" and not math.isfinite(loss):
            raise TrainingError(f"the validation loss is {loss} after epoch {self.current_epoch}: lower --model.lr")
        # compute() has gathered from all processes; sync_dist averages equal values and keeps Lightning from warning.
        self.log_dict(scores, sync_dist=True)
        self.metrics[split].reset()

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.network, self.hparams["lr"], self.hparams["backbone_lr_scale"])
        optimizer = self._make_optimizer(groups, **fused(self._make_optimizer, self.device, self.trainer))
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
        """Compares the network with the data before anything is trained or written, and sets how images are normalised.

        Raises:
            ValueError: If channels, classes or image size do not fit; says what would.
        """
        compare_with_data(self, self.trainer.datamodule)
        self._normalise_data()

    def _normalise_data(self) -> None:
        """The one place that decides it: as the weights were trained where that is known, else by the data's own images."""
        data = self.trainer.datamodule
        if hasattr(data, "normalise_with"):
            data.normalise_with(self.normalisation)

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
        compare_class(self, class_path)
        compare_arguments(self, class_path, checkpoint.get("hyper_parameters", {}))
        compare_tensors(self, class_path, checkpoint["state_dict"])
        data = checkpoint.get(about.get("data_key"), {})
        if "mean" in data:
            self.normalisation = tuple(data["mean"]), tuple(data["std"])
            if self._trainer is not None:
                self._normalise_data()
