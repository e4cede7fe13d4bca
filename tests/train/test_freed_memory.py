"""Page faults and resident memory, as the system counts them."""

import ctypes
import subprocess
import sys

import pytest


def test_what_is_freed_is_kept_for_the_next_large_block_and_given_back_afterwards() -> None:
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("another C library than glibc")
    script = """
import resource, sys
import numpy as np
from llmkit.train.freed_memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.empty(64 << 20, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(fields["VmRSS"].split()[0]) >> 10

given_back, small = faults(), held()
with freed_memory_kept():
    faults()
    kept, large = faults(), held()
print(given_back, kept, small, large, held())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    given_back, kept, small, large, after = map(int, done.stdout.split())
    assert kept < given_back / 10
    assert large > small + 50 and after < small + 20  # MiB


def test_large_blocks_go_back_at_once_where_memory_is_to_be_saved() -> None:
    """The second block is larger than what lies free between those that stay: a heap would grow by it."""
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("another C library than glibc")
    script = """
import sys
import numpy as np
from llmkit.train.freed_memory import freed_memory_kept

def held():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(fields["VmRSS"].split()[0]) >> 10

def full(mib):
    block = np.empty(mib << 20, np.uint8)
    block.fill(1)
    return block

with freed_memory_kept(small_only=sys.argv[1] == "saves"):
    before, stays = held(), []
    for _ in range(8):
        passing = full(16)
        stays.append(np.ones(64 << 10, np.uint8))
        del passing
        passing = full(16 + 4 * len(stays))
        stays.append(np.ones(64 << 10, np.uint8))
        del passing
    print(held() - before)
"""
    grown = {
        how: int(subprocess.run([sys.executable, "-c", script, how], capture_output=True, check=True).stdout)
        for how in ("keeps", "saves")
    }
    assert grown["saves"] < 8 < 40 < grown["keeps"]  # MiB
