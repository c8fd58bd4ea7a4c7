import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import write_fashion_mnist
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from lit_cnn.data import Digits, FakeImages, FashionMNIST
from lit_cnn.inference.loading import load_run
from lit_cnn.models import LitGoogLeNet, LitLeNet, LitResNet
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.metrics import TopKAccuracy

MakeTrainer = Callable[..., Trainer]


def logits_and_labels(classifier: LitClassifier, data: FakeImages, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = data.splits[split]
    with torch.no_grad():
        pixels = data.preprocessing(images.fetch(torch.arange(len(images.labels))))
        return classifier.eval()(pixels), images.labels


@pytest.mark.parametrize("num_pending_logits", [1, 2**20])
def test_metrics_are_those_of_all_images_whatever_the_batches(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, num_pending_logits: int
):
    monkeypatch.setattr("lit_cnn.training.metrics.NUM_PENDING_LOGITS", num_pending_logits)
    # 50 validation images in batches of 33 and of 17: means of batches would differ from the mean of images.
    data = FakeImages(num_images=200, batch_size=33, val_fraction=0.25, seed=0)
    classifier = LitLeNet(lr=0.05)
    fitted = trainer(max_epochs=2)
    fitted.fit(classifier, datamodule=data)
    logged = fitted.callback_metrics
    logits, labels = logits_and_labels(classifier, data, "val")
    assert float(logged["val/loss"]) == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)
    assert float(logged["val/acc"]) == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert float(logged["val/f1"]) == pytest.approx(float(multiclass_f1_score(logits, labels, 10, average="macro")))
    assert float(logged["val/ece"]) == pytest.approx(float(multiclass_calibration_error(logits, labels, 10)), abs=1e-5)
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).float().mean()
    assert float(logged["val/top5"]) == pytest.approx(float(top5))


