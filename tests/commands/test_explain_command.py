"""``lit-cnn explain``: what it answers before it imports torch, and what it writes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, write_photos
from html_pages import check_page
from PIL import Image
from test_predict import PROGRAM

from lit_cnn.__main__ import main
from lit_cnn.commands.explain import HEAT_MAPS, METHODS
from lit_cnn.inference import explain

CLASSES = ("ant", "bee")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--help"], 0, "usage: lit-cnn explain"),
        (["--run", "latest", "--images", "."], 2, "there is no latest run: runs holds no run yet"),
        (["--run", "latest", "--images", ".", "--method", "lime"], 2, "invalid choice: 'lime' (choose from"),
    ],
)
def test_help_and_typos_are_answered_before_torch_is_imported(
    tmp_path: Path, arguments: list[str], status: int, message: str
):
    (tmp_path / "here").mkdir()
    command = [sys.executable, "-c", PROGRAM, json.dumps(["explain", *arguments])]
    done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [status, []]
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "no"], "there is no file or folder no"),
        (
            ["--images", "new", "--layer", "conv", "--method", "cam"],
            "--layer does not go with --method cam; it is for",
        ),
        (["--images", "new", "--target", "ant", "--method", "features"], "--target does not go with --method features"),
        (["--images", "new", "--num_images", "-1"], "--num_images must be at least 0, got -1"),
        (["--images", "new", "--batch_size", "0"], "--batch_size must be at least 1, got 0"),
        (["--images", "new", "--layer", ""], "--layer is empty: give a value, or leave it out"),
        (["--images", "new", "--weights", "DEFAULT"], "--weights belong to a --model"),
        (["--images", "new", "--output", "other"], "--output other holds other files, for example notes.txt"),
        (["--images", "new", "--output", "new"], "--output new holds the images: name another folder"),
        (["--images", "new", "--output", "other/notes.txt"], "--output other/notes.txt is a file: name a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_does_not_go_together_is_refused(lit_cnn: Command, tmp_path: Path, options: list[str], message: str):
    for folder in ("new", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    done = lit_cnn("explain", "--run", "latest", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on small colour photographs, whose network has no exact map."""
    place = tmp_path_factory.mktemp("trained")
    write_photos(place / "photos", CLASSES, 8)
    options = ["--model", "lenet", "--data.image_size", "28", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["lit-cnn", "fit", "--data", "photos", *options])
        assert main() == 0
    return place / "runs"


@pytest.fixture
def show(lit_cnn: Command, runs: Path, tmp_path: Path) -> Command:
    """Explains the four images in the folder ``new``."""
    write_photos(tmp_path / "new", CLASSES, 2)

    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        given = [] if "--images" in options else ["--images", "new"]
        return lit_cnn("explain", "--run", "latest", "--runs_dir", runs, *given, *options)

    return run


def test_a_picture_for_each_image_and_method_and_a_page_with_all(show: Command, tmp_path: Path):
    done = show("--method", "layercam", "gradcam", "features", "receptive_field", "--target", "bee", "--batch_size", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(Path("explanations") / "index.html")
    pictures = sorted((tmp_path / "explanations").glob("*.png"))
    assert len(pictures) == 16
    assert pictures[0].name == "0000-0-features.png"
    with Image.open(tmp_path / "explanations" / "0000-0-layercam.png") as picture:
        assert picture.size == (3 * 224 + 2 * 8, 224)  # image, map, map over the image
        image = np.asarray(picture)[:, :224]
    assert (image[::8, ::8] == image[7::8, 7::8]).all()  # each pixel a square, without blur
    page = check_page((tmp_path / "explanations" / "index.html").read_text(encoding="utf-8"))
    for text in ("LayerCAM for bee", "Grad-CAM for bee", "each sees", "new/ant/0.png", "new/bee/1.jpg"):
        assert text in page.text
    assert page.tags.count("img") == 4 * (1 + 2 + 2 + 1 + 1)
    assert page.text.count("labelled ant : the answer is") == page.text.count("labelled bee : the answer is") == 2
    assert "lenet · trained on photos · 2 classes: ant, bee" in page.text


def test_a_long_path_is_shown_below_the_given_folder_and_a_file_alone_has_no_label(show: Command, tmp_path: Path):
    deep = tmp_path / ("deep" * 20)
    write_photos(deep / "new", CLASSES, 1)
    shutil.move(deep / "new" / "bee", deep / "new" / "wasp")
    assert show("--images", deep / "new", deep / "new" / "ant" / "0.png", "--target", "1").returncode == 0
    text = check_page((tmp_path / "explanations" / "index.html").read_text(encoding="utf-8")).text
    assert text.count("ant/0.png") == text.count("labelled ant : the answer is") == 1
    assert "wasp/0.png" in text
    assert "labelled wasp : the answer is wrong" in text
    assert text.count("labelled") == 2
    assert text.count("LayerCAM for bee") == 3  # class 1


def test_an_earlier_call_is_replaced_and_the_number_is_limited(show: Command, tmp_path: Path):
    assert show("--method", "gradcam").returncode == 0
    done = show("--num_images", "1")
    assert done.returncode == 0, done.stderr
    assert "warning: explained 1 of 4 images: --num_images takes more" in done.stderr
    names = sorted(path.name for path in (tmp_path / "explanations").iterdir())
    assert names == ["0000-0-layercam.png", "index.html"]
    page = check_page((tmp_path / "explanations" / "index.html").read_text(encoding="utf-8"))
    assert "3 more images are not shown" in page.text


def test_files_and_broken_ones(show: Command, tmp_path: Path):
    broken = tmp_path / "new" / "ant" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    done = show("--images", "new/bee/0.png", "new/ant/0.png")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("; --on_bad_image skip leaves out such files")
    done = show("--images", "new/bee/0.png", "new/ant/0.png", "--on_bad_image", "skip")
    assert done.returncode == 0
    assert "warning: left out: new/ant/0.png" in done.stderr
    assert len(list((tmp_path / "explanations").glob("*.png"))) == 1
    earlier = {path.name: path.read_bytes() for path in (tmp_path / "explanations").iterdir()}
    done = show("--images", "new/ant/0.png", "--on_bad_image", "skip")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "lit-cnn: error: none of 1 images can be read"
    assert {path.name: path.read_bytes() for path in (tmp_path / "explanations").iterdir()} == earlier


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "bees"], "--target bees is no class of the network; did you mean bee?"),
        (["--layer", "feature"], "no layer 'feature' of LeNet gives feature maps; did you mean features"),
        (["--method", "cam"], "cam needs a network that ends in an average"),
    ],
)
def test_what_the_network_has_not_is_refused(show: Command, options: list[str], message: str):
    done = show(*options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_the_command_knows_all_methods():
    assert explain.METHODS == HEAT_MAPS
    assert set(METHODS) == {*HEAT_MAPS, "features", "receptive_field"}
