"""Checks of what is left of images when they are read: for ``lit-cnn doctor``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lit_cnn.data.finding import Finding
from lit_cnn.data.manifest import count, first
from lit_cnn.data.opening import is_grey_mode
from lit_cnn.data.reading import ImageFacts, Reading

# So many files are named in a text; the details name all.
NUM_NAMED = 5
# Shares of an image that a crop may cut off: more than that of a photograph of 3:2 in most images, or of 5:2 in one.
MAX_MEDIAN_CUT, MAX_CUT = 0.34, 0.6
# Proportions from which an image is hard to recognise when it is squashed, or has few pixels when it is padded.
MAX_PROPORTION = 4
# Share of the range of values that most deep images should use: below, a sixteenth of the grey levels is left.
MIN_USED = 1 / 16


@dataclass(frozen=True)
class ReadFile:
    """An image file that can be decoded.

    Args:
        path: The file.
        facts: What it holds.
        is_constant: Whether all its pixels are equal when it is read.
    """

    path: Path
    facts: ImageFacts
    is_constant: bool

    @property
    def sides(self) -> tuple[int, int]:
        """The shorter and the longer side, in pixels."""
        return min(self.facts.size), max(self.facts.size)


def check_pixels(files: list[ReadFile], reading: Reading) -> Iterator[Finding]:
    """Checks what training would see of the files.

    Args:
        files: The files.
        reading: How training reads them.
    """
    if not files:
        return
    yield _check_modes(files, reading.channels)
    yield _check_sizes(files, reading.image_size)
    yield _check_proportions(files, reading)
    transparent = [file for file in files if file.facts.is_transparent]
    if transparent:
        other = "black" if reading.background == "white" else "white"
        text = (
            f"{len(transparent):,} of {len(files):,} images have transparent pixels, which are put on {reading.background}"
        )
        text += f" (--data.background {other} for another ground)"
        yield Finding("ok", "background", text, _details(transparent))
    yield from _check_range(files, reading)
    constant = [file for file in files if file.is_constant]
    if constant:
        text = f"{count(len(constant), 'image')} of one colour when read, blank for the network: {_names(constant)}"
        yield Finding("warning", "constant", text, _details(constant))
    several = [file for file in files if file.facts.num_frames > 1]
    if several:
        text = f"{len(several):,} of {len(files):,} files hold several images, of which the first is read: {_names(several)}"
        yield Finding("ok", "frames", text, _details(several))
    warned = {file: "; ".join(file.facts.warnings) for file in files if file.facts.warnings}
    if warned:
        text = f"{count(len(warned), 'file')} read in spite of damage beside the pixels: "
        text += first((f"{file.path} ({problem})" for file, problem in warned.items()), NUM_NAMED)
        yield Finding("warning", "metadata", text, {"files": {str(file.path): text for file, text in warned.items()}})


def _check_modes(files: list[ReadFile], channels: int) -> Finding:
    modes = Counter(file.facts.mode for file in files)
    counts = ", ".join(f"{number:,} {mode}" for mode, number in modes.most_common())
    is_mixed = len({is_grey_mode(mode) for mode in modes}) > 1
    text = f"{counts}, read as {'grey' if channels == 1 else 'colour'}"
    if is_mixed:
        reason = "as all training images are" if channels == 1 else "as not all training images are grey"
        text = f"{counts}: grey and colour are mixed, all are read as {'grey' if channels == 1 else 'colour'}, {reason}"
    return Finding("warning" if is_mixed else "ok", "modes", text, dict(modes))


def _check_sizes(files: list[ReadFile], image_size: int) -> Finding:
    sides = sorted(file.sides[0] for file in files)
    small = [file for file in files if file.sides[0] < image_size]
    text = f"shorter sides of {sides[0]} to {sides[-1]} pixels, median {sides[len(sides) // 2]}"
    if small:
        text += (
            f"; {len(small):,} are enlarged: they are smaller than the {image_size} pixels to which training resizes them"
        )
    return Finding("warning" if small else "ok", "sizes", text, _details(small))


def _check_proportions(files: list[ReadFile], reading: Reading) -> Finding:
    proportions = {file: file.sides[1] / file.sides[0] for file in files}
    extreme = max(files, key=lambda file: proportions[file])
    longest = proportions[extreme]
    if reading.resize != "crop":
        narrow = [file for file in files if proportions[file] > MAX_PROPORTION]
        effect = "squashed to a square" if reading.resize == "squash" else f"padded with {reading.background}"
        text = f"all whole, {effect}; the longest is {longest:.1f}:1 ({extreme.path})"
        text += f"; {len(narrow):,} beyond {MAX_PROPORTION}:1 keep little detail" if narrow else ""
        return Finding("warning" if narrow else "ok", "proportions", text, _details(narrow))
    cut = {file: 1 - 1 / proportion for file, proportion in proportions.items()}
    middle, worst = median(cut.values()), cut[extreme]
    much = [file for file in files if cut[file] > (MAX_MEDIAN_CUT if middle > MAX_MEDIAN_CUT else MAX_CUT)]
    text = f"the central square cuts off {middle:.0%} of the median image, {worst:.0%} of the longest ({longest:.1f}:1)"
    if much:
        text += f"; --data.resize pad or squash keeps whole images; cut most: {_names(_by(much, cut))}"
    return Finding("warning" if much else "ok", "proportions", text, _details(much) | {"median": middle, "worst": worst})


def _check_range(files: list[ReadFile], reading: Reading) -> Iterator[Finding]:
    deep = {file: file.facts.values for file in files if file.facts.values is not None}
    if not deep or reading.value_range is None:
        if deep:
            text = f"{count(len(deep), 'deep image')}, none for training: each is read with its own range"
            yield Finding("warning", "range", text, _details(deep))
        return
    low, high = reading.value_range
    clipped = [file for file, values in deep.items() if values.low < low or values.high > high]
    odd = [file for file, values in deep.items() if not values.is_finite]
    used = {file: (min(values.high, high) - max(values.low, low)) / (high - low) for file, values in deep.items()}
    faint = [file for file in deep if used[file] < MIN_USED]
    text = f"{count(len(deep), 'deep image')} read with the range of {low:g} to {high:g}"
    text += f", {len(files) - len(deep):,} of 8 bits with 0 to 255" if len(deep) < len(files) else ""
    if clipped:
        text += f"; {len(clipped):,} clipped, with values outside: {_names(clipped)}"
    if odd:
        text += f"; {len(odd):,} with NaN or infinity, read as {low:g}: {_names(odd)}"
    if faint:
        text += f"; {len(faint):,} use less than a sixteenth of it: {_names(_by(faint, used, reverse=False))}"
        text += "; set --data.value_range [LOW,HIGH]"
    yield Finding("warning" if clipped or odd or faint else "ok", "range", text, _details([*clipped, *odd, *faint]))


def _by(files: list[ReadFile], key: dict[ReadFile, float], reverse: bool = True) -> list[ReadFile]:
    return sorted(files, key=lambda file: key[file], reverse=reverse)


def _names(files: Iterable[ReadFile]) -> str:
    return first((str(file.path) for file in files), NUM_NAMED)


def _details(files: Iterable[ReadFile]) -> dict[str, object]:
    return {"files": [str(file.path) for file in files]}
