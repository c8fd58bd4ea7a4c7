"""The stand-alone script is compared with the run on the files that it reads."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from untrained import samples_of, untrained

from lit_cnn.errors import ParityError
from lit_cnn.export.card import describe_preprocessing
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.onnx_file import write_onnx
from lit_cnn.export.samples import Samples
from lit_cnn.export.script import SCRIPT, check_script
from lit_cnn.system.json_files import write_object

Rows = list[tuple[str, str, str]]


@pytest.fixture
def samples() -> Samples:
    return samples_of(untrained(), 5)


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the script end with rows, a status, and lines of errors, without a process."""

    def end(rows: Rows, status: int = 0, errors: str = "") -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            with (tmp_path / "answers.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("file", "class", "probability"), *rows])
            return subprocess.CompletedProcess(command, status, "", errors)

        monkeypatch.setattr(subprocess, "run", run)

    return end


def rows_of(samples: Samples) -> Rows:
    """The answers of the run."""
    names = samples.trained.class_names
    return [
        (path.name, names[row.argmax()], f"{row.max():.6f}")
        for path, row in zip(samples.files, samples.probabilities, strict=True)
    ]


def test_equal_answers_are_counted(samples: Samples, ends: Callable[..., None], tmp_path: Path):
    ends(rows_of(samples))
    assert str(check_script(SCRIPT, samples, tmp_path)) == "predict_onnx.py: 5 of 5 answers are equal"


def test_files_that_only_the_run_reads_are_left_out_and_counted(samples: Samples, ends: Callable[..., None], tmp_path: Path):
    ends(rows_of(samples)[:3], 1, "x/3.png cannot be read: too deep\nx/4.png cannot be read: too long\n")
    parity = check_script(SCRIPT, samples, tmp_path)
    assert parity.as_json() == {"answers": 3, "equal": 3, "unread": 2}
    assert str(parity) == (
        "predict_onnx.py: 3 of 3 answers are equal; it does not read 2 images that the run reads, the first: too deep"
    )


def test_a_script_that_reads_no_image_is_told(samples: Samples, ends: Callable[..., None], tmp_path: Path):
    ends([], 1, "".join(f"{path} cannot be read: too deep\n" for path in samples.files))
    parity = check_script(SCRIPT, samples, tmp_path)
    assert parity.num_answers == 0
    assert str(parity) == (
        "predict_onnx.py: not compared, it does not read 5 images that the run reads, the first: too deep"
    )


@pytest.mark.parametrize(
    ("status", "errors", "message"),
    [
        (1, "Traceback\nKeyError: 'size'\n", "predict_onnx.py ended with status 1: KeyError: 'size'"),
        (-9, "", "predict_onnx.py ended with status -9"),
        (0, "", "predict_onnx.py ended with status 0"),
    ],
)
def test_a_script_that_fails_is_refused(
    samples: Samples, ends: Callable[..., None], tmp_path: Path, status: int, errors: str, message: str
):
    ends(rows_of(samples)[:2], status, errors)
    with pytest.raises(ParityError) as error:
        check_script(SCRIPT, samples, tmp_path)
    assert str(error.value) == message


@pytest.mark.parametrize("probability", ["0.900000", "nan"])
def test_another_probability_names_the_image(samples: Samples, ends: Callable[..., None], tmp_path: Path, probability: str):
    rows = rows_of(samples)
    rows[3] = (*rows[3][:2], probability)
    ends(rows)
    with pytest.raises(ParityError, match=r"^predict_onnx\.py: the probability of 3\.png differs by "):
        check_script(SCRIPT, samples, tmp_path)


def test_another_class_names_the_image(samples: Samples, ends: Callable[..., None], tmp_path: Path):
    rows = rows_of(samples)
    last = samples.trained.class_names[int(np.argmin(samples.probabilities[2]))]
    rows[2] = (rows[2][0], last, rows[2][2])
    ends(rows)
    with pytest.raises(ParityError, match=rf"^predict_onnx\.py: 2\.png is {last}, the run answers "):
        check_script(SCRIPT, samples, tmp_path)


def test_a_script_that_does_not_end_is_refused(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ParityError, match=r"^predict_onnx\.py did not end within 30 minutes$"):
        check_script(SCRIPT, samples, tmp_path)


@pytest.mark.slow
def test_the_real_script_leaves_out_what_only_the_run_reads(tmp_path: Path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    trained, folder = untrained(), tmp_path / "samples"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    comment = PngInfo()
    comment.add_text("comment", "x" * 2**21, zip=True)
    Image.fromarray(pixels).save(folder / "0.png")
    Image.fromarray(pixels).save(folder / "1.png", pnginfo=comment)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "2.png")
    files = tuple(folder / f"{number}.png" for number in range(3))
    samples = replace(
        samples_of(trained, 3), files=files, pixels=torch.stack([trained.reading.read(file) for file in files])
    )
    network = ExportedNetwork.of(trained)
    write_onnx(network, 32, 3, tmp_path / "model.onnx", {})
    write_object(tmp_path / "preprocess.json", describe_preprocessing(trained, network))
    script = Path(shutil.copy(SCRIPT, tmp_path))
    assert check_script(script, samples, folder).as_json() == {"answers": 1, "equal": 1, "unread": 2}
    (folder / "0.png").unlink()
    only_deep = replace(samples, files=files[1:], pixels=samples.pixels[1:])
    assert str(check_script(script, only_deep, folder)).startswith(
        "predict_onnx.py: not compared, it does not read 2 images"
    )
