"""`valetkey forecast`: what will end, and when. What may not be here: how that is known (vault/forecast.py)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import click

from valetkey.cli.base import Command, Session
from valetkey.cli.show import clean, distance, out, out_json, say
from valetkey.errors import InvalidInput

UNITS: Final = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")


@click.command(cls=Command)
@click.option("--within", metavar="30d", help="Only what ends so soon (h, d or w).")
@click.pass_obj
def forecast(session: Session, *, within: str | None) -> None:
    """Show what will end, when, how sure that is, and what to do.

    certain: the provider said so, or you did. likely: its documentation does. possible: it depends.
    """
    span = None if within is None else read_span(within)
    with session.open() as vault:
        found = vault.forecasts(span)
    if session.json:
        out_json([one.to_dict() for one in found])
        return
    if not found:
        say("nothing is known to end" + (f" within {within}" if within else ""))
    for one in found:
        out(f"{one.when:%Y-%m-%d}  {distance(one.when):<11}  {one.sure:<8}  {clean(one.subject)}: {clean(one.what)}")
        out(f"            why: {clean(one.source)}")
        out(f"            fix: {clean(one.fix)}")


def read_span(text: str) -> timedelta:
    """Read 12h, 30d or 4w; raises InvalidInput."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{text[:40]!r} is no length of time", fix="write a number and h, d or w: --within 30d")
    return timedelta(seconds=int(found[1]) * UNITS[found[2]])
