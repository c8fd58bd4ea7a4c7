"""``lit-cnn predict``: what it answers before it imports torch, and the table that it writes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Command, write_photos

from lit_cnn.commands.output import open_output
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.predict import predict
from lit_cnn.inference.trained import Trained

PROGRAM = """
import json, sys
from lit_cnn.__main__ import main
sys.argv = ["lit-cnn", *json.loads(sys.argv[1])]
try:
    status = main()
except SystemExit as end:
    status = end.code
heavy = [name for name in ("torch", "pytorch_lightning", "numpy", "PIL", "sklearn") if name in sys.modules]
print(json.dumps([status, heavy]))
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "usage: lit-cnn predict"),
        (["--run", "runs/x", "--imagse", "new"], 2, "unknown option --imagse; did you mean --images?"),
        (["--run", "runs/x", "--images", "new", "--batch", "many"], 2, "invalid int value: 'many'"),
        (["--images", "new"], 2, "one of the arguments --run --config --ckpt_path --model is required"),
        (["--run", "runs/x", "--images", "new"], 2, "runs/x is not a run folder: it does not exist"),
        (["--run", "latest", "--images", "new"], 2, "there is no latest run: runs holds no run yet"),
        (["--model", "resnet51", "--images", "."], 2, "unknown variant 'resnet51'; did you mean resnet56, resnet50"),
        (["--model", "resnet50", "--images", "new"], 2, "there is no file or folder new"),
        (["--model", "resnet50", "--images", ".", "--batch_size", "0"], 2, "--batch_size must be at least 1, got 0"),
        (["--model", "resnet50", "--images", ".", "--output", ".."], 2, "the output .. is a folder: name a file in it"),
        (["--model", "resnet50", "--images", ".", "--output", "no/a.csv"], 2, "there is no folder for the output no/a.csv"),
        (["--run", "", "--images", "."], 2, "--run is empty: give a value, or leave it out"),
        (["--run", "latest", "--runs_dir", "other", "--images", "."], 2, "there is no latest run: other holds no run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_help_and_typos_are_answered_before_torch_is_imported(tmp_path: Path, arguments: list[str], status: int, said: str):
    command = [sys.executable, "-c", PROGRAM, json.dumps(["predict", *arguments])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [status, []]
    assert said in done.stdout + done.stderr


CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def classify(lit_cnn: Command, photo_runs: Path, tmp_path: Path) -> Command:
    """Classifies the images in the folder ``new`` with the run: three of each class, in folders of their names."""
    write_photos(tmp_path / "new", CLASSES, 3)

    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        images = [] if "--images" in options else ["--images", "new"]
        return lit_cnn("predict", "--run", "latest", "--runs_dir", photo_runs, *images, *options)

    return run


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as content:
        return list(csv.DictReader(content))


def breaks(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:40])
    return file


def test_a_broken_file_is_named_with_what_to_do(classify: Command, tmp_path: Path):
    breaks(tmp_path / "new" / "bee" / "1.jpg")
    done = classify()
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "new/bee/1.jpg cannot be decoded as an image" in line
    assert line.endswith("; --on_bad_image skip leaves out such files")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_broken_files_are_left_out_if_asked_for(classify: Command, tmp_path: Path):
    breaks(tmp_path / "new" / "ant" / "0.png")
    breaks(tmp_path / "new" / "bee" / "1.jpg")
    done = classify("--on_bad_image", "skip", "--batch_size", "2")
    assert done.returncode == 0
    rows = rows_of(tmp_path / "predictions.csv")
    assert len(rows) == 7
    assert [row["label"] for row in rows] == [row["file"].split("/")[1] for row in rows]
    assert not {"new/ant/0.png", "new/bee/1.jpg"} & {row["file"] for row in rows}
    warnings = [line for line in done.stderr.splitlines() if line.startswith("lit-cnn: warning: left out: new/")]
    assert len(warnings) == 2
    assert "7 predictions in predictions.csv" in done.stderr
    whole = classify("--batch_size", "2", "--images", "new/cat")
    assert whole.returncode == 0
    assert [{**row, "label": "cat"} for row in rows_of(tmp_path / "predictions.csv")] == rows[-3:]


def test_many_broken_files_are_counted(classify: Command, tmp_path: Path):
    for path in sorted((tmp_path / "new").rglob("*.*"))[:7]:
        breaks(path)
    done = classify("--on_bad_image", "skip")
    assert done.stderr.count("lit-cnn: warning: left out: new/") == 5
    assert "lit-cnn: warning: left out: 2 more files that cannot be read" in done.stderr


def test_a_network_that_is_not_there_is_named(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "empty.ckpt").touch()
    for option, value, message in (
        ("--ckpt_path", "none", "--ckpt_path: there is no file none"),
        ("--ckpt_path", "empty.ckpt", "empty.ckpt is not a whole checkpoint: it is empty"),
        ("--model", "mlp", "torchvision has no weights of mlp: train it with lit-cnn fit, and name the run"),
    ):
        for command in ("predict", "explain"):
            done = lit_cnn(command, option, value, "--images", "new")
            assert done.returncode == 2
            assert done.stderr == f"lit-cnn: error: {message}\n"


def test_it_fails_if_nothing_can_be_classified(classify: Command, tmp_path: Path):
    for path in sorted((tmp_path / "new").rglob("*.*")):
        breaks(path)
    (tmp_path / "predictions.csv").write_text("earlier", encoding="utf-8")
    done = classify("--on_bad_image", "skip")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "lit-cnn: error: none of 9 images can be read"
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8") == "earlier"


def test_names_of_files_keep_their_bytes(classify: Command, tmp_path: Path):
    names = [b"caf\xe9.png", b"line\nbreak.png", b'a "quoted", name.png', "été 猫.png".encode()]
    for name in names:
        shutil.copy(tmp_path / "new" / "ant" / "0.png", os.path.join(os.fsencode(tmp_path / "new"), name))  # noqa: PTH118
    done = classify("--output", "out.csv")
    assert done.returncode == 0, done.stderr
    assert {os.fsencode(row["file"]) for row in rows_of(tmp_path / "out.csv")} >= {b"new/" + name for name in names}
    assert "13 predictions in out.csv" in done.stderr


def test_images_in_folders_of_their_classes_give_an_accuracy(classify: Command, tmp_path: Path):
    shutil.move(tmp_path / "new" / "cat" / "0.png", tmp_path / "new")
    done = classify()
    rows = rows_of(tmp_path / "predictions.csv")
    right = sum(row["class"] == row["label"] for row in rows)
    assert [row["label"] for row in rows] == ["", *["ant"] * 3, *["bee"] * 3, *["cat"] * 2]
    assert f"): {right} of 8 images with a label are right" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith(f"accuracy {right / 8:.1%} (95 % interval ")


def test_images_that_are_given_twice_are_all_answered(classify: Command, tmp_path: Path):
    assert classify("--images", "new/ant", "--images", "new/bee").returncode == 0
    assert len(rows_of(tmp_path / "predictions.csv")) == 6


def test_a_table_with_labels_gives_an_accuracy(classify: Command, tmp_path: Path):
    (tmp_path / "table.csv").write_text(
        "path,label\nnew/ant/0.png,ant\nnew/bee/0.png,\nnew/cat/0.png,dog\nnew/none.png,cat\n", encoding="utf-8"
    )
    assert "table.csv, line 5: there is no file new/none.png" in classify("--images", "table.csv").stderr
    done = classify("--images", "table.csv", "--on_bad_image", "skip")
    assert done.returncode == 0
    assert "left out: there is no file new/none.png\n" in done.stderr
    assert [row["label"] for row in rows_of(tmp_path / "predictions.csv")] == ["ant", "", "dog"]
    assert "of 2 images with a label are right; 1 count as wrong: the network does not know their labels" in done.stderr


def test_labels_that_the_network_does_not_know_are_counted(classify: Command, tmp_path: Path):
    (tmp_path / "table.csv").write_text("path,label\nnew/ant/0.png,zebra\n", encoding="utf-8")
    said = classify("--images", "table.csv").stderr
    assert said.endswith("no accuracy: 1 images have labels that the network does not know\n")
    shutil.move(tmp_path / "new" / "cat", tmp_path / "new" / "bird")
    done = classify()
    assert [row["label"] for row in rows_of(tmp_path / "predictions.csv")] == [*["ant"] * 3, *["bee"] * 3, *["bird"] * 3]
    assert "of 9 images with a label are right; 3 count as wrong: the network does not know their labels" in done.stderr


def test_images_without_labels_have_three_columns(classify: Command, tmp_path: Path):
    done = classify("--images", "new/ant", "--output", "-")
    assert next(csv.reader(done.stdout.splitlines())) == ["file", "class", "probability"]
    assert len(done.stdout.splitlines()) == 4
    assert "accuracy" not in done.stderr
    assert done.stderr.startswith("3 predictions (")
    assert not (tmp_path / "predictions.csv").exists()


def test_the_home_folder_can_be_named(classify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert classify("--images", "~/new/ant", "--output", "~/out.csv").returncode == 0
    assert rows_of(tmp_path / "out.csv")[0]["file"] == str(tmp_path / "new" / "ant" / "0.png")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("end", "status"),
    [(KeyboardInterrupt, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (OSError(28, "No space left"), 1)],
)
def test_an_output_is_whole_or_not_there(
    classify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: object, status: int
):
    def interrupted(*arguments: object):
        yield from list(predict(*arguments))[:2]
        if isinstance(end, signal.Signals):
            os.kill(os.getpid(), end)
        else:
            raise end

    monkeypatch.setattr("lit_cnn.inference.trained.predict", interrupted)
    (tmp_path / "predictions.csv").write_text("earlier", encoding="utf-8")
    done = classify()
    assert done.returncode == status
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8") == "earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"new", "predictions.csv"}
    if status == 1:
        assert done.stderr == "lit-cnn: error: the output predictions.csv cannot be written: No space left\n"


def test_an_output_that_cannot_be_written_is_one_line(classify: Command, tmp_path: Path):
    done = classify("--output", "/dev/full")
    assert done.returncode == 1
    assert done.stderr == "lit-cnn: error: the output /dev/full cannot be written: No space left on device\n"
    assert classify("--output", "/dev/null").returncode == 0
    (tmp_path / "link.csv").symlink_to("target.csv")
    assert classify("--output", "link.csv").returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert len(rows_of(tmp_path / "target.csv")) == 9


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("new/ant/0.png", "has the name of an image"),
        ("new.JPEG", "has the name of an image"),
        ("my.ckpt", "has the name of a checkpoint"),
        ("link", "has the name of an image"),
        ("table.csv", "would replace table.csv, which is read"),
        ("picture", "would replace picture, which is read"),
        ("lost.csv", "there is no folder for the output lost.csv: it is a link to /nowhere/lost.csv"),
    ],
)
def test_an_output_replaces_nothing_that_is_read(classify: Command, tmp_path: Path, output: str, told: str):
    (tmp_path / "table.csv").write_text("path\npicture\n", encoding="utf-8")
    shutil.copy(tmp_path / "new" / "ant" / "0.png", tmp_path / "picture")
    (tmp_path / "link").symlink_to("new/ant/0.png")
    (tmp_path / "lost.csv").symlink_to("/nowhere/lost.csv")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = classify("--images", "table.csv", "--output", output)
    assert done.returncode == 2
    assert told in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_output_replaces_no_file_of_a_run(classify: Command, photo_runs: Path):
    run = next(photo_runs.glob("*/*/*"))
    for name in ("config.yaml", "checkpoints/new.csv"):
        done = classify("--output", run / name)
        assert done.returncode == 2
        assert f"is in the folder of the run {run}: name a file elsewhere" in done.stderr


