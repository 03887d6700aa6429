"""What the watch remembers of tasks, of spendings and of records; and how it reads requests and answers.

What may not be here: rules (watch.py, telling.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from simulation.provider import AccessToken
from valetkey.values import Request, Response
from valetkey.vault.records import Connection

if TYPE_CHECKING:
    from simulation.house import Task

LEASE: Final = 45.0
"""Seconds a claim may keep others waiting; what docs promise, not what renew.py says."""


class Violation(Exception):
    """Say that something did not hold that must; `rule` is its name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass(eq=False)
class Spending:
    """Be one request that spends a refresh token, from its sending to the saving of its answer."""

    refresh: str
    sent_at: float
    lease_until: float
    processed: bool = False
    settled_at: float = 0.0
    trouble: set[str] = field(default_factory=set)

    def excused(self, now: float, skew: float) -> bool:
        """Say whether it explains that somebody spends the same refresh token once more."""
        if self.trouble or not skew:
            return bool(self.trouble)
        lapsed = now + skew >= self.lease_until
        return lapsed and (not self.settled_at or self.settled_at + skew >= self.lease_until)


@dataclass(eq=False)
class Known:
    """Be what is known of a task: what it claimed and spends, since when, and what it was answered."""

    claimed: str = ""
    before: str = ""  # the access token that was held when it claimed
    since: float = 0.0
    suspended: bool = False
    stalled: bool = False
    lease_until: float = 0.0
    spending: Spending | None = None
    store_failed: bool = False
    waits_for: str = ""
    waited: float = 0.0
    answers: list[tuple[AccessToken, float, str]] = field(default_factory=list)


@dataclass(eq=False)
class Row:
    """Be a connection's record as the store holds it, and what it held before."""

    version: int = 0
    connection: Connection | None = None
    owner: str = ""
    leased_at: float = 0.0
    changed_at: float = 0.0
    changed_by: Task | None = None
    removed_at: float = 0.0
    removed: Connection | None = None
    revoked_at: float = 0.0


def access_of(connection: Connection, part: str = "") -> str:
    """Return the name of a connection's access token, or of one of its parts; empty if there is none."""
    tokens = connection.held(part)
    return tokens.access.reveal() if tokens is not None else ""


def refresh_of(connection: Connection) -> str:
    """Return the name of a connection's refresh token, empty if it has none."""
    tokens = connection.tokens
    return tokens.refresh.reveal() if tokens is not None and tokens.refresh is not None else ""


def known_of(task: Task) -> Known:
    if task.record is None:
        task.record = Known()
    known: Known = task.record
    return known


def spent_by(request: Request) -> str:
    """Return the refresh token that a request spends, empty if it spends none."""
    if not request.url.endswith("/token"):
        return ""
    body = request.body.decode()
    return body.partition("refresh_token=")[2].partition("&")[0] if "grant_type=refresh_token" in body else ""


def member(response: Response, name: str) -> str:
    try:
        return str(msgspec.json.decode(response.body, type=dict[str, object]).get(name, ""))
    except msgspec.DecodeError:
        return ""
