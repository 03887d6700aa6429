"""Make docs/cli.md from the commands themselves: the help each one shows, the options all share, the exit codes."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import click

from valetkey.cli.base import SHARED
from valetkey.cli.exits import EXIT_CODES
from valetkey.cli.root import root

WIDTH = 100

INTRO = """
# The command line

`valetkey` (or `vk`) is a noun, then a verb. It is made for scripts and for people alike:

- Results go to standard output; everything else (addresses to open, remarks, errors) to standard error.
- `--json` answers in JSON, on every command. An error is then one JSON object, the last line on standard error, with
  `code`, `message`, and where there is one `cause`, `fix` and `evidence`; [errors.md](errors.md) lists the codes.
- Secrets are read from a hidden prompt or from standard input, and are never arguments, because every user of a
  machine can list those. For the same reason `valetkey curl` and `valetkey exec` hand tokens over without arguments.
- There is no colour where the output is no terminal, or where `NO_COLOR` is set.

```console
$ valetkey app add google --client-id 1234.apps.googleusercontent.com
$ valetkey connect google/alice
$ curl -H "Authorization: Bearer $(valetkey token google/alice)" https://www.googleapis.com/oauth2/v3/userinfo
$ valetkey curl google/alice -- https://www.googleapis.com/oauth2/v3/userinfo
```

The third line works, and shows the token to whoever lists the machine's processes at that moment; the fourth does not.
"""


def render() -> str:
    """Return the page as Markdown."""
    return "\n".join([INTRO.strip(), "", *_shared(), *_exit_codes(), *_commands()])


def _shared() -> list[str]:
    lines = ["## Options of every command", "", "They may stand before the noun or after the verb.", ""]
    rows = [option for option in root.params if isinstance(option, click.Option) and option.name in SHARED]
    lines += ["| option | meaning |", "|---|---|"]
    return [*lines, *(f"| `{_spelled(option)}` | {option.help} |" for option in rows), ""]


def _spelled(option: click.Option) -> str:
    return option.opts[0] if option.is_flag else f"{option.opts[0]} {option.metavar}"


def _exit_codes() -> list[str]:
    rows = [f"| {number} | {text} |" for number, text in EXIT_CODES.items()]
    after = "`valetkey curl` and `valetkey exec` end with the exit code of the program they became."
    return ["## Exit codes", "", "| exit code | meaning |", "|---|---|", *rows, "", after, ""]


def _commands() -> Iterator[str]:
    for path, command in commands():
        yield f"{'##' if path.count(' ') == 1 else '###'} {path}"
        yield ""
        yield from ("```text", _help(path, command), "```", "")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its path, groups before what is in them."""
    context = click.Context(root, info_name="valetkey")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        yield f"valetkey {name}", command
        if isinstance(command, click.Group):
            yield from ((f"valetkey {name} {verb}", below) for verb, below in command.commands.items())


def _help(path: str, command: click.Command) -> str:
    """Return the help without the shared options, which stand above once."""
    shown = copy.copy(command)
    shown.params = [parameter for parameter in command.params if parameter.name not in SHARED]
    shown.add_help_option = False
    context = click.Context(shown, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH)
    return "\n".join(line.rstrip() for line in shown.get_help(context).splitlines())
