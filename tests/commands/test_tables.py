"""What the commands print as tables."""

import re
import sys

import pytest

from lit_cnn.commands.tables import print_table

ROWS = [("resnet18", 11_689_512), ("a [bold]name[/bold] that is long", 7)]


def test_a_pipe_gets_one_plain_line_for_each_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("name", "parameters"), ROWS, right=["parameters"])
    assert capsys.readouterr().out.splitlines() == [
        "name                              parameters",
        "resnet18                            11689512",
        "a [bold]name[/bold] that is long           7",
    ]


def test_a_narrow_terminal_wraps_and_loses_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(("name", "parameters"), ROWS, right=["parameters"])
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 20
    assert len(lines) > 3
    assert any(line.endswith("11689512") for line in lines)


@pytest.mark.parametrize("width", ["0", "1", "12"])
def test_a_terminal_too_narrow_for_columns_wraps_the_lines_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(("name", "parameters"), ROWS, right=["parameters"])
    assert "a [bold]name[/bold] that is long           7" in capsys.readouterr().out.splitlines()


def test_without_titles_there_is_no_header(capsys: pytest.CaptureFixture[str]):
    print_table(("", ""), [("loss", 0.1), ("accuracy", 0.9)])
    assert capsys.readouterr().out == "loss      0.1\naccuracy  0.9\n"


def test_no_name_steers_the_terminal(capsys: pytest.CaptureFixture[str]):
    print_table(("", ""), [("class", "a\x1b[31mb\n\x9bc")])
    assert capsys.readouterr().out == "class  a\\x1b[31mb\\n\\x9bc\n"
