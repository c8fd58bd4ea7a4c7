"""Fills the tables of the pages from the JSON files in this folder; ``lit-cnn leaderboard --write`` those of the recipes.

``make tables`` runs it, after measuring. A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layouts
from layouts import RESULTS

from lit_cnn.runs.environment import without_folders

ROOT = Path(__file__).parent.parent.parent
PAGES = ("docs/benchmarks.md", "docs/deploy.md", "docs/own-photos.md", "docs/fine-tuning.md", "docs/training.md")
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "not yet measured"
# All tables of a page must agree in these.
SAME = ("commit", "cpu_name", "cpu", "threads", "gpu", "torch")


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Args:
        file: The results, in this folder.
        measure: The command that measures them, without ``--output``.
        lay_out: Makes the text.
        is_bare: Has no machine and command of its own, since another table of the same file has them.
    """

    file: str
    measure: str
    lay_out: Callable[[dict[str, Any]], str]
    is_bare: bool = False


BENCHMARK = "lit-cnn benchmark"
CASES = f"{BENCHMARK} --case lenet --case resnet18 --case googlenet --case densenet --case folder"
DEPLOY = "python experiments/results/deploy.py"
FINE_TUNING = "python experiments/results/fine_tuning.py --model resnet20 --weights FASHION_MNIST --data mnist"
TABLES = {
    "speed_sentence": Table("speed.json", CASES, layouts.speed_sentence, is_bare=True),
    "speed": Table("speed.json", CASES, layouts.speed),
    "cost": Table("speed.json", CASES, layouts.cost, is_bare=True),
    "evaluation": Table("evaluation.json", f"{CASES} --phase eval", layouts.speed),
    "optimisations": Table("optimisations.json", f"{BENCHMARK} --suite optimisations", layouts.optimisations),
    "decoding": Table("decoding.json", f"{BENCHMARK} --suite decoding", layouts.decoding),
    "augmentation": Table("augmentation.json", f"{BENCHMARK} --suite augmentation", layouts.augmentation),
    "growth": Table("growth.json", f"{BENCHMARK} --suite growth", layouts.growth),
    "by_hand": Table("by_hand.json", f"{BENCHMARK} --suite accuracy", layouts.by_hand),
    "forms": Table("deploy.json", DEPLOY, layouts.forms),
    "load": Table("deploy.json", DEPLOY, layouts.load, is_bare=True),
    "files": Table("deploy.json", DEPLOY, layouts.files, is_bare=True),
    "fine_tuning": Table("fine_tuning.json", FINE_TUNING, layouts.fine_tuning),
    "label_errors": Table("label_errors.json", "python experiments/results/label_errors.py", layouts.label_errors),
}


def environment_line(environment: dict[str, Any]) -> str:
    version, date = environment["torch"], environment["time"].partition("T")[0]
    return f"Commit {environment['commit'][:12]}, {layouts.machine(environment)}, PyTorch {version}, {date}."


def commands_of(content: dict[str, Any]) -> str:
    """The commands that measured, without the folders of the machine."""
    commands = [*content.get("earlier_commands", []), content["command"]]
    return "\n".join(dict.fromkeys(shlex.join(without_folders(words)) for words in commands))


def read(root: Path, file: str) -> dict[str, Any] | None:
    """The content of a file of results; None if it does not exist.

    Raises:
        ValueError: If the code had changes without a commit, so that nobody can measure it again.
    """
    path = root / RESULTS / file
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    commit = content["environment"]["commit"]
    if not commit or commit.endswith("-dirty"):
        raise ValueError(f"{path} was measured on code without a commit ({commit}): commit, and measure again")
    return content


def fill(text: str, root: Path) -> str:
    """A page with new tables.

    Raises:
        ValueError: If its results come from different commits or machines, or a table is unknown.
    """
    first: tuple[str, dict[str, Any]] | None = None

    def block(match: re.Match[str]) -> str:
        nonlocal first
        start, name, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"there is no table {name}; there are {', '.join(TABLES)}")
        table = TABLES[name]
        content = read(root, table.file)
        if content is None:
            if table.is_bare:
                return f"{start}\n{NOT_MEASURED.capitalize()}.\n\n{end}"
            command = f"{table.measure} --output {RESULTS}/{table.file}"
            return f"{start}\n{NOT_MEASURED.capitalize()}. The command:\n\n```bash\n{command}\n```\n\n{end}"
        environment = content["environment"]
        first = first or (table.file, environment)
        for key in SAME:
            if environment.get(key) != first[1].get(key):
                both = f"{first[0]} ({first[1].get(key)}) and {table.file} ({environment.get(key)})"
                raise ValueError(f"{both} differ in {key}: measure all tables of a page on one commit and machine")
        if table.is_bare:
            return f"{start}\n{table.lay_out(content)}\n\n{end}"
        command = f"```bash\n{commands_of(content)}\n```"
        return f"{start}\n{environment_line(environment)}\n\n{command}\n\n{table.lay_out(content)}\n\n{end}"

    return TABLE.sub(block, text)


def regenerate(root: Path) -> dict[Path, str]:
    """The new text of every page.

    Raises:
        ValueError: If results do not go together.
    """
    return {root / page: fill((root / page).read_text(), root) for page in PAGES}


def main() -> int:
    try:
        texts = regenerate(ROOT)
    except ValueError as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    changed = {path: text for path, text in texts.items() if path.read_text() != text}
    for path, text in changed.items():
        path.write_text(text)
        print(f"changed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
