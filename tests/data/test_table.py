"""Tables of images."""

import csv
import re
from pathlib import Path

import pytest
from conftest import Command

from lit_cnn.data import ImageTable
from lit_cnn.data.manifest import Manifest


def write_table(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("path", "label")) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def rows_of(photos: Path) -> list[tuple[str, str]]:
    return [(f"{file.parent.name}/{file.name}", file.parent.name.upper()) for file in sorted(photos.rglob("*.*"))]


def table_of(table: str, **arguments: object) -> ImageTable:
    return ImageTable(table, **{"image_size": 16, "cache_dir": None} | arguments)


def test_a_table_lists_images_and_labels(photos: Path, tmp_path: Path):
    rows = rows_of(photos)
    data = table_of(write_table(photos / "list.csv", rows))
    data.setup("fit")
    assert (data.name, data.class_names, data.channels) == ("list", ("ANT", "BEE", "CAT"), 3)
    assert sum(map(sum, data.counts().values())) == 60
    elsewhere = table_of(write_table(tmp_path / "list.csv", rows), data_dir=str(photos))
    assert elsewhere.manifest == data.manifest


def test_splits_and_groups_come_from_columns(photos: Path):
    rows = rows_of(photos)
    splits = [(*row, ("Training", "valid", "test")[number % 3]) for number, row in enumerate(rows)]
    data = table_of(write_table(photos / "list.csv", splits, ("path", "label", "split")))
    assert {split: sum(counts) for split, counts in data.counts().items()} == {"train": 20, "val": 20, "test": 20}
    groups = [(*row, f"g{number % 10}") for number, row in enumerate(rows)]
    data = table_of(write_table(photos / "list.csv", groups, ("path", "label", "group")))
    found = {}
    for entry in data.manifest.entries:
        found.setdefault(entry.group, set()).add(entry.split)
    assert len(found) == 10
    assert all(len(splits) == 1 for splits in found.values())


def test_names_of_columns_have_any_capitals(photos: Path):
    rows = [(*row, ("train", "val", "test")[number % 3], f"g{number % 3}") for number, row in enumerate(rows_of(photos))]
    data = table_of(write_table(photos / "list.csv", rows, ("Path", "LABEL", "Split", "Group")))
    assert {split: sum(counts) for split, counts in data.counts().items()} == {"train": 20, "val": 20, "test": 20}
    assert {entry.group for entry in data.manifest.entries} == {"g0", "g1", "g2"}


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_tabs_and_other_columns_are_understood(photos: Path, delimiter: str):
    text = "\ufeff" + delimiter.join(("note", "path", "label")) + "\r\n"
    text += "".join(f"x, y{delimiter}{path}{delimiter}{label}\r\n\r\n" for path, label in rows_of(photos))
    (photos / "list.csv").write_text(text, encoding="utf-8", newline="")
    assert len(table_of(str(photos / "list.csv")).manifest.entries) == 60


def change(rows: list[tuple[str, ...]], line: int, *cells: str) -> list[tuple[str, ...]]:
    return [cells if number == line - 2 else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("nowhere.jpg", "ANT"), r"line 4: there is no file .*photos/nowhere\.jpg; paths are relative to .*photos"),
        (("/photos/ant/0.png", "ANT"), r"line 4: /photos/ant/0\.png is absolute; paths are relative to .*photos"),
        (("ant/0.png", ""), "line 4: no label"),
        (("", "ANT"), "line 4: no path"),
        (("ant/0.png", "BEE"), r"line 4: ant/0\.png is in line 2 already"),
        (("ant/0.png",), "line 4: 1 cells, but the header has 2"),
    ],
)
def test_a_wrong_row_is_named(photos: Path, line: tuple[str, ...], told: str):
    with pytest.raises(ValueError, match=rf"list\.csv, {told}"):
        table_of(write_table(photos / "list.csv", change(rows_of(photos), 4, *line))).setup("fit")


def test_a_file_is_listed_once_however_its_path_is_written(photos: Path):
    rows = [*rows_of(photos), (".\\ant\\0.png", "ANT")]
    with pytest.raises(ValueError, match=r"line 62: ant/0\.png is in line 2 already"):
        table_of(write_table(photos / "list.csv", rows)).setup("fit")


