"""The models that the agent keeps: files named by their digest, the least used of which make room for others."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from nas.devices.agent.refusal import Refusal

DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)
_PIECE_BYTES = 1 << 20
"""Read at a time: a small board has no memory for a whole model beside the one that it runs."""


class ModelFolder:
    """Models on the disk.

    A file is whole or absent; whether its content still has its digest is looked at when it is loaded.

    Args:
        folder: Is made.
        max_bytes: Most bytes of all models.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob("*.part"):  # of an agent that was killed
            left.unlink()

    def path(self, digest: str) -> Path:
        """Return where a model is kept."""
        if not DIGEST.fullmatch(digest):
            raise Refusal(400, "request", "a model is named by its SHA-256, 64 digits of 0-9a-f.")
        return self._folder / f"{digest}.onnx"

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return which of these are not here; the others count as used now."""
        absent = []
        for digest in dict.fromkeys(digests):
            try:
                os.utime(self.path(digest))
            except FileNotFoundError:
                absent.append(digest)
        return absent

    def store(self, digest: str, stream: BinaryIO, size: int) -> None:
        """Read a model and keep it.

        Args:
            digest: That it must have.
            stream: Where it comes from.
            size: Bytes to read.

        Raises:
            Refusal: the content has another digest.
            ConnectionError: the stream ended early.
        """
        target = self.path(digest)
        partial = self._folder / f"{secrets.token_hex(8)}.part"
        try:
            found = _copy(stream, partial, size)
            if found != digest:
                raise Refusal(
                    422, "digest", f"the content's SHA-256 is {found}, which is not the model's name."
                )
            partial.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
        self._make_room(target)

    def drop(self, digest: str) -> None:
        """Let go of a model whose file was damaged."""
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).unlink()

    def _make_room(self, newest: Path) -> None:
        files = {path: path.stat() for path in self._folder.glob("*.onnx") if path != newest}
        total = newest.stat().st_size + sum(status.st_size for status in files.values())
        for path, status in sorted(files.items(), key=lambda item: item[1].st_mtime_ns):
            if total <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            total -= status.st_size


def _copy(stream: BinaryIO, path: Path, size: int) -> str:
    """Copy so many bytes to a new file and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while size:
            piece = stream.read(min(size, _PIECE_BYTES))
            if not piece:
                raise ConnectionResetError("the model ended early")
            file.write(piece)
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()
