"""What serves an exported network in a container, without torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SERVER = Path(__file__).with_name("serve_onnx.py")
PACKAGES = ("onnxruntime", "pillow", "numpy", "fastapi", "uvicorn")
DOCKERFILE = """\
# docker build -t classifier . && docker run -p 127.0.0.1:8000:8000 classifier
# curl --data-binary @image.jpg http://127.0.0.1:8000/predict
FROM python:3.12-slim
RUN useradd classifier
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY model.onnx preprocess.json predict_onnx.py serve_onnx.py ./
USER classifier
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=3)"
CMD ["uvicorn", "serve_onnx:app", "--host", "0.0.0.0", "--port", "8000"]
"""


def write_container(folder: Path) -> None:
    """Writes ``Dockerfile``, ``requirements.txt`` with the versions of this machine, and ``serve_onnx.py``.

    Args:
        folder: With ``model.onnx``, ``preprocess.json`` and ``predict_onnx.py``.
    """
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(map(_requirement, PACKAGES)), encoding="utf-8")
    (folder / SERVER.name).write_bytes(SERVER.read_bytes())


def _requirement(package: str) -> str:
    try:
        return f"{package}=={version(package)}\n"
    except PackageNotFoundError:  # of the extra `serve`, which an export does not need
        return f"{package}\n"
