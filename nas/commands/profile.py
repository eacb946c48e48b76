"""``nas profile`` and ``nas profile-device``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from nas.catalog import find_study
from nas.commands.options import StudyName, Verbose, import_from_here, say
from nas.errors import OutputError
from nas.terminal import log_to_terminal, print_profile


def profile_command(
    study: StudyName,
    samples: Annotated[int, typer.Option(min=1, help="How many random architectures to count.")] = 2000,
    verbose: Verbose = False,
) -> None:
    """Show how large a study's space is, what its networks cost, and what constraints leave of it."""
    log_to_terminal(verbose)
    from nas.runner.profile import profile

    print_profile(profile(find_study(study), samples))


def profile_device_command(
    study: StudyName,
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    measurements: Annotated[int, typer.Option(help="How many networks to measure.")] = 50,
    device: Annotated[
        str | None,
        typer.Option(
            help="MODULE:EXPRESSION of a device, such as 'nas.devices:OpenVino(threads=2)'; the study's own "
            "unless told otherwise."
        ),
    ] = None,
    objective: Annotated[str | None, typer.Option(help="Which latency, where the study has several.")] = None,
    verbose: Verbose = False,
) -> None:
    """Measure a few of a study's networks, untrained, chosen so that the latency of all others follows."""
    log_to_terminal(verbose)
    from nas.runner.device_profile import latency_to_profile, profile_device

    _check_file(out)
    if device is not None:
        import_from_here()
    found = find_study(study)
    profile = profile_device(found, latency_to_profile(found, device, objective), measurements, say)
    profile.write(out)
    say(f"{profile.device}: written to {out}")


def _check_file(path: Path) -> None:
    """Refuse a file that can't be written, before what is to be in it is measured."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            can_be_file = not path.is_dir()
    except OSError:
        can_be_file = False
    if not can_be_file:
        raise OutputError(
            f"{path} can't be written: name a file in a folder that is there and may be written."
        )
