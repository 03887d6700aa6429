"""The root command, and the one table of its commands. Each is loaded when it is asked for.

A new command is a file with a click command in it and one line in COMMANDS. What may not be here: what they do.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from valetkey._version import __version__
from valetkey.cli.base import Group, Session
from valetkey.cli.exits import EXIT_CODES
from valetkey.cli.show import out

COMMANDS: Final = {
    "app": "valetkey.cli.app:app",
    "connect": "valetkey.cli.connect:connect",
    "connection": "valetkey.cli.connection:connection",
    "token": "valetkey.cli.token:token",
    "curl": "valetkey.cli.curl:curl",
    "exec": "valetkey.cli.exec:exec_",
    "provider": "valetkey.cli.provider:provider",
    "key": "valetkey.cli.key:key",
    "jwt": "valetkey.cli.jwt:jwt",
    "keep": "valetkey.cli.keep:keep",
    "forecast": "valetkey.cli.forecast:forecast",
    "notify": "valetkey.cli.notify:notify",
    "vault": "valetkey.cli.vault:vault",
    "publish": "valetkey.cli.publish:publish",
    "audit": "valetkey.cli.audit:audit",
    "serve": "valetkey.cli.serve:serve",
    "demo": "valetkey.cli.demo:demo",
    "completion": "valetkey.cli.completion:completion",
}
"""Where each command is, in the order in which help shows them."""


class Root(Group):
    """Load commands when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the signature is click's
        """Return the names of the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Load a command, or return None if there is none of this name."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


def _version(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
    if value and not context.resilient_parsing:
        out(f"valetkey {__version__}")
        context.exit()


EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())


@click.command(cls=Root, name="valetkey", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
@click.pass_context
def root(context: click.Context) -> None:
    """Hold OAuth2 connections, keep their tokens fresh, and put them on requests."""
    context.ensure_object(Session)
