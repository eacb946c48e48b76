"""``nas studies``, ``nas devices`` and ``nas agent``."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nas.catalog import describe_study, study_names
from nas.commands import remote
from nas.commands.options import Server, Verbose, client_of
from nas.report.tables import Table
from nas.terminal import console, log_to_terminal, print_table


def studies(
    as_json: Annotated[bool, typer.Option("--json", help="Describe each study in JSON.")] = False,
    server: Server = None,
    verbose: Verbose = False,
) -> None:
    """List the studies that can be named."""
    log_to_terminal(verbose)
    if server is not None:
        with client_of(server) as client:
            remote.print_studies(client, as_json)
        return
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):  # what a study file prints is no JSON
            described = [describe_study(name) for name in study_names()]
        print(json.dumps(described, indent=2))
        return
    for name in study_names():
        console.print(name)


def agent(context: typer.Context) -> None:
    """Time networks on this device for runs elsewhere; --bundle FILE writes the agent as one file for a board."""
    from nas.devices.agent.program import make_parser, run_agent
    from nas.devices.bundle import write_bundle

    parser = make_parser("nas agent")
    parser.add_argument("--bundle", type=Path, help="write the agent as one file, and do nothing else")
    options = parser.parse_args(context.args)
    if options.bundle is None:
        raise typer.Exit(run_agent(options))
    write_bundle(options.bundle)
    console.print(
        f"{options.bundle}: copy it to the device, and start it there with 'python3 {options.bundle.name}'",
        highlight=False,
        soft_wrap=True,
    )


def devices(
    urls: Annotated[list[str], typer.Argument(help="Addresses of agents, such as http://10.0.0.7:8710.")],
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds their token; the environment variable NAS_AGENT_TOKEN does otherwise."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Show how devices are at the moment; exits with 1 where one is away or refuses."""
    log_to_terminal(verbose)
    from nas.devices.remote import Remote
    from nas.devices.states import COLUMNS, states_of

    found = states_of([Remote(url, token_file=token_file) for url in urls])
    print_table("devices", Table(COLUMNS, [state.cells for state in found]))
    for state in found:
        if state.sentence:
            console.print(f"{state.url}: {state.sentence}", highlight=False, soft_wrap=True)
    if any(state.facts is None for state in found):
        raise typer.Exit(1)
