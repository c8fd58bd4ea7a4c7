from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import Command, write_fashion_mnist

from lit_cnn.data import CIFAR10, CIFAR100, MNIST, Digits, FakeImages, FashionMNIST, ImageDataModule
from lit_cnn.data.module import measure
from lit_cnn.data.splits import ArrayImages, stratified_split

ALL = [Digits, MNIST, FashionMNIST, CIFAR10, CIFAR100, FakeImages]


@pytest.mark.parametrize("cls", ALL)
def test_every_dataset_describes_itself(cls: type[ImageDataModule]):
    data = cls()
    assert data.num_classes == len(data.class_names) == len(set(data.class_names)) >= 10
    assert data.channels in (1, 3)
    assert data.image_size == data.native_size
    for values in (data.mean, data.std):
        assert values is None or len(values) == data.channels


def test_digits_are_split_once_stratified_and_disjoint():
    data = Digits(seed=1)
    data.setup("fit")
    data.setup("test")
    indices = [set(data.splits["test"].index.tolist())]
    outer = data.splits["train"].images.index
    indices += [set(outer[data.splits[split].index].tolist()) for split in ("train", "val")]
    assert sum(map(len, indices)) == len(set.union(*indices)) == 1797
    for split in data.splits.values():
        share = split.labels.bincount() / len(split.labels)
        assert share.min() > 0.08
        assert share.max() < 0.12


def test_the_seed_moves_the_validation_split_and_never_the_test_split():
    def positions(seed: int) -> tuple[list[int], list[int]]:
        data = Digits(seed=seed)
        data.setup("fit")
        data.setup("test")
        return data.splits["val"].index.tolist(), data.splits["test"].index.tolist()

    assert positions(1) == positions(1)
    assert positions(1)[0] != positions(2)[0]
    assert positions(1)[1] == positions(2)[1]


def test_the_default_seed_is_that_of_seed_everything(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    assert Digits().seed == 17
    assert Digits(seed=3).seed == 3


def test_digits_know_their_mean_and_std():
    data = Digits()
    mean, std = measure(data.read("train"))
    assert mean == pytest.approx(data.mean, abs=5e-4)
    assert std == pytest.approx(data.std, abs=5e-4)


def test_batches_travel_as_uint8_and_arrive_normalised():
    data = Digits(image_size=16, batch_size=256, crop_padding=1, flip=True, seed=0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (256, 1, 8, 8)
    assert batch.images.max() == 255
    arrived = data.on_after_batch_transfer(batch, 0)
    assert arrived.images.dtype == torch.float32
    assert arrived.images.shape == (256, 1, 16, 16)
    plain = data.preprocessing(batch.images)
    assert abs(plain.mean()) < 0.1
    assert not torch.equal(arrived.images, plain)


def test_evaluation_is_not_augmented():
    data = Digits(crop_padding=2, flip=True, seed=0)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(data.on_after_batch_transfer(batch, 0).images, data.preprocessing(batch.images))


def test_display_undoes_the_normalisation():
    data = Digits()
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    shown = data.preprocessing.to_display(data.preprocessing(images))
    torch.testing.assert_close(shown, images / 255, rtol=0, atol=1e-6)


def test_a_split_keeps_every_class_and_refuses_what_cannot_be_split():
    labels = torch.tensor([0] * 50 + [1] * 10)
    first, second = stratified_split(labels, 0.2, seed=0)
    assert labels[second].bincount().tolist() == [10, 2]
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(60))
    with pytest.raises(ValueError, match="no class has two images"):
        stratified_split(torch.arange(5), 0.1, seed=0)


@pytest.mark.parametrize(
    ("sizes", "fraction", "second"),
    [((20,) * 10, 0.98, [19] * 10), ((20,) * 10, 0.02, [1] * 10), ((300, *(2,) * 49), 0.1, [30, *[1] * 49])],
)
def test_each_class_is_divided_where_a_part_has_fewer_images_than_classes(
    sizes: tuple[int, ...], fraction: float, second: list[int]
):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    assert labels[stratified_split(labels, fraction, seed=0)[1]].bincount().tolist() == second


@pytest.mark.parametrize(
    ("sizes", "fraction"),
    [((2, 1), 0.1), ((5, 5), 0.1), ((3,) * 200, 0.1), ((500, 5), 0.05), ((2, 9), 0.9), ((40, 1, 0, 3), 0.5)],
)
def test_small_and_unequal_classes_are_in_both_parts(sizes: tuple[int, ...], fraction: float):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    for seed in range(5):
        first, second = stratified_split(labels, fraction, seed)
        assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(len(labels)))
        for part, least in ((first, 1), (second, 2)):
            held = labels[part].bincount(minlength=len(sizes))
            assert all(number > 0 for number, size in zip(held.tolist(), sizes, strict=True) if size >= least)


