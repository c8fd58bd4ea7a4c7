"""The page of accuracies and the ``# Expected:`` lines of the recipes, from the results of the recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lit_cnn.analysis.markdown import markdown_table, percent
from lit_cnn.benchmark.leaderboard import NOT_MEASURED, RESULTS, Board, Measured, Recipe, Reference, read_boards

PAGE = "docs/accuracy.md"
HEAD = """# Accuracy

{summary}

`lit-cnn leaderboard` prints these tables; `make tables` writes this page from `experiments/results/recipes/`.

```bash
lit-cnn leaderboard
lit-cnn leaderboard --dataset fashion_mnist
make train MODEL=lenet DATA=fashion_mnist
lit-cnn benchmark --suite recipes --seeds 3 --recipe experiments/fashion_mnist/lenet.yaml --output lenet.json
```

The third command trains a recipe once. The fourth measures one. Given again on the same commit and machine, it resumes a
measurement that was stopped. To measure a row of this page anew, remove its JSON file, and give
`--output experiments/results/recipes`.

**Which network is best?** The order of the rows does not tell. The recipes are made for minutes on two processors. They
differ in epochs, image size, augmentation and averaging. [Compare](compare.md) networks with the same settings.

**How to read the tables.** The accuracy is the mean of the seeds ± their standard deviation, in percent and percentage
points. Training time and speed are medians of the seeds. Settings were chosen on validation images, which are held out of
the training images. Each training looks at the test set once, at its end.

