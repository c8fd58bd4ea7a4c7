"""``lit-cnn bench-export``: speed and accuracy of a run in each form, a table to choose by."""

from __future__ import annotations

import argparse

from lit_cnn.commands.messages import in_one_line, quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_output
from lit_cnn.commands.resuming import warn
from lit_cnn.commands.tables import print_table
from lit_cnn.runs.search import find_run
from lit_cnn.system.compiler import require_compiler
from lit_cnn.system.extras import require_extra
from lit_cnn.system.json_files import write_object
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand

ONNX = ("onnx", "onnxscript", "onnxruntime")
COMPILED = "PyTorch compiled"
# The forms, with the optional packages that they need.
NEEDED = {
    "PyTorch float32": {},
    "PyTorch bfloat16": {},
    COMPILED: {},
    "ONNX Runtime": {"export": ONNX},
    "ONNX Runtime int8": {"export": ONNX},
    "OpenVINO": {"export": ONNX, "openvino": ("openvino",)},
}


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn bench-export",
        description="Measure milliseconds an image and validation accuracy of a run's best checkpoint in each form, on the "
        "processor of this machine. Forms whose packages are missing are left out.",
    )
    parser.add_argument("--run", required=True, help="folder of the run, or latest")
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for --run latest (default: %(default)s)")
    parser.add_argument("--no_compile", action="store_true", help="leave out torch.compile, which needs a C++ compiler")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that compute (default: without busy processors)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the numbers and the machine")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn bench-export`` and returns the exit status."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    output = None if options.output is None else expand(options.output)
    if output is not None:
        if output.suffix != ".json":
            raise ValueError(f"--output must be a file that ends with .json, got {output}")
        check_output(output)
    if options.threads is not None and options.threads < 1:
        raise ValueError(f"--threads must be at least 1, got {options.threads}")
    run = find_run(options.run, expand(options.runs_dir))
    forms = []
    for form, extras in NEEDED.items():
        if form == COMPILED and options.no_compile:
            continue
        try:
            for extra, packages in extras.items():
                require_extra(extra, form, packages)
            if form == COMPILED:
                require_compiler(form)
            forms.append(form)
        except ValueError as error:
            warn(in_one_line(str(error)))

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.commands.threads import use_threads
    from lit_cnn.export.bench import BATCHES, measure_forms

    threads = use_threads(options.threads or "auto", 1, "bench-export")
    found, measured = measure_forms(run, forms, threads, lambda line: print(line, flush=True))
    columns = [f"ms an image, batch of {size}" for size in BATCHES]
    rows = [(one.form, *(f"{one.ms[size]:.3f}" for size in BATCHES), f"{one.accuracy:.2%}") for one in found]
    print()
    print_table(("form", *columns, "accuracy"), rows, right=(*columns, "accuracy"))
    machine = measured["machine"]
    processor = f"{machine['processors']} × {machine['cpu_name']} ({machine['cpu']})"
    print(f"\n{processor}, {machine['threads']} threads; accuracy on {measured['images']:,} validation images")
    if output is not None:
        write_object(output, measured)
        print(output)
    return 0
