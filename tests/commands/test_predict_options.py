"""What ``lit-cnn predict`` writes, in which format, and from where it takes the names of images."""

import csv
import gc
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Command, write_photos

from lit_cnn.commands.prediction_rows import PredictionRows, unique_names
from lit_cnn.commands.row_files import Column, open_rows
from lit_cnn.inference.loading import load_run

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def classify(lit_cnn: Command, photo_runs: Path, tmp_path: Path) -> Command:
    """Classifies images with the run; the folder ``new`` has three of each class."""
    write_photos(tmp_path / "new", CLASSES, 3)

    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        return lit_cnn("predict", "--run", "latest", "--runs_dir", photo_runs, *options)

    return run


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_several_classes_and_all_probabilities_are_those_of_python(classify: Command, photo_runs: Path):
    done = classify("--images", "new", "--output", "-", "--top_k", "5", "--all")
    rows = rows_of(done.stdout)
    ranks = ["class", "probability", "class_2", "probability_2", "class_3", "probability_3"]
    assert list(rows[0]) == ["file", *ranks, "label", "p_ant", "p_bee", "p_cat"]
    predictions = load_run(next(photo_runs.glob("*/*/*"))).predict("new")
    for row, prediction in zip(rows, predictions, strict=True):
        top = [cell for name, value in prediction.top(3) for cell in (name, f"{value:.6f}")]
        assert [row[name] for name in ranks] == top
        for name, value in prediction.probabilities.items():
            assert float(row[f"p_{name}"]) == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("2", "class"), ["2", "class"]),
        (("crane", "ant", "crane"), ["crane #0", "ant", "crane #2"]),
        (("crane", "crane #0", "crane"), ["crane #0", "crane #0 #1", "crane #2"]),
    ],
)
def test_columns_of_classes_differ(names: tuple[str, ...], expected: list[str]):
    assert unique_names(names) == expected
    titles = [column.name for column in PredictionRows(names, top_k=3, all_classes=True, has_labels=True).columns()]
    assert len(set(titles)) == len(titles)


def test_a_class_of_low_probability_is_unsure(classify: Command):
    plain = rows_of(classify("--images", "new", "--output", "-").stdout)
    values = sorted(float(row["probability"]) for row in plain)
    limit = (values[3] + values[4]) / 2
    done = classify("--images", "new", "--output", "-", "--min_confidence", str(limit))
    rows = rows_of(done.stdout)
    assert [row["likeliest"] for row in rows] == [row["class"] for row in plain]
    expected = ["unsure" if float(row["probability"]) < limit else row["class"] for row in plain]
    assert [row["class"] for row in rows] == expected
    assert expected.count("unsure") == 4
    assert f"4 of 9 images are unsure: probability below {limit}\n" in done.stderr
    assert "of 5 images with a label are right; 4 more are unsure" in done.stderr
    all_unsure = classify("--images", "new", "--output", "-", "--min_confidence", "1")
    assert "no accuracy: all 9 images with a label are unsure" in all_unsure.stderr


def test_a_class_with_the_separator_of_sets_in_its_name_is_refused():
    assert PredictionRows(("ant", "bee | wasp")).columns()
    with pytest.raises(ValueError, match=r"'bee \| wasp' has ' \| ' in its name, .*: leave out --calibrated"):
        PredictionRows(("ant", "bee | wasp"), has_sets=True)


