"""A trained network in a notebook: three lines."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_process, write_photos
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from lit_cnn import load_run
from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading, read_image
from lit_cnn.inference.trained import Trained
from lit_cnn.models import LitLeNet
from lit_cnn.network.tta import Tta

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on small colour photographs."""
    place = tmp_path_factory.mktemp("photos")
    write_photos(place / "photos", CLASSES, 20)
    options = ["--model", "LitLeNet", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    done = run_process(place, "fit", "--data", "ImageFolder", "--data.data_dir", "photos", *options)
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in place.rglob("config.yaml"))
    return run


def untrained(channels: int = 3) -> Trained:
    """What :func:`load_run` gives, with random weights."""
    torch.manual_seed(0)
    classifier = LitLeNet(len(CLASSES), channels).eval()
    preprocessing = Preprocessing(28, (0.5,) * channels, (0.25,) * channels)
    return Trained(classifier, preprocessing, CLASSES, Reading(32, channels), dataset="photos", source="nowhere")


@pytest.fixture
def run() -> Trained:
    return untrained()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A smooth picture of more than twice the size that the network was trained on."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_three_lines_classify_an_image(folder: Path, photo: Path):
    run = load_run(str(folder))
    prediction = run.predict(str(photo))
    assert prediction.class_name in run.class_names
    assert run.class_names == CLASSES
    assert prediction.probability == max(prediction.probabilities.values()) == prediction.values.max()
    assert list(prediction.probabilities) == list(CLASSES)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert prediction.top(1) == [(prediction.class_name, prediction.probability)]
    assert prediction.top() == sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    assert prediction.file == photo
    assert f"class_name={prediction.class_name!r}" in repr(prediction)
    assert "photo.png" in repr(prediction)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        prediction.top(0)


def test_a_prediction_cannot_be_changed(run: Trained, photo: Path):
    prediction = run.predict(photo)
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.file = None
    with pytest.raises(ValueError, match="read-only"):
        prediction.values[0] = 1


def test_a_name_of_two_classes_has_the_probability_of_both(run: Trained, photo: Path):
    twice = dataclasses.replace(run, class_names=("crane", "bee", "crane"))
    prediction = twice.predict(photo)
    assert prediction.probabilities["crane"] == pytest.approx(float(prediction.values[0] + prediction.values[2]))
    assert len(prediction.top()) == 3


def forms(file: Path) -> dict[str, object]:
    array = np.asarray(Image.open(file))
    as_tensor = torch.from_numpy(array.copy())
    tensor = as_tensor[None] if array.ndim == 2 else as_tensor.permute(2, 0, 1)
    return {
        "str": str(file),
        "Path": file,
        "PIL": Image.open(file),
        "decoded PIL": Image.open(file).copy(),
        "array": array,
        "array (H, W, C)": array[..., None] if array.ndim == 2 else array,
        "tensor": tensor,
        "strided tensor": tensor.repeat_interleave(2, dim=2)[:, :, ::2],
    }


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_same_in_every_form(photo: Path, tmp_path: Path, mode: str, channels: int):
    Image.open(photo).convert(mode).save(tmp_path / "form.png")
    run = untrained(channels)
    seen: list[torch.Tensor] = []
    run.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    predictions = [run.predict(form) for form in forms(tmp_path / "form.png").values()]
    expected = run.preprocess(read_image(tmp_path / "form.png", run.native_size, channels)[None])
    assert all(torch.equal(images, expected) for images in seen)
    for prediction in predictions:
        np.testing.assert_allclose(prediction.values, predictions[0].values, rtol=0, atol=1e-6)


