"""``lit-cnn predict``: classifies new images."""

from __future__ import annotations

import argparse
import sys
import time

from lit_cnn.commands.image_options import add_options, read_request
from lit_cnn.commands.image_progress import BadImages, each_batch
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.prediction_rows import UNSURE, PredictionRows, check_numbers
from lit_cnn.commands.row_files import FORMATS, format_of, open_rows
from lit_cnn.commands.tta import CHOICES, warn_of_unseen
from lit_cnn.system.memory import keep_freed_memory


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn predict",
        description="Classify images with a run's best checkpoint, its preprocessing and its class names.",
    )
    add_options(parser)
    parser.add_argument("--output", help="file to write, or - to print (default: predictions.csv, or of the --format)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="csv; json, one array; jsonl, an object a line; or parquet, which needs pyarrow "
        "(default: by the ending of --output, else csv)",
    )
    parser.add_argument(
        "--top_k",
        type=int,
        default=1,
        metavar="K",
        help="write the K likeliest classes, in columns class, probability, class_2, probability_2, … (default: 1)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="write the probability of each class, in columns p_NAME; classes of one name also have their number",
    )
    parser.add_argument(
        "--min_confidence",
        type=float,
        metavar="P",
        help=f"below this probability the class is {UNSURE}; the column likeliest names the likeliest class of each image",
    )
    parser.add_argument(
        "--tta",
        nargs="?",
        const="flip",
        choices=CHOICES,
        help="test-time augmentation, the mean of the probabilities: flip, of an image and its mirror image, in twice the "
        "time; shifts, of an image and its eight shifts by one pixel, in nine times the time (without a value: flip)",
    )
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="probabilities at the temperature of the run, and the column set_90: classes of which one is true in 90 %% "
        "of the validation images, on which the checkpoint may have been chosen",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn predict`` and returns the exit status: 1 if no image could be classified."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    if options.output is None:
        options.output = f"predictions.{options.format or 'csv'}"
    request = read_request(options)
    check_numbers(options.top_k, options.min_confidence)
    if options.tta and options.calibrated:
        raise ValueError("--calibrated was measured without --tta: leave one of them out")
    output_format = format_of(options.format, request.output)

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.inference.calibrated import confidence_of_checkpoint
    from lit_cnn.inference.labels import Agreement

    trained, source, threads = request.load("lit-cnn predict")
    try:
        confidence = confidence_of_checkpoint(trained.source) if options.calibrated else None
    except ValueError as error:
        raise ValueError(f"--calibrated cannot be used: {error}; leave it out for uncalibrated probabilities") from error
    shown = options.top_k, options.all, options.min_confidence, source.has_labels, options.calibrated
    rows = PredictionRows(trained.class_names, *shown)
    agreement = Agreement(frozenset(trained.class_names))
    given = request.given(trained, source)
    bad, count, unsure = BadImages(), 0, 0
    warn_of_unseen(options.tta, trained.mirrored)
    with open_rows(request.output, output_format, rows.columns()) as file:
        began = time.perf_counter()
        predictions = trained.predict_batches(given, request.batch_size, options.tta, threads, confidence)
        for batch in each_batch(predictions, "classifying", source.count, bad):
            file.write([rows.row(prediction, item.label) for item, prediction in batch])
            for item, prediction in batch:
                is_unsure = rows.is_unsure(prediction)
                agreement.add(prediction.class_name, item.label, is_unsure)
                unsure += is_unsure
            count += len(batch)
        seconds = time.perf_counter() - began
        bad.end(count)
    place = f" in {request.output}" if request.output else ""
    print(f"{count:,} predictions{place} ({(count + bad.count) / seconds:,.0f} images/s)", file=sys.stderr)
    if options.min_confidence is not None:
        print(f"{unsure:,} of {count:,} images are {UNSURE}: probability below {options.min_confidence}", file=sys.stderr)
    if text := str(agreement):
        print(text, file=sys.stderr)
    return 0
