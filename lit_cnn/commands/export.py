"""``lit-cnn export``: writes a run in forms that others can use, compared with the run."""

from __future__ import annotations

import argparse
import os

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.runs.search import find_run
from lit_cnn.system.compiler import require_compiler
from lit_cnn.system.extras import require_extra
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand

MAX_LOSS = 1.0
FORMATS = ("onnx", "torch", "safetensors", "openvino", "docker")
# The optional packages that each format needs: extra and packages.
NEEDED = {
    "onnx": [("export", ("onnx", "onnxscript", "onnxruntime"))],
    "docker": [("export", ("onnx", "onnxscript", "onnxruntime"))],
    "openvino": [("export", ("onnx", "onnxscript", "onnxruntime")), ("openvino", ("openvino",))],
}


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn export",
        description="Write a run's best checkpoint into RUN/export/ in forms that others can use. Each form is compared "
        "with the run on real images, in several batch sizes. If one answers differently, nothing is written.",
        epilog="example: lit-cnn export --run latest --format onnx safetensors",
    )
    parser.add_argument("--run", required=True, help="folder of the run, or latest")
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for --run latest (default: %(default)s)")
    parser.add_argument(
        "--format",
        action="extend",
        nargs="+",
        choices=FORMATS,
        help="what to write, one or several; docker serves the ONNX file without torch (default: onnx)",
    )
    parser.add_argument(
        "--layout",
        choices=("nhwc", "nchw"),
        help="order of an image's axes: as Pillow and numpy have them, or as torch does (default: nhwc)",
    )
    parser.add_argument(
        "--dtype",
        choices=("uint8", "float32"),
        help="values of an image: 0 to 255, or 0 to 1 (default: uint8)",
    )
    parser.add_argument(
        "--resize", action="store_true", default=None, help="take images of any size: the network resizes them"
    )
    parser.add_argument("--aot", action="store_true", help="with --format torch: also compile for this kind of processor")
    parser.add_argument("--int8", action="store_true", help="with --format onnx: also write it with 8 bits a value")
    parser.add_argument(
        "--max_loss",
        type=float,
        metavar="POINTS",
        help=f"with --int8: points of validation accuracy that may be lost (default: {MAX_LOSS:g})",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn export`` and returns the exit status."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    formats = list(dict.fromkeys(options.format or ["onnx"]))
    if options.aot and "torch" not in formats:
        raise ValueError("--aot compiles what --format torch writes: give both")
    if "docker" in formats and "onnx" not in formats:
        formats.insert(0, "onnx")
    if options.int8 and "onnx" not in formats:
        raise ValueError("--int8 is a form of --format onnx: give both")
    if options.max_loss is not None and not options.int8:
        raise ValueError("--max_loss is what --int8 may lose: give both")
    given = [name for name in ("layout", "dtype", "resize") if getattr(options, name) is not None]
    has_images = formats != ["safetensors"]
    if given and not has_images:
        raise ValueError(f"--{given[0]} is about images, and --format safetensors writes weights alone: leave it out")
    max_loss = MAX_LOSS if options.max_loss is None else options.max_loss
    if not 0 <= max_loss <= 100:
        raise ValueError(f"--max_loss is in points from 0 to 100, got {max_loss:g}")
    for name in formats:
        for extra, packages in NEEDED.get(name, []):
            require_extra(extra, f"--format {name}", packages)
    if options.aot:
        require_compiler("--aot")
    run = find_run(options.run, expand(options.runs_dir))
    if not os.access(run.path, os.W_OK):
        raise ValueError(f"the export cannot be written: the folder of the run is read-only ({run.path})")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.commands.threads import use_threads
    from lit_cnn.export.export import Export, images_of_earlier_export

    use_threads("auto", 1, "export", has_option=False)
    images = {"layout": options.layout, "dtype": options.dtype, "takes_any_size": options.resize}
    images = {name: value for name, value in images.items() if value is not None}
    if not has_images:  # forms of other images stay beside the weights
        images = images_of_earlier_export(run)
    export = Export(run, **images, report=lambda line: print(line, flush=True))
    print(export.write(formats, options.aot, options.int8, max_loss))
    return 0
