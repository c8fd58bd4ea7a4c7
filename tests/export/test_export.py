"""Whole exports of a trained run."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, run_process
from PIL import Image

import lit_cnn.export.export as exporting
from lit_cnn.errors import ParityError
from lit_cnn.export.card import write_card
from lit_cnn.export.export import Export
from lit_cnn.export.hub import load_hub_files
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.script import WITHOUT_TORCH
from lit_cnn.inference.loading import load_run
from lit_cnn.runs.folder import Run
from lit_cnn.system.compiler import compiler_name, has_compiler

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A LeNet on handwritten digits, trained for an epoch."""
    place = tmp_path_factory.mktemp("exports")
    options = ["--data.image_size", "28", "--trainer.max_epochs", "1", "--name", "a"]
    done = run_process(place, "fit", "--model", "LitLeNet", "--data", "Digits", *options)
    assert done.returncode == 0, done.stderr
    return Run(place / "runs/digits/lenet/a")


def silent(_: str) -> None:
    pass


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_form_is_written_with_its_proof(run: Run):
    folder = Export(run, report=silent).write(["onnx", "torch", "safetensors"])
    shared = {"README.md", "labels.txt", "parity.json", "preprocess.json"}
    own = {"model.onnx", "predict_onnx.py", "model.pt2", "model.safetensors", "config.json"}
    assert names_in(folder) == shared | own
    assert (folder / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["images"]["validation"] + parity["images"]["training"] == 256
    assert parity["batch_sizes"] == [1, 2, 17, 64]
    assert parity["forms"].keys() == {"model.onnx", "model.pt2", "model.safetensors"}
    for form in parity["forms"].values():
        assert form["max_difference"] < 1e-4
        assert form["equal_answers"] == 1
        assert form["answers"] == 4 * 256
    card = (folder / "README.md").read_text()
    for text in ("# lenet trained on digits", "95 % interval", "the test set was not looked at", "## Licence", "lr: "):
        assert text in card
    assert not [path for path in run.path.iterdir() if path.name.startswith(".export")]


def test_another_format_stays_beside_the_first(run: Run):
    Export(run, report=silent).write(["safetensors"])
    folder = Export(run, report=silent).write(["torch"])
    assert {"model.safetensors", "model.pt2"} <= names_in(folder)
    forms = json.loads((folder / "parity.json").read_text())["forms"]
    assert {"model.safetensors", "model.pt2"} <= forms.keys()
    # Images of another form: what was there is for others.
    lines: list[str] = []
    folder = Export(run, layout="nchw", report=lines.append).write(["safetensors"])
    assert "model.pt2" not in names_in(folder)
    assert lines[-1].startswith("removed, of another checkpoint, --layout, --dtype or --resize: ")
    assert "model.pt2" in lines[-1]
    assert "model.safetensors" not in lines[-1]


def test_weights_are_written_beside_forms_of_other_images(run: Run, lit_cnn: Command):
    assert (
        lit_cnn("export", "--run", run.path, "--format", "torch", "--layout", "nchw", "--dtype", "float32").returncode == 0
    )
    done = lit_cnn("export", "--run", run.path, "--format", "safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "removed" not in done.stdout
    assert {"model.safetensors", "model.pt2"} <= names_in(run.path / "export")
    parity = json.loads((run.path / "export" / "parity.json").read_text())
    assert (parity["layout"], parity["dtype"]) == ("nchw", "float32")
    assert {"model.safetensors", "model.pt2"} <= parity["forms"].keys()


def test_the_script_classifies_without_torch(run: Run, tmp_path: Path):
    folder = Export(run, report=silent).write(["onnx"])
    images = tmp_path / "images"
    images.mkdir()
    for number in range(10):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (30, 40), np.uint8)).save(images / f"{number}.jpg")
    command = [sys.executable, "-c", WITHOUT_TORCH, folder / "predict_onnx.py"]
    subprocess.run([*command, "--images", images, "--output", tmp_path / "out.csv"], check=True, timeout=60)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = load_run(run.path, device="cpu")
    assert [Path(row["file"]).name for row in rows] == [f"{number}.jpg" for number in range(10)]
    for row in rows:
        prediction = trained.predict(row["file"])
        assert row["class"] == prediction.class_name
        assert float(row["probability"]) == pytest.approx(prediction.probability, abs=1e-5)


