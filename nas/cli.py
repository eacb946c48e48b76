"""The command line: ``nas run | profile | status | front | export | studies | serve | token | agent | ...``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from nas.checks import is_utf8
from nas.commands.export import export
from nas.commands.lists import agent, devices, studies
from nas.commands.options import import_from_here
from nas.commands.profile import profile_command, profile_device_command
from nas.commands.run import run_command
from nas.commands.scale import scale_command
from nas.commands.serve import print_line, serve, token_app
from nas.commands.show import front_command, status
from nas.errors import NasError, OutputError
from nas.terminal import report_failed_output, tell_aside

app = typer.Typer(
    help="Multi-objective neural architecture search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(f"nas {version('nas')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Multi-objective neural architecture search."""


app.command("serve")(serve)
app.add_typer(token_app, name="token")
app.command("run")(run_command)
app.command("scale")(scale_command)
app.command("profile")(profile_command)
app.command("profile-device")(profile_device_command)
app.command()(status)
app.command("front")(front_command)
app.command()(export)
app.command()(studies)
app.command(
    add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(agent)
app.command()(devices)


def _check_arguments() -> None:
    """Refuse names that are no UTF-8: neither databases nor reports can hold them."""
    for word in sys.argv[1:]:
        if not is_utf8(word):
            raise OutputError(
                f"the argument {word!r} is not UTF-8: rename the file or directory that it names."
            )


def main() -> None:
    """Run the command line; an error a user can put right is one sentence and exit code 2."""
    import_from_here()
    try:
        with report_failed_output():
            _check_arguments()
            app()
    except NasError as error:
        if "--verbose" in sys.argv:
            raise
        tell_aside(str(error))
        sys.exit(2)
    except OSError as error:
        # A path of the user's that can't be looked at, wherever that comes up first: its name is too long, say.
        if error.filename is None or "--verbose" in sys.argv:
            raise
        tell_aside(
            f"{error.filename} can't be used ({error.strerror}): name another path, or let it be read and written; "
            "--verbose shows what wanted it."
        )
        sys.exit(2)
