"""Memory that a training keeps between its steps."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from nas.training import kept_memory
from nas.training.kept_memory import keep_freed_memory, return_freed_memory

_MIB = 64
_TURNS = 20
_PAGES = _MIB * 2**20 // resource.getpagesize()

_COUNT_PAGES = f"""
import resource, sys, torch
from nas.training.kept_memory import keep_freed_memory, return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

def touch():
    torch.ones({_MIB} * 2**18)

if sys.argv[1] == "kept":
    keep_freed_memory()
before = resident()
touch()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({_TURNS}):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults, resident() - before)
return_freed_memory()
print(resident() - before)
"""
"""Prints pages that are touched anew, those that are held meanwhile, and those that are held afterwards."""


def count_pages(how: str) -> list[int]:
    """Run the program above in a process of its own."""
    command = [sys.executable, "-c", _COUNT_PAGES, how]
    return [int(word) for word in subprocess.run(command, capture_output=True, check=True).stdout.split()]


@pytest.mark.skipif(kept_memory._find_glibc() is None, reason="settings of glibc")
def test_freed_memory_is_kept_until_it_is_given_back():
    faults, _, _ = count_pages("plain")
    kept_faults, kept_meanwhile, kept_after = count_pages("kept")
    # Tensors of 64 MiB are mapped one by one, in pages of 4 KiB or, where the system does so, of 2 MiB.
    assert kept_faults < faults / 4
    assert kept_meanwhile > _PAGES / 2
    assert kept_after < _PAGES / 2


def test_other_c_libraries_stay_as_they_are(monkeypatch):
    kept_memory._find_glibc.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    keep_freed_memory()
    return_freed_memory()
    assert kept_memory._find_glibc() is None
    kept_memory._find_glibc.cache_clear()
