"""Free, used and freed memory."""

import platform
import subprocess
import sys

import psutil
import pytest

from lit_cnn.system.memory import format_bytes, free_memory, keep_freed_memory, peak_memory

# Frees a tensor of 64 MiB and asks for one again, fifty times; prints how many fresh pages the luckiest of these took.
# (malloc needs a few rounds until the gap that a tensor leaves is aligned as the next one wants it.)
PROGRAM = """
import resource, torch
from lit_cnn.system.memory import keep_freed_memory
{call}
def fresh_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(fresh_pages() for _ in range(50)))
"""


def test_it_says_whether_there_is_glibc():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
@pytest.mark.slow
def test_memory_that_was_freed_is_used_again():
    faults = {}
    for call in ("pass", "keep_freed_memory()"):
        done = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, check=True)
        faults[call] = int(done.stdout)
    assert faults["keep_freed_memory()"] < faults["pass"] / 3


def test_free_and_peak_memory_lie_between_nothing_and_the_machine():
    assert 0 < free_memory() < psutil.virtual_memory().total
    assert psutil.Process().memory_info().rss * 0.5 < peak_memory() < psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0.0 MB"), (999_000_000, "999.0 MB"), (10**9, "1.0 GB"), (1_550_000_000_000, "1550.0 GB")]
)
def test_bytes_for_people(num_bytes: int, text: str):
    assert format_bytes(num_bytes) == text
