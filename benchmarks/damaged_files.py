"""Damage each file of a finished run in many ways, type the same commands again, and look what they make of it.

    python -m benchmarks.damaged_files --out runs/damaged

Right is one sentence and exit code 2, or a file that is made again and said, with equal files and numbers at the end;
``nas status`` and ``nas front`` may also not need the file. Anything else is printed in capitals.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.cli import main as nas_main

SELDOM = {"study.db", "study.db-wal", "study.db-shm", "status.json", ".lock"}
"""Not the same after every run."""
COMMANDS = ("run", "status", "front", "export")


def flip_bit(content: bytes) -> bytes:
    """Return the content with one bit in the middle the other way round."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def with_nulls(value: Any) -> Any:
    """Return a JSON value with null in place of every number, text and truth."""
    if isinstance(value, dict):
        return {key: with_nulls(item) for key, item in value.items()}
    return [with_nulls(item) for item in value] if isinstance(value, list) else None


def without_a_key(content: bytes) -> bytes:
    """Return a JSON object without its first key."""
    value = json.loads(content)
    return json.dumps(dict(list(value.items())[1:]) if isinstance(value, dict) else value).encode()


ANY: dict[str, Callable[[bytes], bytes | None]] = {
    "byte flipped": flip_bit,
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda _: b"",
    "a directory": lambda _: None,
}
IN_JSON: dict[str, Callable[[bytes], bytes | None]] = {
    "[]": lambda _: b"[]",
    "null": lambda _: b"null",
    "{}": lambda _: b"{}",
    "nulls": lambda content: json.dumps(with_nulls(json.loads(content))).encode(),
    "a key less": without_a_key,
}


def call_command(*words: object) -> tuple[int | None, str]:
    """Return a command's exit code and what it printed; None as the code of a traceback."""
    printed = io.StringIO()
    sys.argv = ["nas", *map(str, words)]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            nas_main()
    except SystemExit as stop:
        return int(stop.code or 0), printed.getvalue()
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return 0, printed.getvalue()


def digests(run: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that every run leaves the same, by path; of the report the winners' numbers."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in SELDOM]
    found = {str(path.relative_to(run)): path.read_bytes() for path in files}
    for name in ("report.json", "files.json"):  # they tell seconds
        found.pop(name, None)
    found["winners"] = json.dumps(json.loads((run / "report.json").read_text())["winners"]).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def verdict(code: int | None, printed: str, name: str, is_whole: Callable[[], bool] | None) -> str:
    """Return what a command made of the damage."""
    last = printed.strip().splitlines()[-1:]
    if code is None:
        return f"TRACEBACK {printed[:60]}"
    if code == 2:
        return "a sentence" if last and last[0].startswith("nas: ") else "NO SENTENCE"
    if code != 0:
        return f"EXIT CODE {code}"
    if is_whole is None:
        return "not needed"
    if not is_whole():
        return "SILENTLY WRONG"
    words = " ".join(printed.split())
    return "made again" if "made again" in words and Path(name).name in words else "NOT SAID"


def try_commands(study: str, whole: Path, run: Path, name: str, content: bytes | None) -> list[str]:
    """Return what each command makes of a copy of ``whole`` in which the file ``name`` has this content."""
    before, found = digests(whole), []
    for command in COMMANDS:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(run.with_name("export"), ignore_errors=True)
        shutil.copytree(whole, run)
        (run / name).unlink()
        if content is None:
            (run / name).mkdir()
        else:
            (run / name).write_bytes(content)
        words = {"run": [study, "--out", run], "export": [run, "--to", run.with_name("export")]}
        code, printed = call_command(command, *words.get(command, [run]))
        is_whole = (lambda: digests(run) == before) if command == "run" else None
        found.append(verdict(code, printed, name, is_whole))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/damaged"))
    parser.add_argument("--study", default=str(Path(__file__).parent / "short_study.py"))
    parser.add_argument("--files", default="*", help="Only those whose path in the run matches.")
    arguments = parser.parse_args()
    whole, run = arguments.out / "whole", arguments.out / "run"
    shutil.rmtree(arguments.out, ignore_errors=True)
    code, printed = call_command("run", arguments.study, "--out", run)
    assert code == 0, printed
    shutil.copytree(run, whole)  # a card tells the command, so all copies are run where this one was
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    counts: collections.Counter[str] = collections.Counter()
    for name in (n for n in names if Path(n).match(arguments.files) and Path(n).name != ".lock"):
        original = (whole / name).read_bytes()
        damages = ANY | (IN_JSON if name.endswith(".json") else {})
        for damage, make in damages.items():
            if not original:
                continue
            found = try_commands(arguments.study, whole, run, name, make(original))
            counts.update(f"{c}: {v.split('  ')[0]}" for c, v in zip(COMMANDS, found, strict=True))
            told = "; ".join(f"{c} {v}" for c, v in zip(COMMANDS, found, strict=True))
            print(f"{name:<46} {damage:<13} {told}", flush=True)
    for what, count in sorted(counts.items()):
        print(f"{count:>5}  {what}")


if __name__ == "__main__":
    main()
