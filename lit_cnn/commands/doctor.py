"""``lit-cnn doctor``: checks data, network and machine before a long training."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.tables import print_table
from lit_cnn.data.finding import Finding
from lit_cnn.data.names import DATASETS, DatasetName, find_dataset

# Options that only datasets of files have.
OF_FILES = ("group_by", "resize", "background", "value_range")


OVERFIT_LR = 0.01  # that of every model


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the options."""
    parser = OneLineParser(prog="lit-cnn doctor", description="Check data, network and machine before a long training.")
    names = ", ".join(sorted(DATASETS.values()))
    parser.add_argument(
        "--data", required=True, help=f"a folder of class folders, an archive of one, a table, or a dataset: {names}"
    )
    parser.add_argument(
        "--data_dir", "--data.data_dir", help="where the dataset's files are, or are downloaded to (default: data)"
    )
    parser.add_argument(
        "--model",
        default="resnet18",
        help="a variant (resnet50), or an architecture (resnet, LitResNet) for its default variant (default: %(default)s)",
    )
    parser.add_argument(
        "--image_size", "--data.image_size", type=int, help="height and width in pixels (default: the variant's own)"
    )
    parser.add_argument(
        "--batch_size", "--data.batch_size", type=int, default=32, help="images in a training step (default: %(default)s)"
    )
    parser.add_argument(
        "--group_by", "--data.group_by", help="regular expression that finds the group of an image in its path"
    )
    parser.add_argument(
        "--resize", "--data.resize", help="how a photo becomes a square: crop, squash or pad (default: crop)"
    )
    parser.add_argument(
        "--background", "--data.background", help="colour behind transparent pixels: white or black (default: white)"
    )
    parser.add_argument(
        "--value_range",
        "--data.value_range",
        type=_two_numbers,
        help="values of deep images that become black and white, as [0,4095] (default: from the images)",
    )
    parser.add_argument("--runs_dir", default="runs", help="where runs will be saved (default: %(default)s)")
    parser.add_argument(
        "--overfit", action="store_true", help="train on 20 images until the loss is below 0.01, or find out why it is not"
    )
    parser.add_argument("--lr", "--model.lr", type=float, help=f"learning rate of --overfit (default: {OVERFIT_LR})")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, for programs")
    return parser.parse_args(arguments)


def _two_numbers(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.strip("[] ").split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected two numbers such as [0,4095], got {text}") from error
    return low, high


def dataset_of(options: argparse.Namespace) -> DatasetName:
    """The dataset that ``--data`` and ``--data_dir`` name.

    Raises:
        ValueError: If there is no such dataset, or both options name a folder.
    """
    dataset = find_dataset(options.data)
    if options.data_dir is None:
        return dataset
    if dataset.data_dir is not None:
        raise ValueError(f"--data {options.data} is a folder or an archive already: remove --data_dir {options.data_dir}")
    return replace(dataset, data_dir=options.data_dir)


def report(findings: Iterable[Finding], as_json: bool) -> int:
    """Prints findings, for people each as soon as it is known; returns the exit status."""
    printed: list[Finding] = []
    for finding in findings:
        printed.append(finding)
        if not as_json:
            # Padded cells: the lines are tables of their own and must be aligned all the same.
            print_table(("", "", ""), [(f"{finding.level:7}", f"{finding.subject:11}", finding.text)])
    if as_json:
        print(json.dumps([asdict(finding) for finding in printed], indent=2))
    return int(any(finding.level == "error" for finding in printed))


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn doctor``; the exit status is 1 if training would fail."""
    options = parse(arguments[1:])
    try:
        dataset = dataset_of(options)
        of_files = {name: getattr(options, name) for name in OF_FILES if getattr(options, name) is not None}
        if of_files and dataset.class_name not in ("ImageFolder", "ImageTable"):
            raise ValueError(f"--{next(iter(of_files))} is for folders and tables of images, not for {options.data}")
        if options.lr is not None and not options.overfit:
            raise ValueError("--lr is the learning rate of --overfit: add --overfit, or leave --lr out")
        if options.lr is not None and not 0 < options.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {options.lr:g}")
    except ValueError as error:
        return report([Finding("error", "data", str(error))], options.json)
    # These import torch, which takes seconds: help and errors in the options come first.
    from lit_cnn.commands.examine import examine
    from lit_cnn.system.memory import keep_freed_memory

    quiet()
    keep_freed_memory()
    overfit_lr = (options.lr or OVERFIT_LR) if options.overfit else None
    findings = examine(
        dataset, options.model, options.image_size, options.batch_size, options.runs_dir, of_files, overfit_lr
    )
    return report(findings, options.json)
