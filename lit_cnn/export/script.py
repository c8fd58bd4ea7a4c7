"""The stand-alone script that lies beside an ONNX file, and the proof that it answers as the run does."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_cnn.errors import ParityError
from lit_cnn.export.parity import TOLERANCE, check_answers
from lit_cnn.export.samples import Samples

SCRIPT = Path(__file__).with_name("predict_onnx.py")
# Runs a script as where torch is not installed.
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
# Longest time that the script may take, in seconds.
TIMEOUT = 1800.0


@dataclass(frozen=True)
class ScriptParity:
    """How the script agrees with the run.

    Args:
        script: Its name.
        num_answers: Number of files that it read.
        num_equal: So many have the run's class.
        unread: Why it does not read other files, one line each.
    """

    script: str
    num_answers: int
    num_equal: int
    unread: tuple[str, ...]

    def as_json(self) -> dict[str, int]:
        """As a file keeps it."""
        return {"answers": self.num_answers, "equal": self.num_equal, "unread": len(self.unread)}

    def __str__(self) -> str:
        reason = f"it does not read {len(self.unread)} images that the run reads, the first: {next(iter(self.unread), '')}"
        if not self.num_answers:
            return f"{self.script}: not compared, {reason}"
        return f"{self.script}: {self.num_equal} of {self.num_answers} answers are equal" + (
            f"; {reason}" if self.unread else ""
        )


def check_script(script: Path, samples: Samples, folder: Path) -> ScriptParity:
    """Runs the stand-alone script where torch is not installed, and compares its answers.

    Files that only the run reads are left out, such as images of more than 8 bits a value. The script names them.

    Args:
        script: The script, beside its network.
        samples: Images with the run's answers.
        folder: With their files; takes the script's answers.

    Raises:
        ParityError: If the script fails, or answers otherwise; names the image.
    """
    output = folder / "answers.csv"
    # -P: no folder of the user's comes before the installed packages.
    command = [sys.executable, "-P", "-c", WITHOUT_TORCH, script, "--images", folder, "--output", output]
    try:
        process = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise ParityError(f"{script.name} did not end within {TIMEOUT / 60:g} minutes") from error
    lines = process.stderr.strip().splitlines()
    rows = {}
    if output.is_file():
        with output.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    unread = {}
    for path in samples.files:
        if path.name not in rows:
            unread[path.name] = next((line for line in lines if f"{path.name} cannot be read: " in line), None)
    # Status 1 is that of files that are not read, and of an error that Python shows.
    if process.returncode != (1 if unread else 0) or None in unread.values():
        last = f": {lines[-1]}" if lines else ""
        raise ParityError(f"{script.name} ended with status {process.returncode}{last}")
    reasons = tuple(str(line).partition(" cannot be read: ")[2] for line in unread.values())
    return _compare(script.name, rows, samples, reasons)


def _compare(name: str, rows: Mapping[str, Mapping[str, str]], samples: Samples, unread: tuple[str, ...]) -> ScriptParity:
    """Compares rows of the script's table, by the names of their files, with the run's answers."""
    taken = [number for number, path in enumerate(samples.files) if path.name in rows]
    if not taken:
        return ScriptParity(name, 0, 0, unread)
    answers = [rows[samples.files[number].name] for number in taken]
    number_of = {class_name: number for number, class_name in enumerate(samples.trained.class_names)}
    classes = np.array([number_of[row["class"]] for row in answers], dtype=np.int64)
    num_equal = check_answers(name, classes, samples, taken)
    differences = np.abs(samples.probabilities[taken].max(axis=1) - [float(row["probability"]) for row in answers])
    worst = int(np.nan_to_num(differences, nan=np.inf).argmax())
    if not differences[worst] <= TOLERANCE:
        raise ParityError(
            f"{name}: the probability of {samples.files[taken[worst]].name} differs by {differences[worst]:.2g} "
            "from the run's"
        )
    return ScriptParity(name, len(taken), num_equal, unread)
