"""Audit logs for drills: a vault on a real database with three writers, and a hand that edits the database by SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

import valetkey
from valetkey.audit.report import Report
from valetkey.effects import Event
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place


class Log:
    """Be the audit log of a vault; `writers` are its chains in the order in which they began."""

    def __init__(self, where: str | Path, writers: Sequence[str] = ()) -> None:
        self.where = where
        self.writers: list[str] = list(writers)

    @contextmanager
    def writer(self, days_ago: float = 0) -> Iterator[object]:
        """Open the vault, give what writes its log, at a time of so many days ago, and close it."""
        _, world = open_world(self.where, transport=lambda: None, actor="test", create=not self.writers)
        world.audit._clock = lambda: datetime.now(UTC) - timedelta(days=days_ago)
        try:
            yield world.audit
            world.audit.flush()
            self.writers.append(world.audit.writer)
        finally:
            world.close()

    def filled(self) -> Log:
        """Write three chains of three, seven and four lines; lines 3 to 5 of the second share a commit."""
        with self.writer() as audit:
            audit.note(Event("app.added", "a1"))
        with self.writer() as audit:
            audit.note(Event("app.added", "b2", detail={"pid": "1", "fingerprint": "f"}))
            for number in (3, 4, 5):
                audit.tell(Event("token.handed_out", f"b{number}", reason="r", detail={"n": str(number)}))
            audit.flush()
            audit.note(Event("app.added", "b6"))
            audit.note(Event("app.added", "b7"))
        with self.writer() as audit:
            for number in (2, 3, 4):
                audit.note(Event("app.added", f"c{number}"))
        return self

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Do to the database what somebody does who has it, and has no key."""
        if isinstance(self.where, Path):
            with closing(sqlite3.connect(self.where, isolation_level=None)) as connection:
                return connection.execute(statement.replace("{t}", ""), values).fetchall()
        import psycopg

        text = statement.replace("{t}", "valetkey_").replace("?", "%s")
        with psycopg.connect(self.where, autocommit=True) as connection:
            done = connection.execute(text, values)
            return done.fetchall() if done.description else []

    def report(self) -> Report:
        """Return what there is to say of the log."""
        with valetkey.open(self.where, create=False) as vault:
            return vault.audit.examine()

    def found(self) -> list[tuple[str, str, int]]:
        """Return reason, writer (a, b, c; empty for none of them) and number of each place that does not hold."""
        known = dict(zip(self.writers, "abc", strict=False))
        return [(one.reason, known.get(one.writer, one.writer), one.number) for one in self.report().findings]

    def store(self) -> object:
        """Return the store without a vault around it."""
        return Place.of(self.where).open(create=False)


def log_of(request: pytest.FixtureRequest, write: Callable[[Log], Log]) -> Log:
    """Return a log that `write` has written, in the kind of store that the fixture's parameter names."""
    if request.param == "sqlite":
        return write(Log(request.getfixturevalue("tmp_path") / "vault.db"))
    return Log(*request.getfixturevalue("postgres_copied")(_writers_of(write)))


@cache
def _writers_of(write: Callable[[Log], Log]) -> Callable[[str], list[str]]:
    return lambda url: write(Log(url)).writers
