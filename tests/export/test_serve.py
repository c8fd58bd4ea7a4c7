"""``lit-cnn serve`` as its clients see it: right answers for many at a time, refusals for bad uploads, and a quiet end."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import Command, run_process
from PIL import Image

from lit_cnn.export.load_test import measure
from lit_cnn.export.serve import is_local, listen, page
from lit_cnn.inference.trained import load_run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "nowhere"], "nowhere is not a run folder: it does not exist"),
        (["--ckpt_path", "no.ckpt"], "there is no file no.ckpt"),
        (["--ckpt_path", ""], "--ckpt_path is empty"),
        (["--run", "latest", "--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--run", "latest", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["--run", "latest", "--batch_size", "-1"], "--batch_size must be at least 1, got -1"),
        (["--run", "latest", "--threads", "100000"], "--threads must be from 1 to"),
        (["--run", "latest", "--max_mb", "nan"], "--max_mb must be from 0.001 to 1000, got nan"),
        (["--run", "latest", "--batch_wait_ms", "-1"], "--batch_wait_ms must be from 0 to 10000, got -1"),
        (["--run", "latest", "--api_key", "é"], "the API key must be letters, digits and signs of ASCII"),
        (["--run", "latest", "--hots", "x"], "unknown option --hots; did you mean --host?"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_wrong_options_are_refused_in_one_line(lit_cnn: Command, options: list[str], message: str):
    done = lit_cnn("serve", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_an_address_in_use_is_reported_with_what_to_do():
    with listen("127.0.0.1", 0) as taken, pytest.raises(ValueError, match=r"in use.*choose another --port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ValueError, match=r"--host not\.an\.address\.invalid is no address"):
        listen("not.an.address.invalid", 0)
    assert [host for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "10.0.0.1") if is_local(host)] == [
        "127.0.0.1",
        "localhost",
        "::1",
    ]


def test_the_page_holds_all_it_needs_and_escapes_names():
    html, policy = page("<b>run</b>\u202e", needs_key=True)
    assert "<b>run" not in html
    assert "&lt;b&gt;run&lt;/b&gt;\\u202e" in html
    assert 'id="key"' in html
    assert 'id="key"' not in page("run", needs_key=False)[0]
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(", html)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', html)) == {"data:,"}
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


class Server:
    """A server in processes of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "server.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LIT_CNN")}
        command = [sys.executable, "-m", "lit_cnn", "serve", "--run", "latest", "--port", "0", "--threads", "1", *options]
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        self.line = self.process.stdout.readline()
        found = re.fullmatch(r"\S+ is served at http://(\S+) \(Ctrl-C ends it\)\n", self.line)
        assert found, self.log.read_text(encoding="utf-8")
        self.place = found[1]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.place, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def end(self, by: signal.Signals, group: bool = False) -> tuple[int, str]:
        """Ends the server; its status, and what it has printed since it began."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        (os.killpg if group else os.kill)(self.process.pid, by)
        printed, _ = self.process.communicate(timeout=60)
        _, left = psutil.wait_procs(processes, timeout=10)
        assert not left
        return self.process.returncode, printed + self.log.read_text(encoding="utf-8")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


DIGITS = [png(np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)) for seed in range(7)]


def form(content: bytes, field: str = "image") -> dict[str, Any]:
    head = f'--xx\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'.encode()
    return {"body": head + content + b"\r\n--xx--\r\n", "Content_Type": "multipart/form-data; boundary=xx"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("litserve")
    place = tmp_path_factory.mktemp("served")
    options = ["--data.image_size", "28", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    done = run_process(place, "fit", "--model", "lenet", "--data", "digits", *options)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    started = Server(folder, "--max_mb", "1")
    yield started
    status, printed = started.end(signal.SIGTERM)
    assert status == 0
    assert printed == ""  # of all the tests together


@pytest.mark.slow
def test_many_clients_get_what_predict_gives(server: Server, folder: Path):
    load = measure(f"http://{server.place}", DIGITS, clients=8, requests=200)
    assert load.problems == []
    assert len(load.milliseconds) == 200
    (run,) = (path.parent for path in folder.rglob("config.yaml"))
    trained = load_run(run, device="cpu")
    for file in DIGITS:
        status, answer = server.ask("POST", "/predict", **form(file))
        expected = trained.predict(Image.open(io.BytesIO(file)))
        assert status == 200
        assert json.loads(answer)["class"] == expected.class_name
        assert dict(json.loads(answer)["top"]) == pytest.approx(dict(expected.top()), abs=1e-6)
    status, answer = server.ask("POST", "/predict", **form(DIGITS[0]) | {"Accept_Encoding": "identity"})
    assert status == 200


@pytest.mark.slow
def test_a_heat_map_is_sent_on_request(server: Server):
    body = form(DIGITS[0])
    body["body"] = body["body"].replace(
        b"--xx--", b'--xx\r\nContent-Disposition: form-data; name="heat_map"\r\n\r\ntrue\r\n--xx--'
    )
    status, answer = server.ask("POST", "/predict", **body)
    assert status == 200
    assert {"pixels", "heat_map"} < json.loads(answer).keys()


@pytest.mark.slow
def test_the_page_and_the_health_are_there_and_nothing_else(server: Server):
    status, html = server.ask("GET", "/")
    assert status == 200
    assert html.startswith(b"<!DOCTYPE html>")
    assert server.ask("GET", "/health") == (200, b"ok")
    for path in ("/docs", "/redoc", "/openapi.json", "/info", "/shutdown", "/../README.md"):
        assert server.ask("GET", path) == (404, b'{"error": "Not Found"}\n')
    assert server.ask("GET", "/predict")[0] == 405


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("upload", "status"),
    [
        (form(bomb()), 422),
        (form(DIGITS[0][:50]), 422),
        (form(b"hello"), 422),
        (form(b""), 422),
        (form(DIGITS[0], "picture"), 400),
        (form(b"x" * 100_000_000), 413),
        ({"body": b"", "Content_Type": "application/json"}, 400),
        ({"body": b"{nonsense", "Content_Type": "application/json"}, 400),
        ({"body": b"\x00\xff" * 99, "Content_Type": "multipart/form-data; boundary=xx"}, 400),
        ({"body": iter([b"x" * 65_536] * 200), "Content_Type": "application/json"}, 413),
        ({"body": b"", "Content_Type": ""}, 415),
    ],
    ids=["bomb", "cut off", "text", "empty", "field", "100 MB", "nothing", "no JSON", "no form", "in chunks", "no type"],
)
def test_a_bad_upload_gets_one_line_and_harms_nobody(server: Server, upload: dict[str, Any], status: int):
    got, answer = server.ask("POST", "/predict", **upload)
    assert got == status
    assert list(json.loads(answer)) == ["error"]
    assert answer.count(b"\n") == 1
    assert server.ask("POST", "/predict", **form(DIGITS[0]))[0] == 200


@pytest.mark.slow
def test_clients_that_leave_early_or_talk_nonsense_harm_nobody(server: Server):
    host, port = server.place.split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\nabc"
    for content in (head, b"nonsense\r\n\r\n", b"\x16\x03\x01\x00"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(content)
    assert server.ask("POST", "/predict", **form(DIGITS[0]))[0] == 200


@pytest.mark.slow
def test_a_key_is_asked_for_and_ctrl_c_ends_all_processes_at_once(folder: Path):
    server = Server(folder, "--api_key", "secret", "--host", "0.0.0.0", "--batch_wait_ms", "5")
    assert server.ask("POST", "/predict", **form(DIGITS[0]))[0] == 401
    status, answer = server.ask("POST", "/predict", **form(DIGITS[0]), X_API_Key="wrong")
    assert (status, answer.count(b"\n")) == (401, 1)
    assert server.ask("POST", "/predict", **form(DIGITS[0]), X_API_Key="secret")[0] == 200
    assert server.ask("GET", "/")[0] == 200
    assert server.end(signal.SIGINT, group=True) == (130, "")


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_read_is_named_in_one_line(tmp_path: Path):
    pytest.importorskip("litserve")
    (tmp_path / "bad.ckpt").write_bytes(b"nonsense")
    done = run_process(tmp_path, "serve", "--ckpt_path", "bad.ckpt", "--port", "0", "--host", "0.0.0.0")
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()
    assert "anyone who reaches port 0 of this machine can use the server" in warning
    assert error.startswith("lit-cnn: error: bad.ckpt")
