"""`valetkey keep`: renew what falls due and tell those who listen, until Ctrl-C. What may not be here: how."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from types import FrameType
from typing import TYPE_CHECKING, Final

import click
import msgspec

from valetkey.cli.base import Command, Session
from valetkey.cli.dumps import forbid_core_dumps
from valetkey.cli.exits import UNEXPECTED, WAIT
from valetkey.cli.logs import log_to_stderr
from valetkey.cli.show import clean, out, say
from valetkey.errors import ValetkeyError

AILING: Final = {
    "failing": "failing, to be tried again when their pause is over",
    "ambiguous": "ambiguous, to be cleared up by the next refresh",
    "needs_reconnect": "needing a person to connect again",
}
"""The states of connections that want attention, in words for whoever looks."""

if TYPE_CHECKING:
    from valetkey.vault.pace import Kept, Tally


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Do what is due now, then end; for cron.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=8, show_default=True, help="How much to do at the same time."
)
@click.pass_obj
def keep(session: Session, *, once: bool, concurrency: int) -> None:
    """Keep connections fresh: renew ahead of expiry, keep unused ones alive, tell of trouble.

    It runs until Ctrl-C or SIGTERM and then finishes what is under way. Any number may run on one vault; they share
    the work. `valetkey serve` does the same beside serving. With --audit-log - its own words go to standard error.

    With --once the exit code says whether all went well: 6 if what failed is temporary and time will mend it, else the
    smallest code of what failed (4: a person is needed; 5: the provider refuses).
    """
    forbid_core_dumps()
    log_to_stderr()
    show = say if session.audit_copy(serves=True) == "-" else out  # one thing on standard output at a time
    with session.open(serves=True) as vault, stopped_by_signals() as stop:
        if not once and not session.json:
            say(f"keeping {sum(vault.states().values())} connections fresh; Ctrl-C ends it")

        failures: set[int] = set()

        def report(kept: Kept) -> None:
            if kept.error is not None:
                failures.add(kept.error.exit_code if isinstance(kept.error, ValetkeyError) else UNEXPECTED)
            try:
                show(_json_line(kept) if session.json else _line(kept))
            except BrokenPipeError:
                stop.set()  # nobody reads any more, so nobody would know that it runs

        tally = vault.keep(stop, once=once, concurrency=concurrency, report=report)
        states = vault.states() if once and not session.json else {}
    if not session.json:
        say(_summary(tally) + _ailing(states))
    if once and failures:
        raise click.exceptions.Exit(min(failures - {WAIT}, default=WAIT))


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set; the second signal ends at once, as if this were not here."""
    stop = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(kept: Kept) -> str:
    detail = f"  {clean(kept.detail)}" if kept.detail else ""
    return f"{kept.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {kept.what:<11}  {clean(kept.subject)}{detail}"


def _json_line(kept: Kept) -> str:
    told = {"at": kept.at.isoformat(timespec="milliseconds"), "what": kept.what, "subject": kept.subject}
    return msgspec.json.encode({**told, **({"detail": kept.detail} if kept.detail else {})}).decode()


def _summary(tally: Tally) -> str:
    done = ", ".join(f"{count} {what}" for what, count in sorted(tally.counts.items()))
    return done or "nothing was due"


def _ailing(states: Mapping[str, int]) -> str:
    """Say what is wrong in the vault, which a run that found nothing due would hide."""
    found = {state: states[state] for state in AILING if states.get(state)}
    if not found:
        return ""
    told = ", ".join(f"{count} {AILING[state]}" for state, count in found.items())
    return f"; of the connections, {told}: `valetkey connection list`"
