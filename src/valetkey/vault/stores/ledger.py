"""The audit log in tables, for both dialects of SQL: lines, and the heads of their chains.

A line that was written before there were chains has no writer and number 0. What may not be here: keys, hashes, and
what connects to a database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from valetkey.audit.ledger import Head, Query
from valetkey.audit.line import Line, millis_of
from valetkey.errors import StoreUnavailable
from valetkey.vault.stores.rows import aware

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode

LINE: Final = "at, actor, kind, subject, outcome, reason, detail, request, fingerprint, writer, number, hash, signature"
FIRST_ID: Final = -(2**63)
HEAD: Final = "writer, ordinal, number, box, floor"

_VALUES: Final = ", ".join("?" for _ in LINE.split(", "))
_INSERT: Final = f"INSERT INTO {{t}}audit ({LINE}) VALUES ({_VALUES})"  # noqa: S608  # no values
_MOVE: Final = "UPDATE {t}audit_heads SET number = ?, box = ? WHERE writer = ? AND number = ?"
_ENROLL: Final = f"INSERT INTO {{t}}audit_heads ({HEAD}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (writer) DO NOTHING"  # noqa: S608  # no values
_HEADS: Final = f"SELECT {HEAD} FROM {{t}}audit_heads"  # noqa: S608  # no values
_CHAIN: Final = (
    f"SELECT id, {LINE} FROM {{t}}audit WHERE writer = ? AND number > 0 AND number > ? ORDER BY number LIMIT ?"  # noqa: S608  # no values
)
_OUTSIDE: Final = f"SELECT id, {LINE} FROM {{t}}audit WHERE number < 1 AND id > ? ORDER BY id LIMIT ?"  # noqa: S608  # no values
_FLOOR: Final = "UPDATE {t}audit_heads SET floor = ? WHERE writer = ? AND floor = ?"
_CUT: Final = "DELETE FROM {t}audit WHERE writer = ? AND number > 0 AND number <= ?"
_RETIRE: Final = "DELETE FROM {t}audit_heads WHERE writer = ? AND ordinal = ? AND number = ? AND box = ? AND floor = ?"
# Each writer is one step in the index, however many lines it has.
_STRAYS: Final = "SELECT min(writer) FROM {t}audit WHERE writer > ?"
_UNCHAINED: Final = """DELETE FROM {t}audit WHERE id IN
  (SELECT id FROM {t}audit WHERE number < 1 AND writer = '' AND at < ? LIMIT ?)"""


@dataclass(frozen=True)
class Words:
    """Be what differs between the dialects: how values and tables are written, and how a transaction begins."""

    value: str
    prefix: str
    begin: str
    patience: float = 0.0  # seconds for which a lost connection is not given up
    ordered: str = "SELECT 1"  # asks whether each line has a higher id than the lines that were there before it

    def said(self, statement: str) -> str:
        """Return a statement in this dialect."""
        return statement.replace("?", self.value).replace("{t}", self.prefix)


class SqlLedger:
    """Keep the audit log in tables.

    `work` gives a connection that commits each statement, and explains its errors; `ask` does so for what only reads,
    and may do it again where the answer was lost.
    """

    def __init__(
        self, words: Words, work: Callable[[Callable[[Any], Any]], Any], ask: Callable[[Callable[[Any], Any]], Any]
    ) -> None:
        self._words = words
        self._work = work
        self._ask = ask
        self._ordered: bool | None = None

    def append(self, lines: Sequence[Line], head: Head, seen: int) -> bool:
        """Write lines and head in one transaction."""
        rows = [written(line) for line in lines]

        def work(connection: Any) -> bool:
            if self._do(connection, _MOVE, (head.number, head.box, head.writer, seen)).rowcount != 1:
                return False
            connection.cursor().executemany(self._words.said(_INSERT), rows)
            return True

        return self._whole(work, head)

    def enroll(self, head: Head, roster: Head, seen: int) -> bool:
        """Write a new writer and the roster in one transaction."""

        def work(connection: Any) -> bool:
            return self._roster(connection, roster, seen) and self._do(connection, _ENROLL, head).rowcount == 1

        return self._whole(work, head)

    def head(self, writer: str) -> Head | None:
        """Return one head."""
        found = self._all(f"{_HEADS} WHERE writer = ?", (writer,))
        return _head(found[0]) if found else None

    def heads(self) -> list[Head]:
        """Return all heads."""
        return [_head(row) for row in self._all(f"{_HEADS} ORDER BY ordinal", ())]

    def find(self, query: Query, limit: int) -> list[Line]:
        """Return what matches, from the end or from the beginning."""
        where, values = _asked(query)
        order = "ASC" if query.oldest_first else "DESC"
        text = f"SELECT id, {LINE} FROM {{t}}audit WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608  # no values
        rows = self._all(text, (*values, limit))
        return [read(row) for row in (rows if query.oldest_first else reversed(rows))]

    def chain(self, writer: str, after: int, limit: int) -> list[Line]:
        """Return the next lines of one chain."""
        lines = [read(row) for row in self._all(_CHAIN, (writer, after, limit))]
        return lines if self._is_ordered() else [replace(line, id=0) for line in lines]

    def strays(self, writers: Sequence[str]) -> list[str]:
        """Return who has lines and is not one of these."""
        known, strays, after = set(writers), [], ""
        while (found := self._all(_STRAYS, (after,))[0][0]) is not None:
            after = str(found)
            strays += [] if after in known else [after]
        return strays

    def unchained(self, after: int | None, limit: int) -> list[Line]:
        """Return the next lines that stand in no chain."""
        return [read(row) for row in self._all(_OUTSIDE, (FIRST_ID if after is None else after, limit))]

    def cut(self, writer: str, until: int, floor: bytes, seen: bytes) -> bool:
        """Delete lines and write the floor in one transaction."""

        def work(connection: Any) -> bool:
            if self._do(connection, _FLOOR, (floor, writer, seen)).rowcount != 1:
                return False
            self._do(connection, _CUT, (writer, until))
            return True

        return self._whole(work, Head(writer, 0, 0, b"", floor))

    def retire(self, heads: Sequence[Head], roster: Head, seen: int) -> bool:
        """Delete heads and write the roster in one transaction."""

        def work(connection: Any) -> bool:
            if not self._roster(connection, roster, seen):
                return False
            cursor = connection.cursor()
            cursor.executemany(self._words.said(_RETIRE), [tuple(head) for head in heads])
            return bool(cursor.rowcount == len(heads))

        return self._whole(work, roster)

    def cut_unchained(self, before: datetime, limit: int) -> int:
        """Delete the oldest lines that belong to no chain."""
        return int(self._work(lambda connection: self._do(connection, _UNCHAINED, (millis_of(before), limit)).rowcount))

    def _is_ordered(self) -> bool:
        if self._ordered is None:
            self._ordered = bool(self._all(self._words.ordered, ())[0][0])
        return self._ordered

    def _roster(self, connection: Any, roster: Head, seen: int) -> bool:
        if seen:
            return bool(self._do(connection, _MOVE, (roster.number, roster.box, roster.writer, seen)).rowcount == 1)
        return bool(self._do(connection, _ENROLL, roster).rowcount == 1)

    def _whole(self, work: Callable[[Any], bool], mark: Head) -> bool:
        """Do work in a transaction, which is undone where it says no.

        Where the answer was lost, `mark` tells whether it was done: what is tagged in it is written by nobody else.
        """

        def whole(connection: Any) -> bool:
            connection.execute(self._words.begin)
            done = False
            try:
                done = work(connection)
            finally:
                connection.execute("COMMIT" if done else "ROLLBACK")
            return done

        deadline = time.monotonic() + self._words.patience
        while True:
            try:
                return bool(self._work(whole))
            except StoreUnavailable as refusal:
                if "doubt" not in refusal.evidence or time.monotonic() >= deadline:
                    raise
            if self._is(mark):
                return True

    def _is(self, mark: Head) -> bool:
        there = self.head(mark.writer)
        return there is not None and (there.box == mark.box if mark.box else there.floor == mark.floor)

    def _do(self, connection: Any, statement: str, values: Sequence[Any]) -> Any:
        return connection.execute(self._words.said(statement), tuple(values))

    def _all(self, statement: str, values: Sequence[Any]) -> list[Any]:
        rows: list[Any] = self._ask(lambda connection: self._do(connection, statement, values).fetchall())
        return rows


def written(line: Line) -> tuple[object, ...]:
    """Return a line as the columns of LINE."""
    detail = _encode(dict(line.detail)).decode()
    told = (millis_of(line.at), line.actor, line.kind, line.subject, line.outcome, line.reason, detail)
    return (*told, line.request, line.fingerprint, line.writer, line.number, line.hash, line.signature)


def _told(detail: str, *, strictly: bool) -> dict[str, str]:
    """Return the detail; strictly: texts only and no name twice, or two rows would be the same line."""
    pairs = json.loads(detail, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple):
        raise TypeError("not the detail of a line")  # an array of pairs is none
    told = {str(name): str(value) for name, value in pairs}
    if strictly and (len(told) != len(pairs) or not all(isinstance(value, str) for _, value in pairs)):
        raise ValueError("not the detail of a line")
    return told


def read(row: Sequence[Any]) -> Line:
    """Return the id and the columns of LINE as a line; what somebody edited into the detail is shown as it is."""
    at, actor, kind, subject, outcome, reason, detail, request, fingerprint, writer, number, hashed, signature = row[1:]
    try:
        told = _told(detail, strictly=number > 0)
    except (ValueError, TypeError, RecursionError):
        told = {"damaged": detail}
    try:
        moment = aware(at)
    except OverflowError:
        moment, told = aware(0), {**told, "damaged": str(at)}
    return Line(
        moment,
        actor,
        kind,
        subject,
        outcome,
        reason,
        told,
        request,
        fingerprint,
        writer,
        number,
        bytes(hashed),
        bytes(signature),
        row[0],
    )


def _head(row: Sequence[Any]) -> Head:
    return Head(row[0], row[1], row[2], bytes(row[3]), bytes(row[4]))


def _asked(query: Query) -> tuple[str, list[Any]]:
    """Return the condition of a query, and its values."""
    clauses: list[str] = ["id > ?"]
    values: list[Any] = [query.after]
    if query.before:
        clauses.append("id < ?")
        values.append(query.before)
    for name in query.TEXTS:
        wanted = getattr(query, name)
        if name == "kind" and wanted.endswith("."):
            clauses.append("substr(kind, 1, ?) = ?")  # not as a range: what sorts where is the database's to say
            values += [len(wanted), wanted]
        elif wanted:
            clauses.append(f"{name} = ?")
            values.append(wanted)
    if query.app:
        clauses.append("(subject = ? OR substr(subject, 1, ?) = ?)")
        values += [query.app, len(query.app) + 1, f"{query.app}/"]
    for name, moment in ((">=", query.since), ("<", query.until)):
        if moment is not None:
            clauses.append(f"at {name} ?")
            values.append(millis_of(moment))
    return " AND ".join(clauses), values
