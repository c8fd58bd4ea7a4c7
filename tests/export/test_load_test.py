"""What the load test prints when nothing can be measured."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lit_cnn.export.load_test import main


class Refusing(BaseHTTPRequestHandler):
    """Answers as a server whose key is missing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"error": "wrong key"}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.png"], "none.png: No such file or directory"),
        (["a.png"], "the server answers 401: wrong key"),
        (["a.png", "--clients", "0"], "--clients and --requests must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    words: list[str],
    message: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "a.png").write_bytes(b"image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["load_test", address, *words])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"python -m lit_cnn.export.load_test: error: {message}\n"


def test_a_missing_server_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.png").write_bytes(b"image")
    with HTTPServer(("127.0.0.1", 0), Refusing) as closed:
        address = f"http://127.0.0.1:{closed.server_port}"
    monkeypatch.setattr(sys, "argv", ["load_test", address, str(tmp_path / "a.png")])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"error: there is no server at {address} (" in printed.err
    assert printed.err.count("\n") == 1