def test_weights_and_configuration_make_the_network_again(run: Run):
    folder = Export(run, report=silent).write(["safetensors"])
    again, trained = load_hub_files(folder), load_run(run.path, device="cpu")
    assert again.class_names == trained.class_names
    assert again.reading == trained.reading
    assert again.preprocessing == trained.preprocessing
    image = np.zeros((8, 8), np.uint8)
    assert np.array_equal(again.predict(image).values, trained.predict(image).values)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no network of lit_cnn"):
        load_hub_files(folder)


def test_an_export_that_answers_otherwise_leaves_nothing_behind(run: Run, monkeypatch: pytest.MonkeyPatch):
    write = exporting.write_program

    def write_another(network: torch.nn.Module, *arguments: object) -> object:
        network.scale.mul_(1.1)
        return write(network, *arguments)

    Export(run, report=silent).write(["safetensors"])
    before = {path: path.read_bytes() for path in (run.path / "export").iterdir()}
    monkeypatch.setattr(exporting, "write_program", write_another)
    with pytest.raises(ParityError, match=r"^model\.pt2, batches of 1: a probability of \d+\.png differs by "):
        Export(run, report=silent).write(["torch"])
    assert {path: path.read_bytes() for path in (run.path / "export").iterdir()} == before
    assert not [path for path in run.path.iterdir() if path.name.startswith(".export")]


def test_eight_bits_tell_what_they_cost_and_may_be_refused(run: Run):
    folder = Export(run, report=silent).write(["onnx"], is_int8=True, max_loss=100)
    assert (folder / "model_int8.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
    cost = json.loads((folder / "parity.json").read_text())["forms"]["model_int8.onnx"]
    assert cost["num_images"] == 144
    assert abs(cost["before"] - cost["after"]) < 0.05
    assert min(cost["ms_before"], cost["ms_after"]) > 0
    with pytest.raises(ParityError, match=r"8 bits lose .* points of validation accuracy, more than -100"):
        Export(run, report=silent).write(["onnx"], is_int8=True, max_loss=-100)


def test_openvino_answers_as_the_run(run: Run):
    pytest.importorskip("openvino")
    folder = Export(run, report=silent).write(["openvino"])
    assert {"model.xml", "model.bin"} <= names_in(folder)


def test_forms_are_measured_side_by_side(run: Run, tmp_path: Path):
    options = ["--no_compile", "--threads", "1", "--output", "times.json"]
    done = run_process(tmp_path, "bench-export", "--run", run.path, *options)
    assert done.returncode == 0, done.stderr
    forms = {form["form"]: form for form in json.loads((tmp_path / "times.json").read_text())["forms"]}
    assert {"PyTorch float32", "PyTorch bfloat16", "ONNX Runtime", "ONNX Runtime int8"} <= forms.keys()
    assert forms["PyTorch float32"]["accuracy"] == forms["ONNX Runtime"]["accuracy"]
    for form in forms.values():
        assert form["form"] in done.stdout
        assert set(form["ms"]) == {"1", "32"}
        assert min(form["ms"].values()) > 0


def test_images_of_any_size_are_resized_in_the_network(run: Run):
    folder = Export(run, takes_any_size=True, report=silent).write(["onnx", "torch"])
    parity = json.loads((folder / "parity.json").read_text())
    for form in parity["forms"].values():
        assert form["max_difference"] < 1e-4
        assert form["whole_images"]["answers"] == 64
        assert form["whole_images"]["equal_answers"] > 0.9
    assert parity["takes_any_size"]
    card = (folder / "README.md").read_text()
    assert "of any size" in card
    equal = min(form["whole_images"]["equal_answers"] for form in parity["forms"].values())
    assert f"{equal:.2%} of the answers are those of the run" in card


def test_a_container_serves_the_onnx_file(run: Run):
    pytest.importorskip("uvicorn")
    folder = Export(run, report=silent).write(["onnx", "docker"])
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in requirements] == ["onnxruntime", "pillow", "numpy", "fastapi", "uvicorn"]
    copied = re.search(r"^COPY (model.*) \./$", (folder / "Dockerfile").read_text(), re.MULTILINE)[1].split()
    assert set(copied) <= names_in(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    without_torch = "import sys; sys.modules['torch'] = None; import uvicorn; uvicorn.main()"
    command = [sys.executable, "-c", without_torch, "serve_onnx:app", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            assert answer_of_server(f"{address}/health") == (200, "ok")
            assert answer_of_server(f"{address}/info") == (404, {"error": "Not Found"})
            assert answer_of_server(f"{address}/predict") == (405, {"error": "Method Not Allowed"})
            image = io.BytesIO()
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40), np.uint8)).save(image, "PNG")
            status, answer = answer_of_server(f"{address}/predict", image.getvalue())
            prediction = load_run(run.path, device="cpu").predict(Image.open(image))
            assert (status, answer["class"]) == (200, prediction.class_name)
            assert answer["probability"] == pytest.approx(prediction.probability, abs=1e-5)
            assert len(answer["top"]) == 5
            for content, refused in ((b"", 422), (b"no image", 422), (image.getvalue()[:60], 422), (bytes(30 * 2**20), 413)):
                status, answer = answer_of_server(f"{address}/predict", content)
                assert (status, list(answer)) == (refused, ["error"])
            assert answer_of_server(f"{address}/predict", image.getvalue())[0] == 200
        finally:
            server.terminate()
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