**Expected band.** It is the mean ± 3 standard deviations, but at least ± 0.3 points and ± 2 test images, rounded outwards.
The least width is there because three seeds tell little about a spread. Where the 3 standard deviations decide, one training
in eight lies outside by chance after three seeds, and one in fifty after ten (Student's t). Fewer than three seeds have no
band. A run of the unchanged recipe with `--test_after_fit` tells whether it lies inside.

The same seed gives the same weights on the same machine with the same number of threads (`SEED=`, `THREADS=`). Other
processors round differently.

**Figures of others** were often chosen on the test set: the best epoch, or the best of several settings, by its test
accuracy. Such figures are too high. The column "here" has our network and its accuracy. It is the same network or the
nearest one; epochs and image size differ. `experiments/references.yaml` lists the figures with their sources.
"""
COLUMNS = ("recipe", "network", "parameters", "test accuracy", "seeds", "expected band", "epochs", "training, s", "images/s")
OTHERS = ("others", "source", "remark", "test accuracy", "here")
# Between the lines of a command.
CONTINUED = " \\\n    "
_EXPECTED = re.compile(r"^# Expected:.*$", re.MULTILINE)


def write_texts(root: Path) -> dict[Path, str]:
    """The new text of the page and of each recipe.

    Args:
        root: The folder of lit_cnn.
    Raises:
        ValueError: If results do not fit, or a recipe does not have one line that begins with ``# Expected:``.
    """
    boards = read_boards(root)
    texts = {root / PAGE: describe_page(boards)}
    for board in boards:
        for recipe in board.recipes:
            path = root / recipe.path
            text, count = _EXPECTED.subn(
                expected_line(recipe, board.label).replace("\\", r"\\"), path.read_text(encoding="utf-8")
            )
            if count != 1:
                raise ValueError(f"{recipe.path} needs one line that begins with '# Expected:', and has {count}")
            texts[path] = text
    return texts


def expected_line(recipe: Recipe, label: str | None = None) -> str:
    """The line of a recipe's header, which :meth:`lit_cnn.benchmark.bands.Expectation.read` reads.

    Args:
        recipe: With its results.
        label: Of the images, such as ``JPEG copy``.
    """
    measured = recipe.measured
    if measured is None:
        return f"# Expected: {NOT_MEASURED}."
    seeds = ", ".join(map(str, measured.seeds))
    spread = f"mean and standard deviation of seeds {seeds}" if len(measured.seeds) > 1 else f"seed {seeds}"
    parts = [f"test accuracy {percent(measured.mean, measured.sd)} ({'; '.join(filter(None, (label, spread)))})"]
    if measured.band:
        images = f"; images {measured.digest}" if measured.digest else ""
        parts.append(f"band {measured.band}" + (f" ({label}{images})" if label else ""))
    parts.append(f"{measured.seconds:,.0f} s")
    epochs = f"with EPOCHS={measured.epochs} " if measured.epochs_given else ""
    return f"# Expected: {epochs}{', '.join(parts)}; {measured.machine}, {measured.precision}."


def describe_page(boards: Sequence[Board]) -> str:
    """The text of ``docs/accuracy.md``."""
    sections = [HEAD.format(summary=summary(boards))]
    sections += ["\n\n".join(_section(board)) + "\n" for board in boards]
    return "\n".join(sections)


def summary(boards: Sequence[Board]) -> str:
    """The first sentence of the page: what the recipes reach on each dataset."""
    parts = []
    for board in boards:
        reached = [recipe.measured.mean for recipe in board.recipes if recipe.measured and recipe.is_measured]
        if reached:
            low, high = f"{100 * min(reached):.1f}", f"{100 * max(reached):.1f}"
            span = f"{high} %" if low == high else f"{low} to {high} %"
            parts.append(f"{span} on {board.title} ({len(reached)} of {len(board.recipes)})")
    if not parts:
        return "No recipe is measured with all its epochs."
    reached = "The measured recipes reach these mean test accuracies (in parentheses, how many of the recipes are measured)"
    return f"{reached}: {'; '.join(parts)}."


def measure_command(recipes: Sequence[Recipe], separator: str = " ") -> str:
    """The command that measures recipes.

    Args:
        recipes: Their files are named.
        separator: Stands before each part of the command that may begin a line.
    """
    files = "".join(f"{separator}{recipe.path.as_posix()}" for recipe in recipes)
    return f"lit-cnn benchmark --suite recipes --seeds 3 --output {RESULTS} --recipe{files}"


def describe_unmeasured(board: Board) -> str:
    """The recipes without results, in a sentence. Names those whose settings have changed since they were measured."""
    names = [recipe.name + (" (measured with other settings)" if recipe.is_outdated else "") for recipe in board.unmeasured]
    return f"{NOT_MEASURED.capitalize()}: {', '.join(names)}."


def _section(board: Board) -> Iterator[str]:
    yield f"## {board.title}"
    if board.note:
        yield board.note
    shown = [(recipe, recipe.measured) for recipe in board.recipes if recipe.measured]
    if shown:
        yield markdown_table(COLUMNS, [_row(board, recipe, measured) for recipe, measured in shown], text_columns=2)
        yield _provenance(shown)
    if board.unmeasured:
        yield describe_unmeasured(board)
        yield f"```bash\n{measure_command(board.unmeasured, CONTINUED)}\n```"
    if board.references:
        rows = []
        for reference in board.references:
            rows.append(
                (
                    reference.network,
                    f"<{reference.source}>" if "://" in reference.source else reference.source,
                    reference.remark,
                    f"{reference.accuracy:.2f} %",
                    describe_own(board, reference),
                )
            )
        yield markdown_table(OTHERS, rows, text_columns=3)


def _row(board: Board, recipe: Recipe, measured: Measured) -> tuple[object, ...]:
    epochs = f", EPOCHS={measured.epochs}" if measured.epochs_given else ""
    return (
        f"[{recipe.name}](../{recipe.path.as_posix()}){epochs}",
        recipe.network,
        f"{measured.parameters:,}" if measured.parameters else "",
        describe_accuracy(measured, board.label),
        len(measured.seeds),
        measured.band or "",
        measured.epochs,
        f"{measured.seconds:,.0f}",
        f"{measured.images_per_s:,.0f}",
    )


def describe_accuracy(measured: Measured, label: str | None) -> str:
    """Mean and standard deviation of the test accuracy, with what the images are."""
    return percent(measured.mean, measured.sd) + (f" ({label})" if label else "")


def describe_own(board: Board, reference: Reference) -> str:
    """Our network beside a figure of others, with its accuracy; empty if it is not measured."""
    own = board.own(reference)
    return f"{own.network}: {describe_accuracy(own.measured, board.label)}" if own and own.measured else ""


def _provenance(shown: Sequence[tuple[Recipe, Measured]]) -> str:
    """Where each recipe was measured: a sentence for each commit and machine."""
    groups: dict[str, list[str]] = {}
    for recipe, measured in shown:
        groups.setdefault(f"{measured.precision}, {measured.provenance}", []).append(recipe.name)
    return "\n".join(f"Measured {', '.join(names)}: {provenance}." for provenance, names in groups.items())
