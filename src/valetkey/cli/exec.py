"""`valetkey exec`: run a program that finds tokens in its environment, or on a file descriptor; never in arguments.

What may not be here: shells.
"""

from __future__ import annotations

import os
import re
from typing import Final

import click

from valetkey.cli.base import AfterDashes, Session, behind
from valetkey.cli.completing import complete_connections
from valetkey.errors import InvalidInput

VARIABLE: Final = "VALETKEY_TOKEN"
"""Where a program finds the token of a single connection, unless --env says otherwise."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@click.command("exec", cls=AfterDashes, tail="PROGRAM [ARGUMENT]...")
@click.argument("names", nargs=-1, metavar="[APP/LABEL]...", shell_complete=complete_connections)
@click.option("--env", "variables", multiple=True, metavar="VAR[=APP/LABEL]", help="The variable for a connection.")
@click.option("--fd", type=click.IntRange(3, 255), help="Hand the token over on this file descriptor instead.")
@click.pass_context
def exec_(context: click.Context, *, names: tuple[str, ...], variables: tuple[str, ...], fd: int | None) -> None:
    """Run a program that finds fresh tokens in its environment.

    One connection stands in VALETKEY_TOKEN, several in VALETKEY_TOKEN_APP_LABEL; --env names another variable. With
    --fd 3 the token can be read once from that file descriptor, and stands nowhere else. Signals and the exit code are
    the program's own; 127 means it was not found, 126 that it could not be run.

    A token lives for a while and is not renewed inside a program that runs longer: such a program should ask
    `valetkey token` each time, or use the library.
    """
    session: Session = context.obj
    command = behind(context, "valetkey exec google/alice -- ./sync.sh")
    places = places_for(names, variables, on_fd=fd is not None)
    from valetkey.cli.handover import become, readable_once

    environment = dict(os.environ)
    with session.open() as vault:
        tokens = {place: vault.token(name).reveal() for place, name in places.items()}
    if fd is None:
        environment |= tokens
    else:
        readable_once(next(iter(tokens.values())).encode(), at=fd)
    become(command, environment)


def places_for(names: tuple[str, ...], variables: tuple[str, ...], *, on_fd: bool = False) -> dict[str, str]:
    """Return connections by the variable that each goes into; raises InvalidInput for what cannot be meant."""
    mapped = [text.partition("=") for text in variables]
    bare = [variable for variable, _equals, name in mapped if not name]
    wanted = list(dict.fromkeys([*names, *(name for _variable, _equals, name in mapped if name)]))
    if not wanted:
        raise InvalidInput("no connection was named", fix="for example: `valetkey exec google/alice -- ./sync.sh`")
    if on_fd and (len(wanted) > 1 or variables):
        raise InvalidInput("a file descriptor holds one token", fix="name one connection, and leave out --env")
    if bare and (len(bare) > 1 or len(wanted) > 1):
        raise InvalidInput(f"which connection is {bare[0]} for?", fix=f"--env {bare[0]}={wanted[0]}")
    if len({variable for variable, _equals, _name in mapped}) < len(mapped):
        raise InvalidInput("a variable was named twice", fix="give each connection a variable of its own")
    places = {variable: name or wanted[0] for variable, _equals, name in mapped}
    for name in wanted:
        if name not in places.values():
            variable = VARIABLE if len(wanted) == 1 else f"{VARIABLE}_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
            if variable in places:
                raise InvalidInput(f"{places[variable]} and {name} would share {variable}", fix="name one with --env")
            places[variable] = name
    strange = next((variable for variable in places if not NAME.fullmatch(variable)), None)
    if strange is not None:
        raise InvalidInput(f"{strange[:80]!r} cannot be a variable", fix="letters, digits and _, not a digit first")
    return places
