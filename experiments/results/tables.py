"""Fills the tables of the pages and the ``# Expected:`` lines of the recipes from the JSON files in this folder.

``make tables`` runs it after ``lit-cnn benchmark``. A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_cnn.benchmark.recipes import summarise_recipes

ROOT = Path(__file__).parent.parent.parent
RESULTS = "experiments/results"
PAGES = ("docs/benchmarks.md", "docs/accuracy.md")
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "not yet measured"
ARMS = {"plain": "plain loop", "lightning": "LightningModule", "lit_cnn": "lit-cnn", "ceiling": "ceiling"}
# All tables of a page must agree in these.
SAME = ("commit", "cpu_name", "cpu", "threads", "gpu", "torch")


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Args:
        file: The results, in this folder.
        options: Of the ``lit-cnn benchmark`` that measures them.
        lay_out: Makes the text.
        is_bare: Has no machine and command of its own, since another table of the same file has them.
    """

    file: str
    options: str
    lay_out: Callable[[dict[str, Any]], str]
    is_bare: bool = False


def layout(columns: Iterable[str], rows: Iterable[Iterable[object]], text_columns: int = 1) -> str:
    """A Markdown table. Columns after the first ones, which hold text, are aligned to the right."""
    columns = list(columns)
    line = ["---"] * text_columns + ["---:"] * (len(columns) - text_columns)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [columns, line, *rows])