@pytest.mark.parametrize(
    ("split", "told"),
    [("", "line 3: no split, although other lines have one"), ("exam", "line 3: the split must be train, val or test, got")],
)
def test_a_wrong_split_is_named(photos: Path, split: str, told: str):
    rows = [(*row, "train") for row in rows_of(photos)]
    table = write_table(photos / "list.csv", change(rows, 3, *rows[1][:2], split), ("path", "label", "split"))
    with pytest.raises(ValueError, match=told):
        table_of(table).setup("fit")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"has no rows below its header"),
        ("path,label\n", r"has no rows below its header"),
        ("file,label\na.jpg,x\n", r"has no column path; it has file, label"),
        ("path,label,Label\na.jpg,x,y\n", r"has 2 columns label: remove all but one"),
        (
            'path,label,note\na.jpg,x,"blurry\nb.jpg,x,\n',
            r"is not a CSV file: unexpected end of data; a quote that is not clo",
        ),
        ('path,label\na.jpg,"x\nb.jpg,x"\n', r"line 3: the label has several lines; a quote that is not closed\?"),
        (b"path,label,caf\xe9\n0.jpg,x,\n", r"is not a CSV file in UTF-8"),
        (b"path,label\nant/0.png,K\xe4fer\n", r"line 2: the label is not in UTF-8; save the table as a CSV file in UTF-8"),
    ],
)
def test_what_is_no_table_of_images_is_refused(photos: Path, content: str | bytes, told: str):
    (photos / "list.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=told):
        table_of(str(photos / "list.csv")).setup("fit")


def test_a_class_must_be_in_every_split_that_is_given(photos: Path):
    rows = [(*row, "test" if row[0].startswith("ant/1") else "train") for row in rows_of(photos)]
    with pytest.raises(ValueError, match=r"the split test differ .*; missing: BEE, CAT"):
        table_of(write_table(photos / "list.csv", rows, ("path", "label", "split"))).setup("fit")


def test_a_parquet_file_is_a_table(photos: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    paths, labels = zip(*rows_of(photos), strict=True)
    parquet.write_table(pyarrow.table({"path": paths, "label": labels}), photos / "list.parquet")
    assert len(table_of(str(photos / "list.parquet")).manifest.entries) == 60


def test_without_pyarrow_a_parquet_file_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (photos / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"list\.parquet: Parquet is read with pyarrow: pip install pyarrow"):
        table_of(str(photos / "list.parquet")).setup("fit")


def test_the_commands_take_a_table(lit_cnn: Command, photos: Path, tmp_path: Path):
    rows = rows_of(photos)
    table = write_table(photos / "list.csv", rows)
    fit = ("fit", "--model", "LitLeNet", "--data", table, "--data.image_size", "28", "--trainer.max_epochs", "1")
    done = lit_cnn(*fit, "--name", "run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "list" / "lenet" / "run"
    elsewhere = write_table(tmp_path / "elsewhere.csv", [(path.replace("/", "\\"), label) for path, label in rows])
    predict = ("predict", "--run", run, "--images", elsewhere)
    assert lit_cnn(*predict, "--data_dir", photos).returncode == 0
    assert "elsewhere.csv, line 2: there is no file" in lit_cnn(*predict).stderr
    assert "elsewhere.csv, which is read: name another" in lit_cnn(*predict, "--output", elsewhere).stderr
    with pytest.warns(UserWarning, match="49 images that the run was trained or validated with, left out"):
        tested = lit_cnn("test", "--run", run, "--data", photos)  # the same images in a folder, with other names of classes
    assert "differ" in tested.stderr
    training = Manifest.read(run / "data.json").of("train")[0]
    write_table(photos / "list.csv", [row for row in rows if row[0] != training.path])
    with pytest.warns(UserWarning, match=rf"1 of the run's .* images differ: {re.escape(training.path)} \(missing\)"):
        tested = lit_cnn("test", "--run", run)
    assert tested.returncode == 0, tested.stderr
    write_table(photos / "list.csv", rows)
    predicted = lit_cnn("predict", "--run", run, "--images", table)
    assert predicted.returncode == 0, predicted.stderr
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 61
    (photos / "cat" / "0.png").unlink()
    assert (
        f"list.csv, line {rows.index(('cat/0.png', 'CAT')) + 2}: there is no file"
        in lit_cnn("predict", "--run", run, "--images", table).stderr
    )
    assert "there is no dataset, folder, archive or table lists.csv" in lit_cnn(*fit[:4], "lists.csv").stderr
