"""Training and evaluation of an image classifier, for any network and any images."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MeanMetric, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from lit_cnn.errors import TrainingError
from lit_cnn.layers import share_dropout
from lit_cnn.network.parts import freeze as freeze_up_to
from lit_cnn.network.parts import frozen_norms
from lit_cnn.network.tta import Tta, mean_log_probabilities, pixel_of_data
from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.training.arguments import check_arguments
from lit_cnn.training.balance import ClassWeights, cross_entropy, given_weights, set_class_weights
from lit_cnn.training.batch import float_images, targets_of
from lit_cnn.training.callbacks.averaging import LateAverage
from lit_cnn.training.callbacks.finders import limit_batch_size, searches_rate
from lit_cnn.training.callbacks.finite import ADVICE, FiniteLoss
from lit_cnn.training.callbacks.looks import LookRecorder
from lit_cnn.training.callbacks.resume import ExactResume
from lit_cnn.training.callbacks.unfreezing import Unfreezing
from lit_cnn.training.compatibility import compare_arguments, compare_checkpoint, compare_with_data
from lit_cnn.training.metrics import EvaluationMetrics, is_log_step
from lit_cnn.training.optimizer import fused, groups_of, optimizer_factory
from lit_cnn.training.origin import Origin, data_of, describe_classifier, follow_run
from lit_cnn.training.schedule import DEFAULT_SCHEDULE, Schedule, schedule_of, start_schedules
from lit_cnn.weights.adapt import start_from
from lit_cnn.weights.sources import Weights, find_weights


class LitClassifier(pl.LightningModule):
    """Loss, metrics, optimiser and schedule of a classifier; each architecture has a subclass.

    Batches are tuples that begin with images (N, C, H, W) and labels (N,). Training minimises the cross-entropy with label
    smoothing and class weights; evaluation reports the plain cross-entropy. It logs ``train/loss`` and ``train/acc``. For
    ``val`` and ``test`` it logs ``loss``, ``acc``, ``top5`` (if there are more than five classes), ``f1`` (mean over
    classes) and ``ece`` (expected calibration error, 15 bins). ``test/images`` is the number of tested images.

    Args:
        network: Takes images (N, in_channels, H, W), gives logits (N, num_classes).
        num_classes: Outputs of the network.
        in_channels: Channels of the images.
        optimizer: Name of a class in ``torch.optim``; not LBFGS, Muon or SparseAdam, see
            :func:`lit_cnn.training.optimizer.find_optimizer`.
        lr: Learning rate; the highest one of the schedule.
        weight_decay: Weight decay of all parameters, if the optimiser has one.
        norm_weight_decay: Weight decay of biases and normalisation layers; the same if not given.
        optimizer_args: Further arguments of the optimiser. If not given, SGD uses Nesterov momentum 0.9.
        schedule: Learning rate over the steps, see :func:`lit_cnn.training.schedule.rate_factor`.
        warmup_ratio: Share of the steps in which the learning rate first rises linearly.
        label_smoothing: Share of the training target that is spread over all classes.
        class_weights: Weight of each class in the training loss; ``balanced``: more for rare classes, see
            :func:`lit_cnn.training.balance.balanced_weights`.
        weights: Initial weights of the network, see :func:`lit_cnn.weights.sources.find_weights`; random if not given.
        freeze: What is not trained: ``none``, ``backbone`` (all but the last layer), or the named part of the network and
            all before it. Its BatchNorms stay in evaluation mode.
        unfreeze_at: Share of the training after which the frozen part is trained too; never if not given.
        backbone_lr_scale: Factor on the learning rate of all but the last layer.

    Raises:
        ValueError: If an argument is out of its range.
        OSError: If weights cannot be downloaded.
    """

    # Arguments of a subclass that only matter in training: weights fit a network with other values of them.
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        in_channels: int,
        optimizer: str = "SGD",
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        norm_weight_decay: float | None = None,
        optimizer_args: dict[str, Any] | None = None,
        schedule: Schedule = DEFAULT_SCHEDULE,
        warmup_ratio: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        weights: str | None = None,
        freeze: str = "none",
        unfreeze_at: float | None = None,
        backbone_lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        # Captures the subclass's arguments too.
        self.save_hyperparameters(ignore=["network"], logger=False)
        check_arguments(self.hparams)
        self._make_optimizer = optimizer_factory(optimizer, lr, weight_decay, optimizer_args)
        # The checkpoint that the weights were read from, until they are trained.
        self.origin: Origin | None = None
        self.pretrained: Weights | None = None
        # Mean and standard deviation that the weights were trained with; None: those of the data are used.
        self.normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        if weights is not None:
            self.hparams["weights"] = str(weights)  # a Path would keep a checkpoint from loading with weights_only
            initial = find_weights(weights, self.hparams.get("variant"))
            if initial.made_by:
                compare_arguments(self, *initial.made_by)
            self.pretrained = start_from(network, initial)
            if self.pretrained.mean and self.pretrained.std:
                self.normalisation = self.pretrained.mean, self.pretrained.std
            rank_zero_info(self.pretrained)
        freeze_up_to(network, freeze)
        self.frozen_parameters = tuple(name for name, own in network.named_parameters() if not own.requires_grad)

        self.network = share_dropout(network).to(memory_format=torch.channels_last)
        self.num_classes = num_classes
        self.in_channels = in_channels
        # No buffer: setup, which balances, comes after callbacks that copy all buffers.
        self.class_weights = given_weights(class_weights)

        # One value for each image: with nan_strategy="disable", torchmetrics 1.9 ignores the weights of a MeanMetric.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_acc = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self._named_in_epoch = -1  # the epoch in which the training metrics were logged
        self.metrics = nn.ModuleDict({split: EvaluationMetrics(split, num_classes) for split in ("val", "test")})
        self.num_tested = SumMetric(nan_strategy="disable")
        self.tta: Tta | None = None  # of Trainer.test and Trainer.validate; a training validates without it

    def configure_callbacks(self) -> list[pl.Callback]:
        has_recorder = any(isinstance(callback, LookRecorder) for callback in self.trainer.callbacks)
        unfreezing = [] if (share := self.hparams["unfreeze_at"]) is None else [Unfreezing(share, self.frozen_parameters)]
        return [ExactResume(), FiniteLoss(), LateAverage(), *unfreezing, *([] if has_recorder else [LookRecorder()])]

    def _apply(self, fn: Any, recurse: bool = True) -> LitClassifier:
        super()._apply(fn, recurse)
        self.class_weights = None if self.class_weights is None else fn(self.class_weights)
        return self

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
        """Compiles the network in place: the names of its weights stay."""
        self.network.compile(mode=mode)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Training loss of the logits of one output. Its mean over all processes is the loss of the whole batch.

        Shape:
            Logits (N, num_classes); labels (N,), or (N, num_classes) with the shares of the classes. Output a scalar.
        """
        return cross_entropy(logits, labels, self.class_weights, self.hparams["label_smoothing"])

    def training_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and loss of a training batch; an architecture with its own loss overrides this method."""
        logits = self(images)
        return logits, self.loss(logits, labels)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self._keep_frozen()
        images, targets = float_images(batch, self.dtype), targets_of(batch, self.num_classes, self.dtype)
        logits, loss = self.training_loss(images, targets)
        self.train_loss.update(loss.detach().expand(len(targets)))
        self.train_acc.update(logits.detach(), targets.argmax(1) if targets.is_floating_point() else targets)
        if self._named_in_epoch != self.current_epoch:
            # Lightning computes and resets them at the end of the epoch. To log them once is enough, and quicker.
            self._named_in_epoch = self.current_epoch
            self._name_training_metrics()
        if is_log_step(self.trainer):
            self.log("train/loss_step", loss.detach())
        return loss

    def _name_training_metrics(self) -> None:
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True)

    def on_train_start(self) -> None:
        self.origin = None
        # Not earlier: the number of batches is known only now, and a callback may have found a better rate.
        groups = groups_of(self)
        start_schedules(self.trainer, [group["lr"] for group in groups] if searches_rate(self.trainer) else None)
        # A resumed epoch may have no batches left.
        if self.trainer.fit_loop.restarted_mid_epoch:
            self._name_training_metrics()

    def on_fit_start(self) -> None:
        if self.trainer.ckpt_path:
            self._check_data()
        self._named_in_epoch = -1
        self.train_loss.reset()
        self.train_acc.reset()
        limit_batch_size(self.trainer)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        return self._evaluation_step("val", batch)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self.num_tested.update(len(batch[1]))
        return self._evaluation_step("test", batch)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Probabilities (N, num_classes)."""
        return self(float_images(batch, self.dtype)).float().softmax(dim=1)

    def _evaluation_step(self, split: str, batch: tuple[Tensor, ...]) -> Tensor:
        images, labels = float_images(batch, self.dtype), batch[1]
        if self.tta and self.trainer.state.fn != "fit":
            logits = mean_log_probabilities(self, images, self.tta, pixel_of_data(data_of(self.trainer)))
        else:
            # A copy: a network that replays a CUDA graph overwrites its logits in the next call.
            logits = self(images).to(torch.float32, copy=True)
        self.metrics[split].update(logits, labels, getattr(batch, "positions", None))
        return logits

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "validate":
            self._check_data()

    def on_test_start(self) -> None:
        self._check_data()

    def _check_data(self) -> None:
        """Compares the data with those that the network was trained on, if a checkpoint was loaded."""
        if self.origin is not None:
            self.origin.check(data_of(self.trainer), str(self.trainer.state.fn.value))
            if self.trainer.evaluating and (difference := self.origin.describe_evaluation(data_of(self.trainer))):
                rank_zero_warn(difference)

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
            raise TrainingError(f"the validation loss is {loss} after epoch {self.current_epoch}: {ADVICE}")
        # compute() has combined all processes; sync_dist averages equal values, and avoids a warning of Lightning.
        self.log_dict(scores, sync_dist=True)
        self.metrics[split].reset()

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(groups_of(self), **fused(self._make_optimizer, self.device, self.trainer))
        scheduler = schedule_of(self, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Compares the network with the data before anything is trained or written, and sets the normalisation.

        Raises:
            ValueError: If channels, classes or image size do not fit; names what would.
        """
        data = self.trainer.datamodule
        compare_with_data(self, data, stage)
        if stage == "fit":
            set_class_weights(self)
        # The one place that decides it for a new training; a checkpoint brings its own, see ImageDataModule.
        if hasattr(data, "normalise_with"):
            data.normalise_with(self.normalisation)
        if self.origin is not None and stage != "fit" and self.trainer.ckpt_path is None:
            self.origin.check(data, stage)  # before the loaders take the images

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The initial weights are not needed to load this checkpoint.
        checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], "weights": None}
        checkpoint[CHECKPOINT_KEY] = describe_classifier(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trainer = getattr(self, "_trainer", None)  # None for load_from_checkpoint
        self.origin = Origin.of(checkpoint, trainer.ckpt_path if trainer else None)
        if trainer:
            follow_run(data_of(trainer), trainer.ckpt_path)
        if trainer and type(data_of(trainer)).__qualname__ != self.origin.data_key:
            self._check_data()  # Lightning gives the state to data of the same class alone, which compare it first
        compare_checkpoint(self, checkpoint)
        self.normalisation = self.origin.normalisation or self.normalisation
