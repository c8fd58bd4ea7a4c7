"""A run's folder: its configuration, checkpoints, metrics and results."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_cnn.runs.environment import describe_environment
from lit_cnn.runs.format import check_format
from lit_cnn.runs.identity import Change
from lit_cnn.runs.ledger import ImageSet, Ledger, Looks, count_looks, now
from lit_cnn.runs.lock import is_locked
from lit_cnn.runs.metrics import read_rows, write_rows
from lit_cnn.runs.names import as_folder_name, check_name
from lit_cnn.runs.results_file import changed_results, read_results
from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.system.paths import expand, quoted

if TYPE_CHECKING:
    from lit_cnn.runs.predictions import RunPredictions

# A folder with these files is a run.
REQUIRED = ("config.yaml", "environment.json")
# Levels of folders below the root: dataset, variant, name.
DEPTH = 3
# What names the folders above a run.
LEVELS = ("variant", "dataset")
# Runs that differ in the seed alone have one more folder, their study, and these names in it.
SEED_NAME = re.compile(r"seed-[0-9]+")
# File of a study, see lit_cnn.runs.study.
STUDY = "study.json"

# Key in results.json of the scores on other data than those of the run, by the name of the data.
OTHER_DATA = "other_data"
# Key in results.json of the reason why a training diverged.
DIVERGED = "diverged"


class Run:
    """A folder with ``config.yaml``, ``environment.json``, ``metrics.csv``, ``checkpoints/``, ``results.json`` and
    ``ledger.jsonl``, which has one line for each look at the test set; ``test/``, ``validation/`` and ``predictions/``
    after an evaluation; ``confidence.json`` after a validation.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.csv"
        self.diagnostics = self.path / "diagnostics.csv"
        self.results = self.path / "results.json"
        self.ledger = Ledger(self.path / "ledger.jsonl")
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        # Folders of what evaluations say of classes and images.
        self.evaluations = {"test": self.path / "test", "val": self.path / "validation"}
        self.confidence = self.path / "confidence.json"
        self.predictions = {split: self.path / "predictions" / f"{split}.npz" for split in ("val", "test")}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # Making and opening

    @classmethod
    def create(cls, root: str | Path, dataset: str, variant: str, name: str | None = None) -> Run:
        """Makes the folder ``root/dataset/variant/name``, which no other run has.

        Args:
            root: Folder of all runs.
            dataset: Name of the dataset.
            variant: Name of the network.
            name: Name of the run; time and a random number if not given.

        Raises:
            ValueError: If the name is no plain folder name, or a folder of that name exists already.
        """
        parent = expand(root) / as_folder_name(dataset) / as_folder_name(variant)
        if name is not None:
            check_name(name)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = parent / (name or f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
            try:
                path.mkdir()
            except FileExistsError:
                if name is None:
                    continue
                cure = "choose another name, or resume that run"
                if not any(path.rglob("config.yaml")) and not is_locked(path):  # of a process that was killed
                    cure = "it holds no run: remove it, or choose another name"
                raise ValueError(f"{path} exists already: {cure}") from None
            return cls(path)

    @classmethod
    def of_seed(cls, root: str | Path, dataset: str, variant: str, study: str, seed: int) -> Run:
        """The run ``root/dataset/variant/study/seed-<seed>``, which need not exist.

        Args:
            root: Folder of all runs.
            dataset: Name of the dataset.
            variant: Name of the network.
            study: Name of the folder of runs that differ in the seed alone.
            seed: The seed.

        Raises:
            ValueError: If the study's name is no plain folder name.
        """
        check_name(study)
        return cls(expand(root) / as_folder_name(dataset) / as_folder_name(variant) / study / f"seed-{seed}")

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run.

        Raises:
            ValueError: If the folder does not exist, holds no run, or holds a run that this version cannot read.
        """
        run = cls(path)
        missing = [name for name in REQUIRED if not (run.path / name).is_file()]
        if missing:
            problem = (
                f"holds no {missing[0]}" if run.path.is_dir() else "is a file" if run.path.is_file() else "does not exist"
            )
            raise ValueError(f"{path} is not a run folder: it {problem}; lit-cnn runs lists the runs that there are")
        run.check_format()
        return run

    def check_format(self) -> None:
        """Raises a ValueError if this version cannot read the run."""
        check_format(self.read_environment(), self.environment)

    @property
    def id(self) -> str | None:
        """Identity of the run, which stays when its folder is moved; None before training has begun."""
        return self.read_environment().get("id")

    @property
    def root(self) -> Path:
        """The folder of runs in which this run lies: that of :meth:`create`; for any other run, the folder above it."""
        path, environment = self.path.absolute(), self.read_environment()
        for known in (environment, *environment.get("earlier", [])):  # a folder of images may have been renamed since
            levels = [as_folder_name(str(known.get(level))) for level in LEVELS]
            for own in [path, path.parent] if self._is_of_study else [path]:
                if [own.parent.name, own.parent.parent.name] == levels:
                    return own.parents[2]
        return path.parent

    @property
    def _is_of_study(self) -> bool:
        return bool(SEED_NAME.fullmatch(self.path.name))

    def discard_unless_begun(self) -> None:
        """Removes the folder, and those above it that are then empty, if no epoch was finished."""
        if self.metrics.exists() or any(self.checkpoints.glob("*.ckpt")):
            return
        shutil.rmtree(self.path)
        study = self.path.parent / STUDY
        if self._is_of_study and list(self.path.parent.iterdir()) == [study]:
            study.unlink()
        for folder in list(self.path.parents)[: DEPTH + self._is_of_study]:
            if folder == Path() or any(folder.iterdir()):
                break
            folder.rmdir()

    # Reading and writing

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint, else the last, else None. A run that never validated has no best."""
        return next((path for path in (self.best, self.last) if path.is_file()), None)

    def evaluation_folder(self, split: str, name: str | None = None) -> Path:
        """Folder of the files of an evaluation; a name sets it apart from the usual one."""
        folder = self.evaluations[split]
        return folder / as_folder_name(name) if name else folder

    def add_results(self, results: dict[str, Any], without: tuple[str, ...] = ()) -> None:
        """Adds to ``results.json``; replaces equal keys, and drops earlier keys that begin with one of ``without``."""
        with changed_results(self.results) as content:
            for key in [key for key in content if key.startswith(without)]:
                del content[key]
            content.update(results)

    def read_results(self) -> dict[str, Any]:
        """The content of ``results.json``; empty without the file.

        Raises:
            ValueError: If it is damaged.
        """
        return read_results(self.results)

    @property
    def diverged(self) -> str | None:
        """Why the training diverged; None if it did not."""
        reason = self.read_results().get(DIVERGED)
        return None if reason is None else str(reason)

    def evaluation_command(self, split: str) -> str:
        """The command that evaluates the best checkpoint on all images of ``test`` or ``val``."""
        command = f"lit-cnn {'test' if split == 'test' else 'validate'} --run {quoted(self.path)}"
        settings = self.config.read_text(encoding="utf-8", errors="replace") if self.config.is_file() else ""
        is_limited = re.search(rf"^  limit_{split}_batches: (?!null$|1\.0$)", settings, re.MULTILINE)
        return f"{command} --trainer.limit_{split}_batches 1.0" if is_limited else command

    def read_predictions(self, split: str) -> RunPredictions:
        """What the network answered for the images of ``val`` or ``test``.

        Raises:
            ValueError: If the run has none, or the file is damaged; names the command that writes it.
        """
        from lit_cnn.runs.predictions import RunPredictions  # imports numpy, which lists of runs do not need

        command = self.evaluation_command(split)
        try:
            return RunPredictions.read(self.predictions[split])
        except FileNotFoundError:
            raise ValueError(f"{self.path} has no {split} predictions: write them with {command}") from None
        except ValueError as error:
            raise ValueError(f"{error} with {command}") from error

    def enter_look(
        self,
        checkpoint: str | None,
        scores: dict[str, Any],
        images: ImageSet | None = None,
        epoch: int | None = None,
        step: int | None = None,
    ) -> Looks:
        """Enters a look at test images into the ledger of the run and into that of all runs.

        Args:
            checkpoint: The tested checkpoint, relative to the run's folder if it lies there; None if there is none.
            scores: By name, for example ``test/acc``; also how they were computed, for example ``test/tta``.
            images: What was tested.
            epoch: Epoch in which the weights were saved.
            step: Number of steps of the optimiser after which they were saved.

        Returns:
            Number of looks at these images, with this one.

        Raises:
            OSError: If a ledger cannot be written.
        """
        images, root = images or ImageSet(), self.root
        entry = {"time": now(), "run": self.id, "path": self.path.absolute().relative_to(root).as_posix()}
        entry |= {"checkpoint": checkpoint, "epoch": epoch, "step": step, "data": images.name, "digest": images.digest}
        of_all = Ledger(root / "ledger.jsonl")
        for ledger in (self.ledger, of_all):
            ledger.enter(entry | scores)
        return count_looks(images, self.ledger, of_all)

    def write_environment(
        self, device: str, precision: str, world_size: int, dataset: str | None = None, variant: str | None = None
    ) -> None:
        """Writes ``environment.json``; a resumed run keeps its ``id``, and what it had before under ``earlier``."""
        before = self.read_environment()
        identity = before.pop("id", None) or secrets.token_hex(8)
        changes = before.pop("changes", [])
        earlier = before.pop("earlier", []) + ([before] if before else [])
        environment = {"id": identity, **describe_environment(device, precision, world_size)}
        environment |= {"dataset": dataset, "variant": variant, "changes": changes, "earlier": earlier}
        write_object(self.environment, environment)

    def add_changes(self, step: int, changes: Iterable[Change]) -> None:
        """Enters into ``environment.json`` what a resumed run does otherwise from a step on."""
        environment = self.read_environment()
        for change in changes:
            entry = {"time": environment["time"], "step": step, "setting": change.setting}
            environment["changes"].append(entry | {"from": change.own, "to": change.given})
        write_object(self.environment, environment)

    def read_environment(self) -> dict[str, Any]:
        return read_object(self.environment) if self.environment.is_file() else {}

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``, one for each epoch.

        Raises:
            ValueError: If it is damaged.
        """
        return read_rows(self.metrics) if self.metrics.is_file() else []

    def write_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replaces ``metrics.csv``."""
        write_rows(self.metrics, rows)