def test_the_orientation_of_a_camera_counts(run: Trained, photo: Path, tmp_path: Path):
    image = Image.open(photo)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    image.save(tmp_path / "turned.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "turned.png"))
    expected = run.predict(np.asarray(upright)).values
    for form in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        np.testing.assert_allclose(run.predict(form).values, expected, rtol=0, atol=1e-6)
    assert not np.allclose(run.predict(photo).values, expected, rtol=0, atol=1e-6)


def test_sixteen_bits_a_pixel_are_not_clipped(run: Trained, tmp_path: Path):
    pixels = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    expected = run.predict(((pixels.astype(int) + 128) // 257).astype(np.uint8)).values
    for form in (tmp_path / "deep.png", Image.open(tmp_path / "deep.png"), pixels):
        np.testing.assert_allclose(run.predict(form).values, expected, rtol=0, atol=1e-6)


def test_an_opened_jpeg_is_decoded_as_its_file_is_and_stays_as_it_was(run: Trained, photo: Path, tmp_path: Path):
    file = tmp_path / "large.jpg"
    Image.open(photo).save(file)
    opened = Image.open(file)
    expected = run.predict(file)
    assert np.array_equal(run.predict(opened).values, expected.values)
    assert opened.size == (400, 300)
    assert np.array_equal(np.asarray(opened), np.asarray(Image.open(file)))
    with file.open("rb") as stream:
        assert np.array_equal(run.predict(Image.open(stream)).values, expected.values)


def test_many_images_keep_their_order_whatever_they_are(run: Trained, photo: Path):
    array = np.asarray(Image.open(photo))
    mirrored = np.ascontiguousarray(array[:, ::-1])
    dark = array // 4
    many = run.predict([photo, Image.fromarray(dark), mirrored, torch.from_numpy(dark).permute(2, 0, 1)], batch_size=3)
    alone = [run.predict(image) for image in (photo, dark, mirrored, dark)]
    assert [prediction.file for prediction in many] == [photo, None, None, None]
    for one, other in zip(many, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-6)
    (single,) = run.predict((str(photo),))
    assert np.array_equal(single.values, alone[0].values)


def test_a_batch_is_many_images(run: Trained, photo: Path):
    array = np.asarray(Image.open(photo))
    images = np.stack([array, array // 2])
    for batch in (images, torch.from_numpy(images).permute(0, 3, 1, 2)):
        predictions = run.predict(batch)
        for prediction, image in zip(predictions, images, strict=True):
            np.testing.assert_allclose(prediction.values, run.predict(image).values, rtol=0, atol=1e-6)
    assert len(run.predict(images[:1])) == 1


def test_a_folder_is_all_images_in_it(run: Trained, tmp_path: Path):
    write_photos(tmp_path / "new", ("a", "b"), 3)
    predictions = run.predict(tmp_path / "new")
    assert [prediction.file for prediction in predictions] == sorted((tmp_path / "new").rglob("*.*"))
    assert len(run.predict(tmp_path / "new" / "a")) == 3


def test_what_a_folder_holds_besides_images_is_counted(run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_photos(tmp_path / "new", ("one",), 2)
    for name in ("1.heic", "2.HEIC", "list.txt", ".hidden.jpg"):
        (tmp_path / "new" / name).touch()
    (tmp_path / "new" / "link").symlink_to(tmp_path / "new")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.warns(UserWarning, match=r"left out: 3 of 5 files \(2 \.heic, 1 \.txt\), for example 1\.heic"):
        assert len(run.predict("~/new")) == 2
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "1.psd").touch()
    with pytest.raises(ValueError, match=r"holds no image; it holds 1 \.psd"):
        run.predict(tmp_path / "none")


@pytest.fixture(scope="module", params=["lenet", "lenet_bn"])
def sure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A network that has learned 66 photographs of three classes, and their folder."""
    photos = tmp_path_factory.mktemp(request.param) / "new"
    write_photos(photos, CLASSES, 22)
    torch.manual_seed(0)
    classifier = LitLeNet(3, 3, variant=request.param)
    run = Trained(classifier, Preprocessing(28, (0.5,) * 3, (0.25,) * 3), CLASSES, Reading(28, 3), None, "nowhere")
    files = sorted(photos.rglob("*.*"))
    images = run.preprocess(torch.stack([run.reading.read(file) for file in files]))
    labels = torch.tensor([CLASSES.index(file.parent.name) for file in files])
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(classifier(images), labels).backward()
        optimizer.step()
    classifier.eval()
    return run, photos


@pytest.mark.parametrize("tta", [None, "flip", "shifts"])
def test_the_batch_size_does_not_matter(sure: tuple[Trained, Path], tta: Tta | None):
    run, photos = sure
    whole = run.predict(photos, batch_size=66, tta=tta)
    assert max(prediction.probability for prediction in whole) > 0.9
    for batch_size in (1, 2, 17, 64):
        predictions = run.predict(photos, batch_size, tta=tta)
        assert [one.file for one in predictions] == [one.file for one in whole]
        values, expected = (np.stack([one.values for one in many]) for many in (predictions, whole))
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tta", [None, "flip", "shifts"])
def test_probabilities_are_the_softmax_of_the_logits(run: Trained, photo: Path, tta: Tta | None):
    prediction = run.predict(photo, tta=tta)
    assert prediction.logits.dtype == prediction.values.dtype == np.float32
    powers = np.exp(prediction.logits - prediction.logits.max())
    np.testing.assert_allclose(prediction.values, powers / powers.sum(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        prediction.logits[0] = 1


def test_with_tta_an_image_and_its_mirror_image_are_one(run: Trained, photo: Path):
    image = np.asarray(Image.open(photo).crop((0, 0, 300, 300)))
    mirrored = np.ascontiguousarray(image[:, ::-1])
    plain = [run.predict(one).values for one in (image, mirrored)]
    assert not np.allclose(*plain, rtol=0, atol=1e-5)
    for one in (image, mirrored):
        np.testing.assert_allclose(run.predict(one, tta=True).values, np.mean(plain, axis=0), rtol=0, atol=2e-6)


TAKEN = "predict takes files, a folder, PIL images, uint8 arrays"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "there is no image: the list is empty"),
        ((), "there is no image: the tuple is empty"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), "there is no image: the tensor is empty"),
        (np.zeros((8, 8, 3)), rf"the image is a float64 array of shape \(8, 8, 3\); {TAKEN}"),
        (torch.zeros(3, 8, 8), rf"the image is a float32 tensor of shape \(3, 8, 8\); {TAKEN}"),
        (torch.zeros(2, 3, 8, 8), rf"images\[0\] is a float32 tensor of shape \(3, 8, 8\); {TAKEN}"),
        (np.zeros((3, 8, 8), np.uint8), rf"the image is a uint8 array of shape \(3, 8, 8\); {TAKEN}"),
        (np.zeros((8, 8, 3), np.uint16), rf"the image is a uint16 array of shape \(8, 8, 3\); {TAKEN}"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), rf"the image is a uint8 tensor of shape \(8, 8, 3\); {TAKEN}"),
        (torch.zeros(8, 8, dtype=torch.uint8), rf"the image is a uint8 tensor of shape \(8, 8\); {TAKEN}"),
        (np.zeros((0, 8), np.uint8), rf"the image is a uint8 array of shape \(0, 8\); {TAKEN}"),
        ([np.zeros((8, 8), np.uint8), 7], rf"images\[1\] is of type int; {TAKEN}"),
        ([torch.zeros(1, 3, 8, 8, dtype=torch.uint8)], rf"images\[0\] is a uint8 tensor of shape \(1, 3, 8, 8\); {TAKEN}"),
        (None, f"the image is of type NoneType; {TAKEN}"),
        (b"cat.jpg", f"the image is of type bytes; {TAKEN}"),
        ("cat.jpg", "there is no file or folder cat.jpg"),
        (["cat.jpg"], r"images\[0\]: there is no file cat.jpg"),
        (["."], r"images\[0\]: . is a folder; give a folder alone"),
        (".", r"\. holds no image"),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused_in_one_line(
    run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: object, message: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{message}") as refused:
        run.predict(images)
    assert "\n" not in str(refused.value)


def test_a_broken_image_is_named(run: Trained, photo: Path, tmp_path: Path):
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"half\.png cannot be decoded as an image \(image file is truncated"):
        run.predict([photo, tmp_path / "half.png"])
    with (
        Image.open(tmp_path / "half.png") as half,
        pytest.raises(ValueError, match=r"^images\[1\] cannot be decoded as an image \(image file is truncated"),
    ):
        run.predict([photo, half])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        run.predict(photo, batch_size=0)


def test_a_network_left_in_training_predicts_as_one_in_evaluation(run: Trained, photo: Path):
    expected = run.predict(photo).values
    run.network.train()
    assert np.array_equal(run.predict(photo).values, expected)
    assert run.network.training
    run.network.eval()


def test_the_network_and_its_preprocessing_work_alone(run: Trained, photo: Path):
    assert not run.network.training
    assert type(run.network).__name__ == "LeNet"
    images = read_image(photo, run.native_size, run.channels)[None]
    with torch.no_grad():
        logits = run.network(run.preprocess(images))
    np.testing.assert_allclose(logits.softmax(1)[0].numpy(force=True), run.predict(photo).values, rtol=0, atol=1e-6)
    assert run.preprocess(images).shape == (1, 3, 28, 28)


def test_a_run_moves_to_a_device(run: Trained, folder: Path):
    assert run.to("meta") is run
    assert run.device == run.preprocess(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).device == torch.device("meta")
    assert load_run(folder, device="cpu").device == torch.device("cpu")


def test_a_run_says_what_it_is(folder: Path):
    run = load_run(folder)
    assert str(folder / "checkpoints" / "best.ckpt") in repr(run)
    for part in ("lenet", run.dataset, "3 classes: ant, bee, cat", str(run.device)):
        assert part in repr(run)
    many = dataclasses.replace(run, class_names=tuple(f"class {i}" for i in range(1000)))
    assert "1000 classes: class 0, class 1, class 2, …" in repr(many)


@pytest.mark.parametrize(
    "given", [lambda run: run, str, lambda run: run / "config.yaml", lambda run: run / "checkpoints" / "best.ckpt"]
)
def test_a_run_is_found_by_its_folder_its_configuration_or_a_checkpoint(folder: Path, given: Callable[[Path], str | Path]):
    run = load_run(given(folder))
    assert run.source == str(folder / "checkpoints" / "best.ckpt")
    assert isinstance(run.classifier, LitLeNet)
    assert (run.channels, run.native_size) == (3, 28)
    saved = torch.load(run.source, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, saved[f"network.{name}"]) for name, tensor in run.to("cpu").network.state_dict().items())


def test_the_latest_run_needs_no_path(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder.parents[3])
    assert Path(load_run("latest").source).resolve() == folder / "checkpoints" / "best.ckpt"


def test_the_last_checkpoint_can_be_asked_for(folder: Path, tmp_path: Path):
    assert load_run(folder, checkpoint="last").source == str(folder / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match="checkpoint must be best or last, got 'newest'"):
        load_run(folder, checkpoint="newest")
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best.ckpt").unlink()
    assert load_run(tmp_path / "run").source == str(tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_what_is_no_run_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere is not a run folder: it does not exist"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"nowhere\.ckpt is not a whole checkpoint: there is no such file"):
        load_run(tmp_path / "nowhere.ckpt")
    with pytest.raises(ValueError, match="it must be a file, not an address"):
        load_run("https://example.org/best.ckpt")
    with pytest.raises(ValueError, match=r"is not a run folder: it holds no config\.yaml"):
        load_run(tmp_path)
    shutil.copytree(folder, tmp_path / "run")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"best\.ckpt is not a whole checkpoint: File is not a zip file"):
        load_run(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ValueError, match=r"best\.ckpt is not a whole checkpoint: there is no such file"):
        load_run(tmp_path / "run")


def test_what_does_not_say_how_to_see_images_is_refused(trainer, tmp_path: Path):
    fitted = trainer()
    pairs = DataLoader([(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 3]))], batch_size=None)
    fitted.fit(LitLeNet(), train_dataloaders=pairs, val_dataloaders=pairs)
    fitted.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="was not trained on an ImageDataModule: it does not say its"):
        load_run(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="checkpoint='last' is of a run's folder"):
        load_run(tmp_path / "plain.ckpt", checkpoint="last")


def test_missing_files_of_a_table_are_skipped(run: Trained, photo: Path):
    table = photo.with_name("table.csv")
    table.write_text(f"path\n{photo.name}\nmissing.png\n")
    with pytest.raises(ValueError, match=r"table\.csv, line 3: there is no file"):
        run.predict(table)
    with pytest.warns(UserWarning, match="left out 1 of 2 images: there is no file"):
        assert len(run.predict(table, on_bad_image="skip")) == 1