def test_the_folder_of_the_images_can_hold_the_output(classify: Command, tmp_path: Path):
    (tmp_path / "predictions.csv.partial").write_text("mine", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"left out: 1 of 10 files \(1 \.partial\), for example predictions\.csv\.partial"):
        assert classify("--images", ".").returncode == 0
    assert (tmp_path / "predictions.csv.partial").read_text(encoding="utf-8") == "mine"
    content = (tmp_path / "predictions.csv").read_bytes()
    assert content.count(b"\n") == 10
    assert b"\r" not in content
    assert {path.name for path in tmp_path.iterdir()} == {"new", "predictions.csv", "predictions.csv.partial"}


def test_two_outputs_of_one_name_are_each_whole(tmp_path: Path):
    path, plain = tmp_path / "out.csv", tmp_path / "plain"
    with open_output(path) as one, open_output(path) as other:
        one.write("one\n")
        other.write("other\n")
    assert path.read_text(encoding="utf-8") == "one\n"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert {file.name for file in tmp_path.iterdir()} == {"out.csv", "plain"}


# Writes rows to the output that is named, as a command does.
WRITER = """
import sys
from pathlib import Path
from lit_cnn.commands.output import check_output, open_output
from lit_cnn.system.terminal import readable_output
with readable_output(must_succeed=True):
    print("said")
    check_output(Path(sys.argv[1]))
    with open_output(Path(sys.argv[1])) as file:
        file.write("row\\n")
"""