def test_a_class_of_one_image_is_named():
    class Unequal(FakeImages):
        def read(self, split: str) -> ArrayImages | None:
            labels = torch.tensor([0] * 9 + [1])
            return None if split == "val" else ArrayImages(torch.zeros(10, 1, 28, 28, dtype=torch.uint8), labels)

    data = Unequal(num_classes=2)
    with pytest.warns(UserWarning, match=rf"1 class has too few images to be evaluated: {data.class_names[1]} \(no valid"):
        data.setup("fit")
    assert data.counts()["train"][1] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"image_size": -3}, "image_size must be at least 1, got -3"),
        ({"val_fraction": 1.5}, "val_fraction must be above 0 and below 1, got 1.5"),
        ({"crop_padding": -1}, "crop_padding must be at least 0"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Digits(**arguments)


@pytest.mark.parametrize(
    ("cls", "reason"), [(Digits, "its images come with scikit-learn"), (FakeImages, "its images are made up")]
)
def test_a_dataset_that_reads_no_files_refuses_a_folder(cls: type[ImageDataModule], reason: str):
    with pytest.raises(ValueError, match=f"{cls.__name__} reads no files") as caught:
        cls(data_dir="photos")
    message = str(caught.value)
    assert "\n" not in message
    assert reason in message
    assert "data_dir=photos" in message
    for way in ("--data photos/", "DATA=photos/", "ImageFolder"):
        assert way in message
    assert cls().data_dir is cls().hparams["data_dir"] is None


def test_the_command_line_refuses_a_folder_for_the_digits(lit_cnn: Command, tmp_path: Path):
    fit = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    done = lit_cnn(*fit, "--data.data_dir", "photos")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Digits reads no files" in line
    assert list(tmp_path.iterdir()) == []


def test_the_saved_configuration_of_digits_repeats_the_run(lit_cnn: Command, tmp_path: Path):
    fit = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    assert lit_cnn(*fit, "--runs_dir", "first").returncode == 0
    (first,) = tmp_path.glob("first/*/*/*")
    done = lit_cnn("fit", "--config", first / "config.yaml", "--runs_dir", "second")
    assert done.returncode == 0, done.stderr
    (second,) = tmp_path.glob("second/*/*/*")
    assert (second / "config.yaml").read_text() == (first / "config.yaml").read_text()
    weights = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (first, second)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=0)


def test_fashion_mnist_reads_the_files_that_are_there(tmp_path: Path):
    write_fashion_mnist(tmp_path, 40, 20)
    data = FashionMNIST(str(tmp_path), val_fraction=0.25)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert {name: len(split.labels) for name, split in data.splits.items()} == {"train": 30, "val": 10, "test": 20}
    assert data.splits["test"].fetch(torch.tensor([3])).shape == (1, 1, 28, 28)


def test_a_download_that_fails_says_where_to_put_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(OSError, match=r"MNIST is not in .*MNIST/raw .*put train-images-idx3-ubyte, .* there"):
        MNIST(str(tmp_path / "new")).prepare_data()
    with pytest.raises(OSError, match=r"CIFAR10 .*put cifar-10-python.tar.gz"):
        CIFAR10(str(tmp_path / "new")).prepare_data()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_other_classes_is_refused():
    state = Digits().state_dict()
    Digits().load_state_dict(state)
    with pytest.raises(ValueError, match=r"trained on the classes 0, .* but digits has"):
        Digits().load_state_dict(state | {"class_names": ["0", "1", "x"]})


@pytest.mark.parametrize("other", [{"seed": 2}, {"seed": 1, "val_fraction": 0.2}])
def test_a_checkpoint_with_another_validation_split_is_refused(other: dict):
    state = Digits(seed=1).state_dict()
    with pytest.raises(ValueError, match="it would be evaluated on images that it was trained on"):
        Digits(**other).load_state_dict(state)


@pytest.mark.parametrize("cls", [Digits, FakeImages])
@pytest.mark.parametrize("room", [10**9, 10])
def test_images_are_on_the_training_device_if_it_has_room(
    monkeypatch: pytest.MonkeyPatch, cls: type[ImageDataModule], room: int
):
    # The meta device stands for a GPU: it has shapes and no values.
    gpu = torch.device("meta")
    monkeypatch.setattr("lit_cnn.data.module.room_for_images", lambda device: room if device == gpu else 0)
    data = cls(batch_size=16)
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=gpu))
    data.setup("fit")
    data.setup("test")
    for split in ("train", "val", "test"):
        images = data.splits[split]
        fetched = images.fetch(torch.tensor([2, 0]))
        assert fetched.device.type == ("meta" if room > 10 else "cpu")
        assert fetched.shape == (2, data.channels, data.native_size, data.native_size)
        assert fetched.dtype == torch.uint8
        assert images.labels.device.type == "cpu"
