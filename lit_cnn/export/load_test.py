"""Load of a server: ``python -m lit_cnn.export.load_test http://127.0.0.1:8000 cat.jpg --clients 8 --requests 2000``.

Each client sends one image after another over its own connection, as a form. Every answer is compared with the first to the
same image. The clients run in one process of Python, which takes a processor of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from lit_cnn.system.memory import format_bytes

BOUNDARY = "lit-cnn-load-test"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
# Probabilities may differ so much between batches of different sizes.
TOLERANCE = 1e-6


@dataclass
class Load:
    """What was measured.

    Args:
        seconds: Of the whole.
        milliseconds: From each request to its answer.
        problems: Answers that are missing, refused, or not those of the first request.
    """

    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The time within which a share of the requests was answered, in ms."""
        ordered = sorted(self.milliseconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(address: str, images: list[bytes], clients: int, requests: int, api_key: str | None = None) -> Load:
    """Sends requests from several clients at the same time.

    Args:
        address: Of the server, ``http://127.0.0.1:8000``.
        images: Content of image files, sent in turn.
        clients: Connections, each with one request at a time.
        requests: Of all clients together.
        api_key: Of the server.

    Raises:
        ValueError: If the server does not answer the first requests.
    """
    headers = {"Content-Type": CONTENT_TYPE} | ({"X-API-Key": api_key} if api_key else {})
    bodies = [make_form(("image", "image", image)) for image in images]
    first = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    expected = []
    for body in bodies:
        try:
            status, answer = _ask(first, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise ValueError(f"there is no server at {address} ({error})") from error
        except ValueError as error:
            raise ValueError(f"what answers at {address} is no server of lit-cnn") from error
        if status != 200:
            raise ValueError(f"the server answers {status}: {answer.get('error', answer)}")
        expected.append(answer)
    first.close()
    load, numbers = Load(), count()

    def send() -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        while (number := next(numbers)) < requests:
            image = number % len(images)
            began = time.perf_counter()
            try:
                status, answer = _ask(connection, bodies[image], headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                load.problems.append(f"request {number}: {type(error).__name__} {error}")
                connection.close()
                continue
            load.milliseconds.append(1000 * (time.perf_counter() - began))
            if status != 200 or not _agree(answer, expected[image]):
                load.problems.append(f"request {number}: {status} {answer}, expected {expected[image]}")
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - began
    return load


def make_form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """The body of a form, of the type :data:`CONTENT_TYPE`.

    Args:
        parts: Name, file name (None for a value) and content of each field.
    """
    body = b""
    for name, file, content in parts:
        of_file = "" if file is None else f'; filename="{file}"'
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def _ask(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> tuple[int, dict]:
    connection.request("POST", "/predict", body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _agree(answer: dict, expected: dict) -> bool:
    """Whether classes are equal, and probabilities but for rounding."""
    values = dict(map(tuple, answer["top"]))
    return answer["class"] == expected["class"] and all(
        abs(values.get(name, math.inf) - value) <= TOLERANCE for name, value in expected["top"]
    )


def memory_of(pid: int) -> int:
    """Bytes that a process and those it has started hold alone, or together among themselves, in memory."""
    server = psutil.Process(pid)
    return sum(process.memory_full_info().uss for process in (server, *server.children(recursive=True)))


def main() -> int:
    """Prints a line for each number of clients.

    Returns:
        1 if an answer is missing or wrong, 2 if nothing can be measured.
    """
    parser = argparse.ArgumentParser(prog="python -m lit_cnn.export.load_test", description="Measure the load of a server.")
    parser.add_argument("address", help="of the server, for example http://127.0.0.1:8000")
    parser.add_argument("images", nargs="+", type=Path, help="image files, sent in turn")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="at the same time (default: 1 8 32)")
    parser.add_argument("--requests", type=int, default=2000, help="of all clients together (default: %(default)s)")
    parser.add_argument("--api_key", help="of the server")
    parser.add_argument("--pid", type=int, help="process of the server, whose memory is printed")
    options = parser.parse_args()
    wrong, header = 0, "clients  requests/s  p50 (ms)  p99 (ms)  wrong" + ("  memory before, after" if options.pid else "")
    try:
        if min(*options.clients, options.requests) < 1:
            raise ValueError("--clients and --requests must be at least 1")
        images = [path.read_bytes() for path in options.images]
        for clients in options.clients:
            before = memory_of(options.pid) if options.pid else 0
            load = measure(options.address, images, clients, options.requests, options.api_key)
            answered = len(load.milliseconds)
            p50, p99 = (load.percentile(share) if answered else math.nan for share in (0.5, 0.99))
            line = f"{clients:7}  {answered / load.seconds:10.0f}  {p50:8.1f}  {p99:8.1f}  {len(load.problems):5}"
            memory = f"  {format_bytes(before)}, {format_bytes(memory_of(options.pid))}" if options.pid else ""
            print(f"{header}\n{line}{memory}" if header else line + memory, flush=True)
            header = ""
            for problem in load.problems[:3]:
                print(f"  {problem}", file=sys.stderr)
            wrong += len(load.problems)
    except (OSError, ValueError, psutil.Error) as error:
        named = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else " ".join(str(error).split())
        print(f"{parser.prog}: error: {named}", file=sys.stderr)
        return 2
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
