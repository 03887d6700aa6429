"""`valetkey demo`: show the story on a sandbox and a vault that are gone afterwards.

What may not be here: the story (story.py), and packages beyond the core.
"""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli.base import Command, Session
from valetkey.cli.show import clean, out, out_json

if TYPE_CHECKING:
    from valetkey.cli.story import Step

INDENT: Final = " " * 19
WIDTH: Final = 100
"""Columns of the longest line."""


@click.command(cls=Command)
@click.pass_context
def demo(context: click.Context) -> None:
    """Tell the whole story in the terminal, and end by itself.

    A provider is started on loopback and a vault made in a temporary folder; both are gone afterwards. What is shown
    really happens, and is checked: the exit code is 1 if anything was not as it should be.
    """
    session: Session = context.obj
    told: list[Step] = []
    from valetkey.cli.story import story
    from valetkey.cli.trial import typed_here

    with tempfile.TemporaryDirectory(prefix="valetkey-demo-") as folder:
        for step in story(Path(folder)):
            told.append(step)
            if not session.json:
                _show(len(told), step)
    held = all(step.holds for step in told)
    if session.json:
        out_json({"ok": held, "steps": [step.to_dict() for step in told]})
    else:
        out(click.style("All of it held." if held else "Something did not hold; see above.", bold=True))
        out(typed_here("Next: `valetkey serve --try` runs a server and a sandbox that stay."))
    context.exit(0 if held else 1)


def _show(number: int, step: Step) -> None:
    out(click.style(f"{number}. {step.title}", bold=True))
    for name, value in step.facts.items():
        head = f"   {name}".ljust(len(INDENT))
        text = clean(value)
        out(
            "\n".join(textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=INDENT, break_on_hyphens=False))
        )
    for line in step.lines:
        out(f"   {clean(line)}")
    for what in step.wrong:
        out(click.style(f"   this did not hold: {clean(what)}", fg="red"))
    out()
