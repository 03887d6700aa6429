"""Deliver news: post it, or run a command with it on standard input. What may not be here: what is news, and retries.

A command is run as its list stands, without a shell, in the environment of this process. The news it is given holds
nothing secret, and nothing it prints is read.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Final

from valetkey.effects import Event, Plan, now, send
from valetkey.errors import ValetkeyError
from valetkey.oauth.refusal import retry_after
from valetkey.run import run
from valetkey.values import Secret
from valetkey.vault.notices import Errand, Listener, Outcome, trial
from valetkey.vault.webhook import webhook_request
from valetkey.vault.world import VaultWorld

COMMAND_SECONDS: Final = 30.0
"""How long a command may take: it shall pass the news on, not act on it at length."""

GONE: Final = 410
"""Standard Webhooks: a receiver that answers so wants no more of it."""


def deliver(errand: Errand, world: VaultWorld) -> Outcome:
    """Deliver a notice once; raises nothing that a receiver could cause."""
    if errand.listener.command:
        return _run(errand)
    try:
        return run(_posted(errand), world)
    except ValetkeyError as refusal:
        return Outcome(delivered=False, word=refusal.code)


def test(listener: Listener, world: VaultWorld) -> Outcome:
    """Deliver something harmless, once, and tell the log what became of it."""
    outcome = deliver(trial(listener, world.clock().timestamp()), world)
    world.audit.note(Event("notice.tested", listener.name, "ok" if outcome.delivered else "failed", outcome.word))
    return outcome


def _posted(errand: Errand) -> Plan[Outcome]:
    notice, listener = errand.notice, errand.listener
    moment = int((yield from now()).timestamp())
    secret = listener.secret or Secret("")
    response = yield from send(webhook_request(listener.url, secret, notice.identifier, moment, notice.body.encode()))
    return Outcome(
        delivered=200 <= response.status < 300,
        word=f"http_{response.status}",
        retry_after=retry_after(response),
        final=response.status == GONE,
    )


def _run(errand: Errand) -> Outcome:
    try:
        process = subprocess.Popen(  # noqa: S603  # the operator's own command, as a list, without a shell
            errand.listener.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that what it started can be ended with it, and Ctrl-C is not for it
        )
    except (OSError, ValueError):
        return Outcome(delivered=False, word="not_started")
    with process:
        try:
            process.communicate(errand.notice.body.encode() + b"\n", timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            _end(process)
            return Outcome(delivered=False, word="timed_out")
    code = process.returncode
    return Outcome(delivered=code == 0, word=f"exit_{code}" if code >= 0 else f"signal_{-code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
