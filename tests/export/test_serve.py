"""``lit-cnn serve`` as its clients see it: right answers for many at a time, refusals for bad uploads, and a quiet end."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import Command, run_process
from PIL import Image

from lit_cnn.export.load_test import CONTENT_TYPE, make_form, measure
from lit_cnn.export.serve import is_local, listen, page
from lit_cnn.inference.explain import heat_map
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.trained import Trained


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
    with pytest.raises(ValueError, match=r"^--host 192\.0\.2\.1 is no address of this machine: choose another --host$"):
        listen("192.0.2.1", 0)
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


# A server that starts or ends more slowly than this hangs, in seconds.
DEADLINE = 120


class Server:
    """A server of the latest run below ``runs``, in processes of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "server.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LIT_CNN")}
        command = [sys.executable, "-m", "lit_cnn", "serve", "--run", "latest", "--port", "0", "--threads", "1", *options]
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(DEADLINE):
                self.process.kill()
        line = self.process.stdout.readline()
        match = re.fullmatch(r"\S+ is served at http://(\S+) \(Ctrl-C ends it\)\n", line)
        assert match, self.log.read_text(encoding="utf-8")
        self.address = match[1]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what a failed test has left."""
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def ask(self, method: str, path: str, body: Any = None, timeout: float = DEADLINE, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
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
        printed, _ = self.process.communicate(timeout=DEADLINE)
        _, left = psutil.wait_procs(processes, timeout=10)
        assert not left
        return self.process.returncode, printed + self.log.read_text(encoding="utf-8")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_of(base64_png: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(base64_png))))


IMAGES = [png(np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)) for seed in range(7)]


def form(content: bytes, field: str = "image", heat_map: bool = False) -> dict[str, Any]:
    parts = [(field, "a.png", content), *([("heat_map", None, b"true")] if heat_map else [])]
    return {"body": make_form(*parts), "Content_Type": CONTENT_TYPE}


@pytest.fixture(scope="module")
def folder(photo_runs: Path) -> Path:
    """The folder that holds the folder of the runs."""
    pytest.importorskip("litserve")
    return photo_runs.parent


@pytest.fixture(scope="module")
def trained(photo_runs: Path) -> Trained:
    return load_run(next(photo_runs.glob("*/*/*")), device="cpu")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder, "--max_mb", "1") as started:
        yield started
        status, printed = started.end(signal.SIGTERM)
    assert status == 0
    assert printed == ""  # of all the tests together


@pytest.mark.slow
def test_many_clients_get_what_predict_gives(server: Server, trained: Trained):
    load = measure(f"http://{server.address}", IMAGES, clients=8, requests=200)
    assert load.problems == []
    assert len(load.milliseconds) == 200
    for file in IMAGES:
        status, answer = server.ask("POST", "/predict", **form(file))
        expected = trained.predict(Image.open(io.BytesIO(file)))
        assert status == 200
        assert json.loads(answer)["class"] == expected.class_name
        assert dict(json.loads(answer)["top"]) == pytest.approx(dict(expected.top()), abs=1e-6)
    status, answer = server.ask("POST", "/predict", **form(IMAGES[0]) | {"Accept_Encoding": "identity"})
    assert status == 200


@pytest.mark.slow
def test_a_heat_map_is_sent_on_request(server: Server, trained: Trained):
    for file in IMAGES[:2]:
        status, body = server.ask("POST", "/predict", **form(file, heat_map=True))
        assert status == 200
        answer = json.loads(body)
        pixels, _ = trained.reading.decode(io.BytesIO(file))
        np.testing.assert_array_equal(pixels_of(answer["pixels"]), pixels.permute(1, 2, 0))
        expected = 255 * heat_map(trained, pixels, trained.class_names.index(answer["class"]))
        assert expected.max() > 0
        assert np.abs(pixels_of(answer["heat_map"]) - expected).max() <= 1


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
        (form(IMAGES[0][:50]), 422),
        (form(b"hello"), 422),
        (form(b""), 422),
        (form(IMAGES[0], "picture"), 400),
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
    assert server.ask("POST", "/predict", **form(IMAGES[0]))[0] == 200


@pytest.mark.slow
def test_an_announced_size_is_refused_before_the_body_arrives(server: Server):
    host, port = server.address.split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\nabc"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.slow
def test_clients_that_leave_early_or_talk_nonsense_harm_nobody(server: Server):
    host, port = server.address.split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\nabc"
    for content in (head, b"nonsense\r\n\r\n", b"\x16\x03\x01\x00"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(content)
    assert server.ask("POST", "/predict", **form(IMAGES[0]))[0] == 200


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_key_is_asked_for_and_ctrl_c_ends_all_processes_at_once(folder: Path):
    with Server(folder, "--api_key", "secret", "--host", "0.0.0.0", "--batch_wait_ms", "5") as server:
        assert server.ask("POST", "/predict", **form(IMAGES[0]))[0] == 401
        status, answer = server.ask("POST", "/predict", **form(IMAGES[0]), X_API_Key="wrong")
        assert (status, answer.count(b"\n")) == (401, 1)
        assert server.ask("POST", "/predict", **form(IMAGES[0]), X_API_Key="secret")[0] == 200
        assert server.ask("GET", "/")[0] == 200
        assert server.ask("GET", "/health") == (200, b"ok")
        assert server.end(signal.SIGINT, group=True) == (130, "")


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("group", [False, True])
def test_a_terminal_that_is_closed_ends_all_processes(folder: Path, group: bool):
    with Server(folder) as server:
        assert server.ask("GET", "/health") == (200, b"ok")
        status, printed = server.end(signal.SIGHUP, group)
        assert status == 0
        assert group or printed == ""  # the tracker of multiprocessing, which gets SIGHUP too, complains


@pytest.mark.slow
def test_a_server_below_nohup_outlives_its_terminal(folder: Path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as from nohup
    try:
        server = Server(folder)
    finally:
        signal.signal(signal.SIGHUP, before)
    with server:
        os.killpg(server.process.pid, signal.SIGHUP)
        assert server.ask("POST", "/predict", **form(IMAGES[0]))[0] == 200
        assert server.end(signal.SIGTERM) == (0, "")


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_worker_that_dies_is_started_anew_and_ignores_ctrl_c_too(folder: Path):
    with Server(folder) as server:
        processes = psutil.Process(server.process.pid).children(recursive=True)
        worker = max(processes, key=lambda process: process.memory_info().rss)
        worker.kill()
        deadline, statuses = time.monotonic() + DEADLINE, []
        while 200 not in statuses and time.monotonic() < deadline:
            with suppress(TimeoutError):  # a request that the dead worker had taken
                statuses.append(server.ask("POST", "/predict", **form(IMAGES[0]), timeout=5)[0])
        assert set(statuses) <= {200, 500}
        assert 200 in statuses
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
