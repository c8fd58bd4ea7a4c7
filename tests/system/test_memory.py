"""Memory that malloc keeps."""

import platform
import subprocess
import sys

import pytest

from lit_cnn.system.memory import keep_freed_memory

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
def test_memory_that_was_freed_is_used_again():
    faults = {}
    for call in ("pass", "keep_freed_memory()"):
        done = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, check=True)
        faults[call] = int(done.stdout)
    assert faults["keep_freed_memory()"] < faults["pass"] / 3
