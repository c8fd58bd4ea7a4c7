"""``lit-cnn predict``: what it answers before it imports torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from lit_cnn.__main__ import main
sys.argv = ["lit-cnn", *json.loads(sys.argv[1])]
try:
    status = main()
except SystemExit as end:
    status = end.code
heavy = [name for name in ("torch", "pytorch_lightning", "numpy", "PIL", "sklearn") if name in sys.modules]
print(json.dumps([status, heavy]))
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "usage: lit-cnn predict"),
        (["--run", "runs/x", "--imagse", "new"], 2, "unknown option --imagse; did you mean --images?"),
        (["--run", "runs/x", "--images", "new", "--batch", "many"], 2, "invalid int value: 'many'"),
        (["--images", "new"], 2, "one of the arguments --run --config --ckpt_path --model is required"),
        (["--run", "runs/x", "--images", "new"], 2, "runs/x is not a run folder: it does not exist"),
        (["--run", "latest", "--images", "new"], 2, "there is no latest run: runs holds no run yet"),
        (["--model", "resnet51", "--images", "."], 2, "unknown variant 'resnet51'; did you mean resnet56, resnet50"),
        (["--model", "resnet50", "--images", "new"], 2, "there is no file or folder new"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_help_and_typos_are_answered_before_torch_is_imported(tmp_path: Path, arguments: list[str], status: int, said: str):
    command = [sys.executable, "-c", PROGRAM, json.dumps(["predict", *arguments])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [status, []]
    assert said in done.stdout + done.stderr