@pytest.mark.parametrize("num_classes", [6, 10, 1000])
def test_top_k_accuracy_is_that_of_torchmetrics(num_classes: int):
    torch.manual_seed(0)
    ours, theirs = TopKAccuracy(5), MulticlassAccuracy(num_classes, top_k=5, average="micro")
    for sizes in ((50, 7), (30,)):
        ours.reset()
        theirs.reset()
        for size in sizes:
            labels = torch.randint(num_classes, (size,))
            logits = torch.randn(size, num_classes)
            logits[: size // 3] += 3 * F.one_hot(labels[: size // 3], num_classes)
            ours.update(logits, labels)
            theirs.update(logits, labels)
        assert 0.1 < float(ours.compute()) < 1
        assert float(ours.compute()) == pytest.approx(float(theirs.compute()))


def test_metrics_hold_when_the_first_batch_is_perfect(trainer: MakeTrainer):
    class Scripted(LitLeNet):
        """The right class first in the first batch, second in the others."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(images), 10)
            right = images[:, 0, 0, 0].long()
            logits[torch.arange(len(images)), right] = 2.0
            if self.calls > 0:
                logits[torch.arange(len(images)), (right + 1) % 10] = 3.0
            self.calls += 1
            return logits

    labels = torch.arange(30) % 10
    images = labels.view(-1, 1, 1, 1).expand(-1, 1, 28, 28).float()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=10)
    classifier = Scripted()
    classifier.calls = 0
    (scores,) = trainer().test(classifier, loader, verbose=False)
    assert scores["test/acc"] == pytest.approx(1 / 3)
    assert scores["test/top5"] == 1


def test_training_metrics_average_the_epoch(trainer: MakeTrainer):
    losses: list[float] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses.append(float(outputs["loss"]))

    fitted = trainer(max_epochs=2, callbacks=[Watch()])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=128, batch_size=24, seed=0))
    assert len(losses) == 8
    assert float(fitted.callback_metrics["train/loss"]) == pytest.approx(sum(losses[4:]) / 4, rel=1e-5)


def test_a_second_fit_logs_as_the_first_did(trainer: MakeTrainer):
    classifier, data = LitLeNet(), FakeImages(num_images=64, seed=0)
    for _ in range(2):
        fitted = trainer()
        fitted.fit(classifier, datamodule=data)
        assert "train/loss" in fitted.callback_metrics


def test_training_may_follow_an_evaluation(trainer: MakeTrainer):
    classifier, data = LitLeNet(), FakeImages(num_images=64, seed=0)
    fitted = trainer()
    fitted.validate(classifier, datamodule=data, verbose=False)
    fitted.fit(classifier, datamodule=data)
    assert "val/top5" in fitted.callback_metrics


@pytest.mark.parametrize("num_pending_logits", [1, 2**20])
def test_what_an_interrupted_evaluation_left_does_not_count(
    trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, num_pending_logits: int
):
    class Interrupted(Callback):
        def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            raise RuntimeError("interrupted")

    monkeypatch.setattr("lit_cnn.training.metrics.NUM_PENDING_LOGITS", num_pending_logits)
    classifier, data = LitLeNet(), FakeImages(num_images=64, batch_size=2, val_fraction=0.25, seed=0)
    (alone,) = trainer().validate(classifier, datamodule=data, verbose=False)
    with pytest.raises(RuntimeError, match="interrupted"):
        trainer(callbacks=[Interrupted()]).validate(classifier, datamodule=data, verbose=False)
    (again,) = trainer().validate(classifier, datamodule=data, verbose=False)
    assert again == alone


def test_overfitting_a_batch_sees_the_same_images_each_epoch(trainer: MakeTrainer):
    seen: list[list[int]] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(batch.positions.tolist())

    data = FakeImages(num_images=64, batch_size=8, seed=0)
    trainer(max_epochs=3, overfit_batches=1, callbacks=[Watch()]).fit(LitLeNet(), datamodule=data)
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]


def test_it_learns(trainer: MakeTrainer):
    torch.manual_seed(0)
    fitted = trainer(max_epochs=4)
    classifier = LitLeNet(variant="lenet_bn", lr=0.05)
    data = FakeImages(num_images=400, batch_size=16, seed=0)
    fitted.fit(classifier, datamodule=data)
    (scores,) = fitted.test(classifier, datamodule=data, verbose=False)
    assert scores["test/acc"] > 0.95
    assert scores["test/images"] == 100


def test_the_same_seed_gives_the_same_weights(trainer: MakeTrainer):
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        classifier = LitLeNet()
        trainer().fit(classifier, datamodule=Digits(image_size=28, crop_padding=1, flip=True, seed=seed))
        return torch.cat([p.detach().flatten() for p in classifier.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_run_resumed_after_an_epoch_ends_like_one_that_was_not(trainer: MakeTrainer, tmp_path: Path):
    class StopAfterTwo(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 1

    def fit(resume_from: str | None, *callbacks: Callback) -> LitClassifier:
        torch.manual_seed(0 if resume_from is None else 99)
        classifier = LitLeNet(lr=0.05, schedule="one_cycle")
        data = Digits(image_size=28, batch_size=64, crop_padding=1, flip=True, seed=0)
        trainer(max_epochs=4, enable_checkpointing=True, callbacks=list(callbacks)).fit(
            classifier, datamodule=data, ckpt_path=resume_from, weights_only=True
        )
        return classifier

    def keep() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, filename="kept", save_on_train_epoch_end=True, enable_version_counter=False)

    fit(None, keep(), StopAfterTwo())
    (tmp_path / "kept.ckpt").rename(tmp_path / "after_two.ckpt")
    whole = fit(None, keep())
    (tmp_path / "kept.ckpt").unlink()
    resumed = fit(str(tmp_path / "after_two.ckpt"), keep())
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "loss"),
    [
        ({"label_smoothing": 0.1}, lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)),
        ({"class_weights": [1.0, 2.0, 3.0]}, lambda x, y: F.cross_entropy(x, y, weight=torch.tensor([1.0, 2.0, 3.0]))),
    ],
)
def test_smoothing_and_class_weights_are_in_the_training_loss(arguments: dict, loss: Callable):
    classifier = LitLeNet(num_classes=3, **arguments)
    images, labels = torch.randn(8, 1, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    logits, training_loss = classifier.training_loss(images, labels)
    torch.testing.assert_close(training_loss, loss(logits, labels))


def optimizer_of(classifier: LitClassifier, trainer: MakeTrainer) -> tuple[torch.optim.Optimizer, list[float]]:
    rates: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fitted = trainer(max_epochs=2, callbacks=[Watch()], limit_val_batches=0)
    fitted.fit(classifier, datamodule=FakeImages(num_images=64, batch_size=8))
    return fitted.optimizers[0], rates


def test_sgd_with_nesterov_momentum_is_the_default(trainer: MakeTrainer):
    optimizer, _ = optimizer_of(LitLeNet(), trainer)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    assert optimizer.defaults["nesterov"]


def test_any_optimizer_of_torch_by_its_name(trainer: MakeTrainer):
    classifier = LitLeNet(optimizer="AdamW", lr=1e-3, weight_decay=0.1, optimizer_args={"betas": [0.8, 0.9]})
    optimizer, _ = optimizer_of(classifier, trainer)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["weight_decay"] == 0.1
    assert list(optimizer.defaults["betas"]) == [0.8, 0.9]


@pytest.mark.parametrize("optimizer", ["Rprop", "Adadelta"])
def test_optimizers_without_some_argument_train_too(trainer: MakeTrainer, optimizer: str):
    trained, _ = optimizer_of(LitLeNet(optimizer=optimizer, lr=1e-3), trainer)
    assert type(trained).__name__ == optimizer


def test_the_schedule_moves_with_every_step(trainer: MakeTrainer):
    _, rates = optimizer_of(LitLeNet(lr=0.1, schedule="cosine"), trainer)
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(12)])


def test_a_schedule_needs_an_end(trainer: MakeTrainer):
    with pytest.raises(ValueError, match="schedule cosine needs an end"):
        trainer(max_epochs=-1).fit(LitLeNet(), datamodule=FakeImages())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0}, "lr must be above 0, got 0"),
        ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ({"norm_weight_decay": -1}, "norm_weight_decay must be at least 0, got -1"),
        ({"norm_weight_decay": 0, "optimizer": "Rprop"}, "optimizer Rprop has no weight decay: leave norm_weight_decay out"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
        ({"optimizer": "Adamm"}, "'Adamm' is not in torch.optim; did you mean Adam"),
        ({"optimizer": "LBFGS"}, "optimizer LBFGS cannot be used: it needs several passes over the batch for each step"),
        ({"optimizer": "Muon"}, "optimizer Muon cannot be used: it only trains matrices"),
        ({"optimizer": "SparseAdam"}, "optimizer SparseAdam cannot be used: it needs sparse gradients"),
        ({"optimizer_args": {"momentun": 0.9}}, "optimizer_args do not fit torch.optim.SGD.*momentun"),
        ({"optimizer_args": {"lr": 0.1}}, "optimizer_args cannot hold lr: give lr \\(--model.lr\\)"),
        ({"optimizer_args": {"weight_decay": 0.3}}, "optimizer_args cannot hold weight_decay: give weight_decay"),
        ({"optimizer_args": {"params": []}}, "optimizer_args cannot hold params: leave it out"),
        (
            {"freeze": "backbone", "backbone_lr_scale": 0.1},
            "backbone_lr_scale=0.1 has no effect with freeze=backbone: leave it out, or set unfreeze_at",
        ),
        ({"class_weights": [1.0]}, "class_weights must be 10 numbers, one for each class, got 1"),
        ({"class_weights": "balance"}, "class_weights must be balanced or 10 numbers, got 'balance'"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"warmup_ratio": 2}, "warmup_ratio must be"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LitLeNet(**arguments)


@pytest.mark.parametrize("frozen", [{"freeze": "backbone", "unfreeze_at": 0.5}, {"freeze": "features.0"}], ids=str)
def test_a_backbone_that_is_trained_takes_a_rate_of_its_own(frozen: dict):
    LitLeNet(backbone_lr_scale=0.1, **frozen)


@pytest.mark.parametrize(
    ("classifier", "data", "message"),
    [
        (LitLeNet(), Digits(), r"LitLeNet cannot take images of 8×8; it takes images of 28×28 to 35×35"),
        (LitGoogLeNet(in_channels=1), FakeImages(native_size=9), r"images of 9×9; it takes images of at least 15×15"),
        (
            LitGoogLeNet(),
            FakeImages(),
            "takes 3 channels, but the images of fake_images have 1: build it with in_channels=1",
        ),
        (LitLeNet(num_classes=3), FakeImages(), "has 3 outputs, but fake_images has 10 classes"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(
    trainer: MakeTrainer, classifier: LitClassifier, data: FakeImages, message: str
):
    with pytest.raises(ValueError, match=message):
        trainer().fit(classifier, datamodule=data)


@pytest.fixture
def checkpoint(trainer: MakeTrainer, tmp_path: Path) -> Path:
    keep = ModelCheckpoint(tmp_path, filename="kept")
    fitted = trainer(enable_checkpointing=True, callbacks=[keep])
    fitted.fit(LitLeNet(pooling="max", in_channels=3), datamodule=FakeImages(channels=3, num_images=64, seed=0))
    return tmp_path / "kept.ckpt"


def test_a_checkpoint_alone_brings_back_network_and_preprocessing(checkpoint: Path):
    trained = load_run(checkpoint, device="cpu")
    data = FakeImages(channels=3, num_images=64, seed=0)
    assert isinstance(trained.classifier, LitLeNet)
    assert trained.classifier.hparams["pooling"] == "max"
    assert not trained.classifier.training
    assert trained.preprocessing == data.preprocessing
    assert trained.class_names == data.class_names
    assert (trained.channels, trained.native_size) == (3, 28)
    reloaded = LitLeNet.load_from_checkpoint(checkpoint, weights_only=True)
    torch.testing.assert_close(reloaded.state_dict(), trained.classifier.state_dict(), rtol=0, atol=0)


def test_images_are_normalised_as_the_checkpoint_was_trained(checkpoint: Path, trainer: MakeTrainer):
    content = torch.load(checkpoint, weights_only=True)
    content["FakeImages"] |= {"mean": [0.25] * 3, "std": [0.125] * 3}
    content["callbacks"] = {}
    torch.save(content, checkpoint)
    data = FakeImages(channels=3, num_images=64)
    network = LitLeNet(pooling="max", in_channels=3)
    trainer().test(network, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    assert data.preprocessing.mean == (0.25,) * 3
    assert data.preprocessing.std == (0.125,) * 3


def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(checkpoint: Path, trainer: MakeTrainer):
    data = FakeImages(channels=3, num_images=64)
    other = LitLeNet(in_channels=3, num_classes=12, pooling="max")
    with pytest.raises(
        ValueError, match=r"are of lit_cnn\.models\.lenet\.LitLeNet, not of this LitLeNet.*num_classes=12.* is \(10"
    ):
        trainer().test(other, datamodule=data, ckpt_path=checkpoint, verbose=False)
    with pytest.raises(
        ValueError, match=r"kept\.ckpt do not fit: .*not of this LitGoogLeNet.*which is lit_cnn\.models\.googlenet"
    ):
        trainer().test(LitGoogLeNet(), datamodule=FakeImages(channels=3), ckpt_path=checkpoint, verbose=False)


def test_files_that_are_no_checkpoints_are_refused(checkpoint: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"none\.ckpt is not a whole checkpoint: there is no such file"):
        load_run(tmp_path / "none.ckpt")
    (tmp_path / "half.ckpt").write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"half\.ckpt is not a whole checkpoint: File is not a zip file"):
        load_run(tmp_path / "half.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt is not a checkpoint of lit_cnn: it does not say which network"):
        load_run(tmp_path / "other.ckpt")
    foreign = torch.load(checkpoint, weights_only=True)
    foreign["lit_cnn"]["class_path"] = "os.system"
    torch.save(foreign, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"holds a os\.system, but the known architectures are .*LitLeNet"):
        load_run(tmp_path / "foreign.ckpt")


def test_plain_pairs_of_images_and_labels_will_do(trainer: MakeTrainer):
    images, labels = torch.randn(32, 1, 28, 28), torch.arange(32) % 10
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=8)
    classifier = LitLeNet()
    trainer().fit(classifier, train_dataloaders=loader, val_dataloaders=loader)
    probabilities = torch.cat(trainer().predict(classifier, loader))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(32))


def test_a_path_as_folder_leaves_the_checkpoint_loadable(trainer: MakeTrainer, tmp_path: Path):
    fitted = trainer()
    write_fashion_mnist(tmp_path, 64, 20)
    fitted.fit(LitLeNet(), datamodule=FashionMNIST(data_dir=tmp_path, val_fraction=0.25))
    fitted.save_checkpoint(tmp_path / "saved.ckpt")
    assert isinstance(load_run(tmp_path / "saved.ckpt").classifier, LitLeNet)


def test_double_precision(trainer: MakeTrainer):
    classifier = LitLeNet()
    trainer(precision="64-true").fit(classifier, datamodule=FakeImages(num_images=64))
    assert classifier.dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "settings", "fused"),
    [
        ({}, {}, True),
        ({"optimizer": "AdamW"}, {"precision": "bf16-mixed"}, True),
        ({"optimizer_args": {"foreach": True}}, {}, None),
        ({"optimizer_args": {"fused": False}}, {}, False),
        ({}, {"gradient_clip_val": 1.0, "precision": "bf16-mixed"}, None),
    ],
)
def test_one_kernel_updates_all_parameters_where_nothing_forbids_it(
    trainer: MakeTrainer, arguments: dict, settings: dict, fused: bool | None
):
    fitted = trainer(**settings)
    fitted.fit(LitLeNet(**arguments), datamodule=FakeImages(num_images=64))
    assert fitted.optimizers[0].param_groups[0]["fused"] is fused


@pytest.mark.parametrize(
    ("kind", "variant", "image_size", "of_norms"),
    [
        (LitLeNet, "lenet_bn", 28, {"norm_weight_decay": 0.01}),
        (LitResNet, "resnet20", 16, {}),
        (LitGoogLeNet, "googlenet_d2l", 16, {}),
    ],
)
def test_training_is_the_algorithm_of_the_textbook(
    trainer: MakeTrainer, kind: type[LitClassifier], variant: str, image_size: int, of_norms: dict[str, float]
):
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            batches.append((batch.images.double(), batch.labels))

    torch.manual_seed(0)
    rates = {"lr": 0.02, "weight_decay": 1e-3, "schedule": "cosine"}
    classifier = kind(variant=variant, in_channels=1, num_classes=10, **rates, **of_norms)
    network = copy.deepcopy(classifier.network).double().to(memory_format=torch.contiguous_format)
    data = FakeImages(num_images=100, batch_size=16, image_size=image_size, crop_padding=2, flip=True, seed=0)
    trainer(precision="64-true", max_epochs=2, callbacks=[Watch()]).fit(classifier, datamodule=data)

    # SGD with Nesterov's momentum (Sutskever et al. 2013, as torch documents it), the rate along half a cosine.
    velocities = [torch.zeros_like(weight) for weight in network.parameters()]
    assert len(batches) == 8
    network.train()
    for step, (images, labels) in enumerate(batches):
        rate = 0.02 * (1 + math.cos(math.pi * step / len(batches))) / 2
        loss = -network(images).log_softmax(dim=1)[torch.arange(len(labels)), labels].mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, gradient, velocity in zip(network.parameters(), gradients, velocities, strict=True):
                decay = of_norms.get("norm_weight_decay", 1e-3) if weight.ndim == 1 else 1e-3
                decayed = gradient + decay * weight
                velocity.mul_(0.9).add_(decayed)
                weight.sub_(rate * (decayed + 0.9 * velocity))
    torch.testing.assert_close(classifier.network.state_dict(), network.state_dict(), rtol=1e-8, atol=1e-10)


def test_fused_and_plain_updates_agree(trainer: MakeTrainer):
    trained = []
    for optimizer_args in (None, {"momentum": 0.9, "nesterov": True, "foreach": False}):
        torch.manual_seed(0)
        classifier = LitLeNet(optimizer_args=optimizer_args)
        trainer().fit(classifier, datamodule=FakeImages(num_images=200, seed=0))
        trained.append(classifier.network.state_dict())
    torch.testing.assert_close(trained[0], trained[1], rtol=1e-4, atol=1e-6)
