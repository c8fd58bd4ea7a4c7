"""Makes weights that come with the package from a run: a safetensors file and its card in ``lit_cnn/weights/shipped/``.

``python experiments/results/ship.py runs/mnist/lenet/my_run MNIST --dataset MNIST --licence "CC BY-SA 3.0" --source
yann.lecun.com/exdb/mnist`` makes ``lenet-MNIST.safetensors`` and ``lenet-MNIST.md``. The run must be finished, trained on
one commit without changes, and tested once, with the checkpoint that it still has.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from program import ROOT

from lit_cnn import models
from lit_cnn.analysis.facts import RunFacts
from lit_cnn.commands.command_line import Arguments
from lit_cnn.export.card import recipe_of, scores_of
from lit_cnn.inference.rebuilt import rebuild
from lit_cnn.network.counting import count_parameters
from lit_cnn.runs.checkpoint_file import read_checkpoint
from lit_cnn.runs.environment import DIRTY, without_folders
from lit_cnn.runs.folder import Run
from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.runs.search import find_run
from lit_cnn.weights.shipped_file import DATA_KEY, FOLDER, SUFFIX, TRAINING_KEY, write_shipped


def ship(run: Run, name: str, dataset: str, licence: str, source: str, folder: Path = FOLDER) -> Path:
    """Writes the file of weights and its card.

    Args:
        run: The run.
        name: Of the weights, in capitals.
        dataset: Name of the images, for people.
        licence: Licence of the images.
        source: Where the images come from.
        folder: For both files.

    Returns:
        The file of weights.

    Raises:
        ValueError: If the name is none, or the run must not be shipped; says why.
    """
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(f"the name must be capitals, digits and _, got {name!r}")
    facts = RunFacts.read(run)
    checkpoint = tested_checkpoint(facts)
    metadata, arguments = checkpoint[CHECKPOINT_KEY], {**checkpoint["hyper_parameters"], "weights": None}
    environment = facts.environment
    first = (environment.get("earlier") or [environment])[0]  # a resumed run has the recipe in its first command
    command = ["lit-cnn", *without_folders(first["command"][1:])]
    recipe, text = recipe_in(command, environment["commit"])
    results, images = facts.results, facts.num_images
    training = {
        "dataset": dataset,
        "licence": licence,
        "source": source,
        "test/acc": results["test/acc"],
        "test/images": images["test"],
        "val/acc": results.get("val/acc"),
        "val/images": images.get("val"),
        "recipe": recipe,
        "recipe_text": text,
        "command": command,
        "config": yaml.safe_dump(recipe_of(facts.config), sort_keys=False, allow_unicode=True),
        "started_from": bool(metadata.get("started_from")),
        "seed": facts.config.get("seed_everything"),
        "commit": environment["commit"],
        "torch": environment["packages"]["torch"],
        "precision": environment["precision"],
        "device": environment["device"],
        "cpu": environment["cpu"],
    }
    tensors = {key.removeprefix("network."): t for key, t in checkpoint["state_dict"].items() if key.startswith("network.")}
    stem = f"{arguments['variant']}-{name}"
    path = folder / f"{stem}{SUFFIX}"
    content = {
        CHECKPOINT_KEY: {**metadata, "data_key": DATA_KEY, "started_from": None},
        "hyper_parameters": arguments,
        DATA_KEY: checkpoint[metadata["data_key"]],
        TRAINING_KEY: training,
    }
    write_shipped(path, tensors, content)
    num_parameters = count_parameters(rebuild(checkpoint, path).network)
    card = card_of(name, arguments, content, scores_of(facts), num_parameters)
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    return path


def tested_checkpoint(facts: RunFacts) -> dict[str, Any]:
    """The content of the checkpoint that the run was tested with.

    Raises:
        ValueError: If the run was not trained to its end on one commit, or not tested once with the checkpoint it has.
    """
    run, path = facts.run, facts.run.checkpoint
    if facts.diverged or not facts.is_finished or path is None:
        raise ValueError(f"{run.path} is not finished: train it to its end")
    commits = {one.get("commit") for one in (facts.environment, *facts.environment.get("earlier", []))}
    if len(commits) > 1 or None in commits or any(str(commit).endswith(DIRTY) for commit in commits):
        raise ValueError(f"{run.path} was not trained on one commit without changes: commit, and train again")
    looks = run.ledger.entries()
    if len(looks) != 1 or not facts.is_tested:
        raise ValueError(f"{run.path} was tested {len(looks)} times: ship a run that was tested once")
    (look,) = looks
    content, tested = read_checkpoint(path), str(look.get("checkpoint"))
    if run.path / tested != path or look.get("step") != content["global_step"] or look.get("test/tta"):
        raise ValueError(f"{run.path} was not tested with {path} as it is now, or with test-time augmentation: train again")
    return content


def recipe_in(command: Sequence[str], commit: str) -> tuple[str | None, str | None]:
    """Path and text of the recipe that a command names, as the commit has it; None without a recipe."""
    path = Arguments(command[2:]).last("--config", "-c")
    if path is None:
        return None, None
    shown = subprocess.run(["git", "-C", ROOT, "show", f"{commit}:{path}"], capture_output=True, text=True, check=False)
    if shown.returncode:
        raise ValueError(f"the commit {commit} has no recipe {path}: train with a recipe that is committed")
    return path, shown.stdout


def card_of(
    name: str, arguments: Mapping[str, Any], content: Mapping[str, Any], scores: Sequence[str], num_parameters: int
) -> str:
    """The text of the card."""
    variant, training, data = arguments["variant"], content[TRAINING_KEY], content[DATA_KEY]
    colours, size = "grey" if data["channels"] == 1 else "colour", data["image_size"]
    precision = f"{training['precision']} on {training['device']} ({training['cpu']})"
    sections = [
        f"# {variant} {name}",
        f"{models.describe(variant).paper}. {num_parameters:,} parameters, trained on {training['dataset']}: "
        f"{colours} images of {size}×{size}, {len(data['class_names'])} classes ({', '.join(data['class_names'])}).",
        "## Use",
        f'```python\nfrom lit_cnn import build\n\nnetwork = build("{variant}", weights="{name}")\n```',
        f"```bash\nlit-cnn predict --model {variant} --weights {name} --images new_images/\n"
        f"lit-cnn fit --model {variant} --model.weights {name} --data photos/\n```",
        "## Scores",
        "\n".join(scores),
        "## Training",
        f"Commit {training['commit']}, seed {training['seed']}, PyTorch {training['torch']}, {precision}.",
        f"```bash\n{shlex.join(training['command'])}\n```",
        f"```yaml\n{training['config']}```",
        "## Limits",
        "It knows its classes alone: an image of anything else gets one of them. Probabilities are not calibrated. Images "
        "unlike the training images (other cameras, sizes, crops) are recognised less often.",
        "## Licence",
        f"Trained on {training['dataset']}. Source: {training['source']}. Licence of the images: {training['licence']}.",
    ]
    return "\n\n".join(sections) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("name", help="name of the weights, for example FASHION_MNIST")
    parser.add_argument("--dataset", required=True, help="name of the images, for people")
    parser.add_argument("--licence", required=True, help="licence of the images; 'none stated' if there is none")
    parser.add_argument("--source", required=True, help="where the images come from")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where both files are written (default: of the package)")
    options = parser.parse_args()
    try:
        run = find_run(options.run)
        path = ship(run, options.name, options.dataset, options.licence, options.source, options.folder)
    except (ValueError, OSError) as error:
        print(f"ship: {error}", file=sys.stderr)
        return 2
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