def range_of(values: list[float], digits: int = 0) -> str:
    """Median, and in parentheses the lowest and the highest."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def case_name(case: dict[str, Any]) -> str:
    images = {"fashion_mnist": "Fashion-MNIST", "synthetic": "synthetic images"}.get(case["data"], "JPEGs")
    return f"{case['model']}, {images} at {case['image_size']}×{case['image_size']}, batch {case['batch_size']}"


def speed(content: dict[str, Any]) -> str:
    rows = []
    for result in content["cases"].values():
        arms, summary = result["arms"], result["summary"]
        ratios = [f"{summary[f'lit_cnn/{arm}']:.2f}" for arm in ("plain", "ceiling")]
        speeds = [range_of([one["images_per_s"] for one in arms[arm]]) for arm in ARMS]
        rows.append([case_name(result["case"]), *speeds, *ratios])
        if "first epoch: lit_cnn/plain" in summary:
            firsts = [summary[arm].get("first_epoch_images_per_s") for arm in ARMS]
            cells = [f"{first:,.0f}" if first else "" for first in firsts]
            rows.append(["… its first epoch, decoding included", *cells, f"{summary['first epoch: lit_cnn/plain']:.2f}", ""])
    return layout(["images/s", *ARMS.values(), "lit-cnn / plain", "lit-cnn / ceiling"], rows)


def cost(content: dict[str, Any]) -> str:
    rows = []
    for result in content["cases"].values():
        summary = [result["summary"][arm] for arm in ARMS]
        first = [f"{arm['first_step_s']:.1f}" for arm in summary]
        memory = [f"{arm.get('peak_device_memory_mb', arm['peak_memory_mb']):,.0f}" for arm in summary]
        rows += [[case_name(result["case"]), "first step after, s", *first], ["", "peak memory, MB", *memory]]
    return layout(["case", "", *ARMS.values()], rows, text_columns=2)


def optimisations(content: dict[str, Any]) -> str:
    measured = content["without"]
    names = dict.fromkeys(name for case in measured.values() for name in case if name != "all")

    def gain(case: dict[str, Any], name: str) -> str:
        if name not in case:
            return ""
        pairs = zip(case["all"]["images_per_s"], case[name]["images_per_s"], strict=True)
        return range_of([ours / less for ours, less in pairs], digits=2)

    return layout(
        ["speed with / without", *measured], [[name, *(gain(case, name) for case in measured.values())] for name in names]
    )


def decoding(content: dict[str, Any]) -> str:
    sizes = content["decoding"]
    ways = list(next(iter(sizes.values())))
    rows = [
        [f"{size}×{size}", *(range_of(measured[way]["images_per_s"]) for way in ways)] for size, measured in sizes.items()
    ]
    return layout([f"images/s, {content['num_images']:,} JPEGs to", *ways], rows)


def growth(content: dict[str, Any]) -> str:
    rows = [
        [
            axis,
            f"{point['value']:,}",
            f"{point['command_s']:.1f}",
            f"{point['training_s']:.1f}",
            f"{point['images_per_s']:,.0f}",
            f"{point['peak_memory_mb']:,.0f}",
        ]
        for axis, points in content["growth"].items()
        for point in points
    ]
    columns = ["setting", "value", "command, s", "training, s", "images/s", "peak memory, MB"]
    picture = f"![Training time and peak memory against each setting](../{RESULTS}/growth.png)"
    return f"{layout(columns, rows)}\n\n{picture}"


def percent(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.2f} %" + (f" ± {100 * sd:.2f}" if sd is not None else "")


def by_hand(content: dict[str, Any]) -> str:
    rows = [
        [ARMS[arm], percent(statistics.mean(values), statistics.stdev(values)), len(values)]
        for arm, values in content["test_accuracy"].items()
    ]
    return layout(["LeNet on Fashion-MNIST, three epochs", "test accuracy", "seeds"], rows)


def recipes(content: dict[str, Any]) -> str:
    rows = []
    for row in summarise_recipes(content["runs"]):
        path = Path(row["recipe"])
        command = f"make train MODEL={path.stem}" + (f" DATA={path.parent.name}" if path.parent.name != "digits" else "")
        command += f" EPOCHS={row['epochs']}" if row["epochs_given"] else ""
        accuracy = percent(row["mean"], row["sd"])
        time = f"{row['seconds']:,.0f}"
        rows.append(
            [
                f"`{command}`",
                accuracy,
                len(row["seeds"]),
                row["epochs"],
                time,
                f"{row['images_per_s']:,.0f}",
                row["precision"],
            ]
        )
    return layout(["command", "test accuracy", "seeds", "epochs", "training, s", "images/s", "precision"], rows)


def interval(values: Iterable[float], unit: str) -> str:
    ordered = sorted(values)
    low, high = f"{ordered[0]:.1f}", f"{ordered[-1]:.1f}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def speed_sentence(content: dict[str, Any]) -> str:
    summaries = [result["summary"] for result in content["cases"].values()]
    faster = interval((summary["lit_cnn/plain"] for summary in summaries), " times")
    share = interval((100 * summary["lit_cnn/ceiling"] for summary in summaries), " %")
    return (
        f"`lit-cnn fit` trains {faster} as fast as the loop that tutorials teach. "
        f"It reaches {share} of the ceiling, the speed of a loop that only computes."
    )


def accuracy_sentence(content: dict[str, Any]) -> str:
    rows = [row for row in summarise_recipes(content["runs"]) if not row["epochs_given"]]
    if not rows:
        return "No recipe is measured with all its epochs."
    reached = interval((100 * row["mean"] for row in rows), " %")
    return f"The {len(rows)} measured recipes reach a test accuracy of {reached}, on average over their seeds."


CASES = "--case lenet --case resnet18 --case googlenet --case densenet --case folder"
TABLES = {
    "speed_sentence": Table("speed.json", CASES, speed_sentence, is_bare=True),
    "accuracy_sentence": Table("accuracy.json", "--suite recipes", accuracy_sentence, is_bare=True),
    "speed": Table("speed.json", CASES, speed),
    "cost": Table("speed.json", CASES, cost, is_bare=True),
    "evaluation": Table("evaluation.json", f"{CASES} --phase eval", speed),
    "optimisations": Table("optimisations.json", "--suite optimisations", optimisations),
    "decoding": Table("decoding.json", "--suite decoding", decoding),
    "growth": Table("growth.json", "--suite growth", growth),
    "recipes": Table("accuracy.json", "--suite recipes", recipes),
    "by_hand": Table("by_hand.json", "--suite accuracy", by_hand),
}


def environment_line(environment: dict[str, Any]) -> str:
    version, date = environment["torch"], environment["time"].partition("T")[0]
    return f"Commit {environment['commit'][:12]}, {machine(environment)}, PyTorch {version}, {date}."


def machine(environment: dict[str, Any]) -> str:
    processor = f"{environment['cpu_name'] or 'unnamed processor'} ({environment['cpu']}, {environment['threads']} threads)"
    return ", ".join(filter(None, (processor, environment.get("gpu"))))


def commands_of(content: dict[str, Any]) -> str:
    """The commands that measured, without the folder of the data, which differs between machines."""
    lines = []
    for words in [*content.get("earlier_commands", []), content["command"]]:
        pairs = zip(["", *words], words, strict=False)
        kept = [word for before, word in pairs if not {before, word.partition("=")[0]} & {"--data_dir", "--data-dir"}]
        lines.append(shlex.join(kept))
    return "\n".join(dict.fromkeys(lines))


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
            command = f"lit-cnn benchmark {table.options} --output {RESULTS}/{table.file}"
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


def expected(recipe: str, content: dict[str, Any] | None) -> str:
    """The ``# Expected:`` line of a recipe. Results with all epochs come before those with fewer."""
    rows = summarise_recipes(content["runs"]) if content else []
    rows = sorted((row for row in rows if row["recipe"] == recipe), key=lambda row: row["epochs_given"] or 0)
    if content is None or not rows:
        return f"# Expected: {NOT_MEASURED}."
    row = rows[0]
    seeds = ", ".join(map(str, row["seeds"]))
    spread = f"mean and standard deviation of seeds {seeds}" if len(row["seeds"]) > 1 else f"seed {seeds}"
    epochs = f"with EPOCHS={row['epochs']} " if row["epochs_given"] else ""
    where = f"{machine(content['environment'])}, {row['precision']}"
    return (
        f"# Expected: {epochs}test accuracy {percent(row['mean'], row['sd'])} ({spread}), {row['seconds']:,.0f} s; {where}."
    )


def regenerate(root: Path) -> dict[Path, str]:
    """The new text of every page and recipe.

    Raises:
        ValueError: If results do not go together, or a recipe does not have one line that begins with ``# Expected:``.
    """
    texts = {root / page: fill((root / page).read_text(), root) for page in PAGES}
    accuracy = read(root, TABLES["recipes"].file)
    for path in sorted(path for path in (root / "experiments").glob("*/*.yaml") if path.parent.name != "claims"):
        line = expected(path.relative_to(root).as_posix(), accuracy)
        text, count = re.subn(r"^# Expected:.*$", lambda _, line=line: line, path.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{path} needs one line that begins with '# Expected:', and has {count}")
        texts[path] = text
    return texts


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
