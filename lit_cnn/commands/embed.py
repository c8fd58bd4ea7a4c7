"""``lit-cnn embed``: writes the features of images."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lit_cnn.commands.image_options import add_options, read_request
from lit_cnn.commands.image_progress import BadImages, each_batch
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import is_replaced
from lit_cnn.commands.row_files import Column, RowFile, check_parquet, open_rows
from lit_cnn.system.memory import keep_freed_memory

if TYPE_CHECKING:
    from lit_cnn.inference.trained import Trained

ENDINGS = (".npz", ".parquet")


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn embed",
        description="Write the features of images: what the network computes before its last layer, float32 (N, D).",
    )
    add_options(parser)
    parser.add_argument(
        "--output",
        default="features.npz",
        help="file to write: .npz with the arrays features, files and, if there are any, labels; or .parquet with the "
        "columns file, features and label, which needs pyarrow (default: %(default)s)",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn embed`` and returns the exit status: 1 if no image could be read."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    request = read_request(options, ENDINGS)
    output = request.output
    if output is None or not is_replaced(output):
        raise ValueError("features are written to a file, not to a pipe or a device: --output features.npz")
    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"--output {output} must end with {' or '.join(ENDINGS)}")
    if ending == ".parquet":
        check_parquet(output)

    trained, source, threads = request.load("lit-cnn embed")
    bad, count = BadImages(), 0
    width = num_features(trained)
    with _open_features(output, width, source.has_labels) as file:
        began = time.perf_counter()
        features = trained.embed_batches(request.given(trained, source), request.batch_size, threads)
        for batch in each_batch(features, "computing features", source.count, bad):
            file.write([(str(item.path), array, *([item.label] if source.has_labels else [])) for item, array in batch])
            count += len(batch)
        seconds = time.perf_counter() - began
        bad.end(count)
    speed = f"{(count + bad.count) / seconds:,.0f} images/s"
    print(f"{width:,} features of {count:,} images in {output} ({speed})", file=sys.stderr)
    return 0


def num_features(trained: Trained) -> int:
    """Features of an image."""
    import torch

    blank = torch.zeros(1, trained.channels, trained.native_size, trained.native_size, dtype=torch.uint8)
    return int(trained.embed(blank).shape[1])


@contextlib.contextmanager
def _open_features(output: Path, width: int, has_labels: bool) -> Iterator[RowFile]:
    columns = [Column("file"), Column("features", "numbers", width), *([Column("label")] if has_labels else [])]
    if output.suffix.lower() == ".parquet":
        with open_rows(output, "parquet", columns) as rows:
            yield rows
    else:
        from lit_cnn.commands.feature_file import open_npz

        with open_npz(output, width, has_labels) as file:
            yield file
