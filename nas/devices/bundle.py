"""The agent as one file, to be copied to a device."""

from __future__ import annotations

import zipfile
from pathlib import Path

from nas.errors import OutputError

_AGENT = Path(__file__).parent / "agent"
_MAIN = "import sys\n\nfrom nas.devices.agent.program import main\n\nsys.exit(main())\n"


def write_bundle(path: Path) -> None:
    """Write the agent as a file that Python runs: ``python agent.pyz``. The same agent gives the same bytes.

    Raises:
        OutputError: the file can't be written.
    """
    files = {f"nas/devices/agent/{file.name}": file.read_text() for file in sorted(_AGENT.glob("*.py"))}
    packages = {"nas/__init__.py": "", "nas/devices/__init__.py": ""}  # nothing of ours but the agent
    try:
        with path.open("wb") as stream:
            stream.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in {"__main__.py": _MAIN, **packages, **files}.items():
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
        path.chmod(0o755)
    except OSError as error:
        raise OutputError(f"the agent can't be written to {path} ({error}): choose another place.") from error