def answer_of_server(address: str, content: bytes | None = None) -> tuple[int, dict | str]:
    """Status and content of an answer; waits for a server that starts."""
    headers = {"Content-Type": "image/png"}
    for _ in range(200):
        try:
            with urllib.request.urlopen(urllib.request.Request(address, content, headers), timeout=10) as response:
                text = response.read().decode()
                return response.status, json.loads(text) if text.startswith("{") else text
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError(address)


def test_a_refused_export_is_one_line(run: Run, lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_cnn.export.parity.TOLERANCE", -1.0)
    done = lit_cnn("export", "--run", run.path, "--format", "torch")
    assert done.returncode == 1
    assert done.stderr.startswith("lit-cnn: error: model.pt2, batches of 1: a probability of ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not has_compiler(), reason=f"there is no {compiler_name()}")
def test_a_program_is_compiled_ahead_of_time(run: Run):
    folder = Export(run, report=silent).write(["torch"], is_compiled=True)
    form = json.loads((folder / "parity.json").read_text())["forms"]["model_compiled.pt2"]
    assert form["batch_sizes"] == [1, 2, 17, 64]
    assert form["max_difference"] < 1e-4


def test_files_of_others_and_what_an_export_left_that_was_killed(run: Run):
    folder = Export(run, report=silent).write(["safetensors"])
    (folder / "notes.txt").write_text("mine")
    (folder / "samples").mkdir()
    (folder / "samples" / "broken.png").write_text("mine")
    (run.path / ".export-1234.partial").mkdir()
    Export(run, dtype="float32", report=silent).write(["torch", "onnx"])
    assert (folder / "notes.txt").read_text() == (folder / "samples" / "broken.png").read_text() == "mine"
    assert "model.safetensors" not in names_in(folder)
    assert not list(run.path.glob(".export-*"))


def test_a_second_export_at_a_time_is_refused(run: Run, lit_cnn: Command):
    def export_again(_: str) -> None:
        done = lit_cnn("export", "--run", run.path, "--format", "torch")
        assert done.returncode == 2
        assert done.stderr == f"lit-cnn: error: {run.path} is being exported by another process: wait until it has ended\n"

    folder = Export(run, report=export_again).write(["safetensors"])
    assert "model.safetensors" in names_in(folder)
    assert not list(run.path.glob(".export*"))


def test_an_export_that_was_killed_before_its_end_loses_no_earlier_one(run: Run):
    folder = Export(run, report=silent).write(["safetensors"])
    (folder / "notes.txt").write_text("mine")
    folder.rename(run.path / ".export-1234.replaced")
    (run.path / ".export-1234.partial").mkdir()
    Export(run, report=silent).write(["torch"])
    assert {"model.safetensors", "model.pt2", "notes.txt"} <= names_in(folder)
    assert not list(run.path.glob(".export*"))


def test_the_card_has_no_folder_of_this_machine(run: Run):
    folder = Export(run, report=silent).write(["safetensors"])
    assert str(run.path.parents[3]) not in (folder / "README.md").read_text()
    assert "max_epochs: 1" in (folder / "README.md").read_text()


def test_the_card_counts_images_that_the_script_does_not_read(run: Run, tmp_path: Path):
    trained = load_run(run.path)
    form = {"max_difference": 1e-7, "equal_answers": 1.0, "script": {"answers": 254, "equal": 254, "unread": 2}}
    parity = {"images": {"validation": 200, "training": 56}, "forms": {"model.onnx": form}}
    write_card(run, trained, ExportedNetwork.of(trained), parity, tmp_path / "README.md")
    assert "`predict_onnx.py` does not read 2 of them" in (tmp_path / "README.md").read_text()
