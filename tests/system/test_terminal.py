"""Standard output and error in any encoding, closed, full, or read by nobody."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT

from lit_cnn.system.terminal import NOTICE, READABLE, Output, in_ascii, readable_output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: 3 % \t\n", "plain: 3 % \t\n"),
        ("28×28 · 90 % ±2 … → runs", "28x28 | 90 % +-2 ... -> runs"),
        ("Fußgängerzüge, Ørsted, naïve", "Fussgangerzuge, Orsted, naive"),
        ("┏━┓│╰", "+-+|+"),
        ("½ ﬁve", "1/2 five"),
        ("“Œuvre” – 5 €, Đà Nẵng, ırmak, þ", '"OEuvre" - 5 EUR, Da Nang, irmak, th'),
        ("猫 🐈", r"\u732b \U0001f408"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("\ud800", r"\ud800"),
    ],
)
def test_text_in_ascii_reads_alike(text: str, expected: str):
    assert in_ascii(text) == expected


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp850", "cp932", "cp1252", "koi8-r", "gbk", "utf-8"])
def test_every_encoding_takes_every_character(encoding: str):
    text = "".join(map(chr, range(32, 0x110000, 29))) + "×·…±"
    written = text.encode(encoding, READABLE).decode(encoding)
    assert "\ufffd" not in written
    assert "28×28".encode("cp1252", READABLE) == "28×28".encode("cp1252")  # what can be shown is


# Prints lines as a command does, more than a pipe holds, and then says on standard error and in a file that it ended.
PROGRAM = """
import sys
from lit_cnn.system.terminal import readable_output
with readable_output(must_succeed=sys.argv[1] == "strict"):
    for number in range(5000):
        print(f"line {number} of 28×28 猫", flush=True)
    print("over…", file=sys.stderr)
    open("end", "x").close()
    assert open("end").fileno() > 2
"""


def run_in_shell(folder: Path, redirection: str, encoding: str = "utf-8", strict: bool = False) -> tuple[str, str, bool]:
    """What the program prints, what it says on standard error, and whether it came to its end."""
    command = f"{sys.executable} -c '{PROGRAM}' {'strict' if strict else 'lasting'} {redirection}"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
    return done.stdout.decode(encoding), done.stderr.decode(encoding), (folder / "end").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1"])
def test_a_terminal_shows_what_it_can(tmp_path: Path, encoding: str):
    printed, said, ended = run_in_shell(tmp_path, "", encoding)
    size = "28×28" if encoding == "latin-1" else "28x28"
    assert printed.splitlines()[0] == rf"line 0 of {size} \u732b"
    assert said == "over...\n"
    assert ended


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (">&-", ""),
        (">&- 2>&-", ""),
        ("<&- >&- 2>&-", ""),
        ("2>&-", ""),
        ("2>/dev/full", ""),
        (">/dev/full", "(No space left on device)"),
        ("| head -n 1", "(Broken pipe)"),
        ("1</dev/null", "(Bad file descriptor)"),
    ],
)
def test_a_training_continues_when_its_output_cannot_be_written(tmp_path: Path, redirection: str, reason: str):
    _, said, ended = run_in_shell(tmp_path, redirection)
    assert ended, said
    assert said.splitlines() == [*[NOTICE.format(reason[1:-1])] * bool(reason), *["over…"] * ("2>" not in redirection)]


def test_another_command_ends_when_its_output_cannot_be_written(tmp_path: Path):
    assert (
        "standard output cannot be written to: No space left on device"
        in run_in_shell(tmp_path, ">/dev/full", strict=True)[1]
    )
    assert not (tmp_path / "end").exists()


def test_a_full_pipe_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    output, content = Output(writing), bytes(1_000_000)
    reader = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reading, 65536), b"")))
    received: list[bytes] = []
    reader.start()
    with io.BufferedWriter(output) as buffered:
        buffered.write(content)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(received) == content


def test_streams_that_are_no_files_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with readable_output(must_succeed=True):
        print("28×28")
    assert sys.stdout is stream
    assert stream.getvalue() == "28×28\n"