def test_a_class_that_is_called_unsure_is_refused():
    assert PredictionRows(("sure", "unsure")).columns()
    with pytest.raises(ValueError, match="the network has a class unsure"):
        PredictionRows(("sure", "unsure"), min_confidence=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top_k", "0"], "--top_k must be at least 1, got 0"),
        (["--min_confidence", "80"], "--min_confidence is a probability above 0 and up to 1, got 80.0"),
        (["--min_confidence", "nan"], "--min_confidence is a probability above 0 and up to 1, got nan"),
        (["--threads", "0"], "argument --threads: expected auto or a number of at least 1, got 0"),
        (["--output", "a.csv", "--format", "json"], "--output a.csv has the ending of another format than --format json"),
        (["--images", "new", "-"], "--images - reads paths from standard input: give it alone"),
        (["--images", "-dash.png"], "-dash.png begins as an option does: write ./-dash.png for the file"),
        (["--images", "none/*.jpg"], "no file matches none/*.jpg"),
    ],
)
def test_what_cannot_be_meant_is_refused(classify: Command, tmp_path: Path, options: list[str], message: str):
    (tmp_path / "-dash.png").touch()
    done = classify("--images", "new", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lit-cnn: error: {message}")
    assert done.stderr.count("\n") == 1


def test_json_holds_the_rows_of_csv(classify: Command, tmp_path: Path):
    os.rename(tmp_path / "new" / "ant" / "0.png", os.fsencode(tmp_path / "new") + b"/ant/caf\xe9.png")  # noqa: PTH104
    for chosen in ("csv", "json", "jsonl"):
        done = classify("--images", "new", "--format", chosen, "--all")
        assert done.returncode == 0
        assert done.stderr.count(r"other bytes of names are written as \xe9") == (chosen != "csv")
    rows = rows_of((tmp_path / "predictions.csv").read_text(encoding="utf-8", errors="surrogateescape"))
    objects = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == objects
    assert [list(one) for one in objects] == [list(row) for row in rows]
    assert objects[2]["file"] == r"new/ant/caf\xe9.png"
    rows[2]["file"] = objects[2]["file"]  # a strict reader of JSON refuses other bytes
    for one, row in zip(objects, rows, strict=True):
        assert {name: f"{cell:.6f}" if isinstance(cell, float) else cell for name, cell in one.items()} == row


def test_parquet_refuses_other_bytes_than_utf_8_in_a_line(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    pytest.importorskip("pyarrow")
    with (
        pytest.raises(ValueError, match=r"Parquet holds UTF-8, which 'caf\\udce9.png' is not: give --output another ending"),
        open_rows(tmp_path / "a.parquet", "parquet", [Column("file"), Column("set_90", "texts")]) as rows,
    ):
        rows.write([("caf\udce9.png", ["ant", "bee"])])
    gc.collect()  # what the writer raises when it is forgotten, pytest takes for a warning
    assert not recwarn.list
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_parquet_holds_the_rows_of_csv(classify: Command, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = rows_of(classify("--images", "new", "--output", "-", "--top_k", "2").stdout)
    assert classify("--images", "new", "--output", "a.parquet", "--top_k", "2").returncode == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("probability").type) == "float"
    for one, row in zip(table.to_pylist(), rows, strict=True):
        assert {name: f"{cell:.6f}" if isinstance(cell, float) else cell for name, cell in one.items()} == row
    done = classify("--images", "new", "--output", "-", "--format", "parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Parquet is written to a file, not to a pipe" in done.stderr


def test_without_pyarrow_parquet_is_refused(classify: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = classify("--images", "new", "--output", "a.parquet")
    assert done.returncode == 2
    assert "Parquet is written with pyarrow: pip install pyarrow" in done.stderr


def test_names_come_through_a_pipe(classify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ["new/cat/0.png", "new/lost.png", "new/ant/0.png", "new/ant/1.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(names), encoding="utf-8")
    with (tmp_path / "list.txt").open(encoding="utf-8") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = classify("--images", "-", "--output", "-", "--batch_size", "2", "--on_bad_image", "skip")
    assert [row["file"] for row in rows_of(done.stdout)] == [names[0], *names[2:]]
    assert done.stderr.startswith("lit-cnn: warning: left out: there is no file new/lost.png\n3 predictions (")
    with (tmp_path / "list.txt").open(encoding="utf-8") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = classify("--images", "-", "--output", "-", "--batch_size", "1")
    assert done.returncode == 2
    assert [row["file"] for row in rows_of(done.stdout)] == names[:1]
    assert "there is no file new/lost.png; --on_bad_image skip leaves out such files" in done.stderr
    (tmp_path / "list.txt").write_text("new/cat\n", encoding="utf-8")
    with (tmp_path / "list.txt").open(encoding="utf-8") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = classify("--images", "-")
    assert "new/cat is a folder, and a list names image files; --on_bad_image skip" in done.stderr


def test_an_empty_list_is_refused(classify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty.txt").touch()
    with (tmp_path / "empty.txt").open(encoding="utf-8") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = classify("--images", "-")
    assert done.returncode == 2
    assert done.stderr == "lit-cnn: error: there is no image: the list is empty\n"
    assert not (tmp_path / "predictions.csv").exists()


def test_an_output_does_not_replace_an_image_that_is_piped_in(
    classify: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    picture = (tmp_path / "new" / "ant" / "0.png").rename(tmp_path / "picture").read_bytes()
    (tmp_path / "list.txt").write_text("picture\n", encoding="utf-8")
    with (tmp_path / "list.txt").open(encoding="utf-8") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = classify("--images", "-", "--output", "picture")
    assert done.returncode == 2
    assert "--output picture would replace picture, which is read" in done.stderr
    assert (tmp_path / "picture").read_bytes() == picture


def test_tta_is_that_of_python_and_warns_after_a_training_without_mirror_images(
    classify: Command, photo_runs: Path, monkeypatch: pytest.MonkeyPatch
):
    done = classify("--images", "new/cat", "new/ant/0.png", "--output", "-", "--tta")
    assert "warning" not in done.stderr
    run = load_run(next(photo_runs.glob("*/*/*")))
    assert run.mirrored
    monkeypatch.setattr("lit_cnn.inference.loading.load_run", lambda _: replace(run, mirrored=False))
    warned = classify("--images", "new/cat", "--output", "-", "--tta").stderr
    assert warned.startswith("lit-cnn: warning: --tta averages with mirror images, which training did not see")
    predictions = [*run.predict("new/cat", tta=True), run.predict("new/ant/0.png", tta=True)]
    expected = [(str(one.file), one.class_name, f"{one.probability:.4f}") for one in predictions]
    rows = rows_of(done.stdout)
    assert [(row["file"], row["class"], f"{float(row['probability']):.4f}") for row in rows] == expected