@pytest.mark.parametrize(
    ("output", "redirection"),
    [
        ("/dev/stdout", ">> log.txt"),
        ("/proc/self/fd/1", ">> log.txt"),
        ("link", ">> log.txt"),
        ("log.txt", ">> log.txt"),
        ("/dev/stderr", "2>> log.txt"),
        ("/dev/fd/3", "3>> log.txt"),
    ],
)
def test_a_file_that_is_open_already_is_appended_to(tmp_path: Path, output: str, redirection: str):
    (tmp_path / "log.txt").write_text("earlier\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "writer.py").write_text(WRITER, encoding="utf-8")
    command = f"{sys.executable} writer.py {output} {redirection}"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=60)
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [lines[0], lines[-1]] == ["earlier", "row"]
    assert {path.name for path in tmp_path.iterdir()} == {"link", "log.txt", "writer.py"}


def test_a_table_lists_names_of_any_bytes(classify: Command, tmp_path: Path):
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(tmp_path / "new" / "ant" / "0.png", tmp_path / name)
    (tmp_path / "table.csv").write_bytes(b"path\ncaf\xe9.png\n")
    assert classify("--images", "table.csv").returncode == 0
    assert [row["file"] for row in rows_of(tmp_path / "predictions.csv")] == [name]


def test_python_leaves_out_broken_files_too(photo_runs: Path, tmp_path: Path):
    write_photos(tmp_path / "new", ("ant",), 4)
    breaks(tmp_path / "new" / "ant" / "1.jpg")
    run: Trained = load_run(next(photo_runs.glob("*/*/*")), device="cpu")
    with pytest.raises(ValueError, match=r"1\.jpg cannot be decoded"):
        run.predict(tmp_path / "new")
    with pytest.warns(UserWarning, match=r"left out 1 of 4 images: .*1\.jpg cannot be decoded"):
        predictions = run.predict(tmp_path / "new", on_bad_image="skip")
    assert [prediction.file.name for prediction in predictions] == ["0.png", "2.png", "3.jpg"]
    with pytest.raises(ValueError, match="no image can be classified"):
        run.predict(tmp_path / "new" / "ant" / "1.jpg", on_bad_image="skip")
    with pytest.raises(ValueError, match="on_bad_image must be error or skip, got 'ignore'"):
        run.predict(tmp_path / "new", on_bad_image="ignore")
