"""``lit-cnn embed``: the file of features."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Command, write_photos

from lit_cnn.inference.loading import load_run

FILES = ("0.png", "1.jpg", "2.png")


@pytest.fixture
def options(photo_runs: Path, tmp_path: Path) -> list[str]:
    """Those of the run; the folder ``new`` has three images of each of two classes."""
    write_photos(tmp_path / "new", ("ant", "bee"), 3)
    return ["--run", "latest", "--runs_dir", str(photo_runs)]


def test_a_file_of_numpy_holds_features_files_and_labels(lit_cnn: Command, options: list[str], photo_runs: Path):
    done = lit_cnn("embed", *options, "--images", "new", "--batch_size", "4")
    assert done.returncode == 0
    assert done.stderr.startswith("84 features of 6 images in features.npz (")
    run = load_run(next(photo_runs.glob("*/*/*")))
    with np.load("features.npz") as arrays:
        assert arrays["features"].dtype == np.float32
        np.testing.assert_allclose(arrays["features"], run.embed("new"), rtol=0, atol=1e-6)
        assert arrays["files"].tolist() == [f"new/{name}/{file}" for name in ("ant", "bee") for file in FILES]
        assert arrays["labels"].tolist() == ["ant"] * 3 + ["bee"] * 3
    assert lit_cnn("embed", *options, "--images", "new/bee", "--output", "bee.npz").returncode == 0
    with np.load("bee.npz") as arrays:
        assert sorted(arrays) == ["features", "files"]


@pytest.mark.slow
def test_parquet_holds_the_same(lit_cnn: Command, options: list[str]):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("a.npz", "a.parquet"):
        assert lit_cnn("embed", *options, "--images", "new", "--output", name).returncode == 0
    table = parquet.read_table("a.parquet")
    assert table.column_names == ["file", "features", "label"]
    with np.load("a.npz") as arrays:
        assert np.array_equal(np.array(table["features"].to_pylist(), dtype=np.float32), arrays["features"])


def test_bad_images_have_no_row(lit_cnn: Command, options: list[str], tmp_path: Path):
    (tmp_path / "new" / "ant" / "1.jpg").write_bytes(b"no image")
    done = lit_cnn("embed", *options, "--images", "new")
    assert done.returncode == 2
    assert not list(tmp_path.glob("*.npz"))
    done = lit_cnn("embed", *options, "--images", "new", "--on_bad_image", "skip")
    assert "left out: new/ant/1.jpg cannot be decoded" in done.stderr
    with np.load("features.npz") as arrays:
        assert arrays["features"].shape == (5, 84)
        assert len(arrays["files"]) == 5


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("-", "features are written to a file, not to a pipe or a device"),
        ("a.csv", "--output a.csv must end with .npz or .parquet"),
        ("/dev/null", "features are written to a file, not to a pipe or a device"),
    ],
)
def test_features_are_written_to_a_file(lit_cnn: Command, options: list[str], output: str, message: str):
    done = lit_cnn("embed", *options, "--images", "new", "--output", output)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lit-cnn: error: {message}")
