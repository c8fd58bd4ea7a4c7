"""``lit-cnn report``: one page, whole or not at all, or one line that says what is wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from conftest import Command
from html_pages import check_page

from lit_cnn.runs.folder import Run

RUN = "runs/digits/lenet/first"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of which only the beginning was written."""
    run = Run(tmp_path / RUN)
    run.path.mkdir(parents=True)
    run.config.write_text("seed_everything: 0\n", encoding="utf-8")
    run.write_environment("cpu", "32-true", 1, "digits", "lenet")
    return run


def test_the_page_lies_in_the_folder_of_the_run(run: Run, lit_cnn: Command):
    done = lit_cnn("report", "latest")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{RUN}/report.html\n", "")
    check_page((run.path / "report.html").read_text(encoding="utf-8"))
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "environment.json", "report.html"}


@pytest.mark.usefixtures("run")
def test_another_file_can_be_named(lit_cnn: Command):
    done = lit_cnn("report", RUN, "--output", "page.html", "--num_images", "0")
    assert (done.returncode, done.stdout) == (0, "page.html\n")
    check_page(Path("page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["runs/nothing"],
            "runs/nothing is not a run folder: it does not exist; lit-cnn runs lists the runs that there are",
        ),
        (["latest", "--runs_dir", "empty"], "there is no latest run: empty holds no run yet"),
        ([RUN, "--output", "runs"], "the output runs is a folder: name a file in it"),
        ([RUN, "--output", "nowhere/page.html"], "there is no folder for the output nowhere/page.html"),
        ([RUN, "--output", f"{RUN}/config.yaml"], "is no name of a page: name a file that ends with .html"),
        ([RUN, "--num_images", "51"], "the number of images must be from 0 to 50, got 51"),
    ],
)
@pytest.mark.usefixtures("run")
def test_what_is_wrong_is_one_line(lit_cnn: Command, arguments: list[str], message: str):
    done = lit_cnn("report", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_on_a_full_disk_an_earlier_page_stays(run: Run, lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    page = run.path / "report.html"
    page.write_text("earlier", encoding="utf-8")

    def fail(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    done = lit_cnn("report", RUN)
    assert done.returncode == 1
    assert done.stderr == f"lit-cnn: error: the output {RUN}/report.html cannot be written: No space left on device\n"
    assert page.read_text(encoding="utf-8") == "earlier"
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "environment.json", "report.html"}
