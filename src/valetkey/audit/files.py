"""Proving an export of a log, with the vault's key or the public key alone; and that a log goes on from an export.

What may not be here: writing one (exporting.py), and files themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from hmac import compare_digest
from typing import Any, Final, NamedTuple

import msgspec

from valetkey.audit.chain import ChainKey, Signed, Stand, first, floor_purpose, head_purpose, link_of, peeked
from valetkey.audit.exporting import FORMAT, VERSION
from valetkey.audit.ledger import Ledger
from valetkey.audit.line import Line
from valetkey.audit.report import Chain, Finding, Report
from valetkey.audit.roster import Roster
from valetkey.audit.verifying import Present, census
from valetkey.audit.walk import Walk
from valetkey.audit.writer import read_roster
from valetkey.errors import InvalidInput

WINDOW: Final = 100
"""Lines of a writer that are looked at together: how far a line can be moved and still be called moved, not edited."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def examine_file(records: Iterable[bytes], *, key: ChainKey | None = None, public: bytes = b"") -> Report:
    """Return what holds of an export and what does not, by the key of its vault or a public key that one trusts.

    Raises InvalidInput for what is no export, for one of another vault, and for no public key.
    """
    lines = iter(records)
    head = next(lines, b"")
    made = _made(head)
    vault_id = bytes.fromhex(made["vault"])
    if key is not None and key.vault_id != vault_id:
        raise InvalidInput("this is the audit log of another vault", fix="name its vault with --vault")
    try:
        signed = Signed(vault_id, public or (key.public if key is not None else b""))
    except ValueError:
        raise InvalidInput("this is no public key of an audit log", fix="write its 64 hexadecimal digits") from None
    checked = _File(signed, key)
    checked.digest.update(head)
    for line in lines:
        checked.take(line)
    return checked.report()


class Exported(NamedTuple):
    """Be where a writer stood when the log was exported."""

    writer: str
    ordinal: int
    end: Stand


def heads_of(records: Iterable[bytes], key: ChainKey) -> Iterator[Exported]:
    """Give where each writer stood, of an export that was proven."""
    for raw in records:
        record = _decode(raw)
        if "head" in record:
            writer, ordinal = record["head"], record["ordinal"]
            end = key.unboxed(head_purpose(writer, ordinal), bytes.fromhex(record["box"]))
            if end is not None:
                yield Exported(writer, ordinal, end)


def compared(ledger: Ledger, key: ChainKey, exported: Iterable[Exported]) -> list[Finding]:
    """Return which writers do not go on from where they stood in an export: they were put back to an older state."""
    found: list[Finding] = []
    seen, roster = read_roster(ledger, key)
    for writer, ordinal, end in exported:
        head = ledger.head(writer)
        floor = None if head is None else key.unboxed(floor_purpose(writer, ordinal), head.floor)
        if not end.number or (head is None and seen and roster.is_gone(ordinal)):
            continue
        if floor is not None and floor.number >= end.number:
            continue  # pruned since, which the floor proves
        there = ledger.chain(writer, end.number - 1, 1)
        if not there or there[0].number != end.number or link_of(there[0].hash, there[0].signature) != end.link:
            last = 0 if head is None else min(head.number, end.number - 1)
            found.append(Finding("rolled_back", writer, ordinal, last + 1))
    return found


def _made(head: bytes) -> dict[str, str]:
    try:
        made = _decode(head)
        bytes.fromhex(made["vault"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        made = {}
    if made.get("valetkey") != FORMAT:
        raise InvalidInput("this is no export of an audit log", fix="`valetkey audit export FILE` writes one")
    if made.get("version") != VERSION:
        raise InvalidInput("this export was written by another version of valetkey", fix="use the newest valetkey")
    return made


class _File:
    """Take an export line by line."""

    def __init__(self, signed: Signed, key: ChainKey | None) -> None:
        self.digest = hashlib.sha256()
        self._signed = signed
        self._key = key
        self._chains: list[Chain] = []
        self._found: list[Finding] = []
        self._roster: Roster | None = None
        self._walk: Walk | None = None
        self._end: Stand | None = None
        self._window: list[Line] = []
        self._finding: Finding | None = None
        self._unchained = 0
        self._closing: Mapping[str, Any] | None = None

    def take(self, raw: bytes) -> None:
        if self._closing is not None:
            self._note("export_changed")
            return
        try:
            self._record(_decode(raw), raw)
        except (msgspec.MsgspecError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            self.digest.update(raw)
            self._broken("edited")

    def _record(self, record: dict[str, Any], raw: bytes) -> None:
        if "closing" in record:
            self._closing = record
            return
        self.digest.update(raw)
        if "head" in record:
            self._ended()
            self._begin(record)
        elif "roster" in record:
            box = bytes.fromhex(record["roster"])
            key = self._key
            self._roster = Roster.peeked(box) if key is None else Roster.unboxed(key, record["number"], box)
            if self._roster is None:
                self._note("roster_forged")
        else:
            self._line(Line.from_dict(record))

    # ── one writer ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, record: dict[str, Any]) -> None:
        writer, ordinal, number = str(record["head"]), int(record["ordinal"]), record["number"]
        box, floor = bytes.fromhex(record["box"]), bytes.fromhex(record["floor"])
        if self._key is None:
            end, begin = peeked(box), peeked(floor)
        else:
            end = self._key.unboxed(head_purpose(writer, ordinal), box)
            begin = self._key.unboxed(floor_purpose(writer, ordinal), floor)
        whole = end is not None and begin is not None and end.number == number
        start = begin or first(self._signed.vault_id, writer)
        self._walk, self._end = Walk(writer, ordinal, start, self._signed), end
        self._finding = None if whole else Finding("head_forged", writer, ordinal, int(number))

    def _line(self, line: Line) -> None:
        walk = self._walk
        if not line.number:
            self._unchained += 1
        elif walk is None or line.writer != walk.writer:
            if not any(one.reason == "stray" and one.writer == line.writer for one in self._found):
                self._found.append(Finding("stray", line.writer, 0, line.number, line.at))
        elif self._finding is None and self._end is not None and line.number > self._end.number:
            self._broken("inserted", line)
        elif self._finding is None:
            self._window.append(line)
            if len(self._window) >= 2 * WINDOW:
                self._go(WINDOW)

    def _go(self, count: int) -> Finding | None:
        """Go along the first lines of the window; the rest is there to see what became of a line that is not here."""
        assert self._walk is not None  # a line got into the window
        for place in range(count):
            self._finding = self._walk.along(self._window[place:], most=1)
            if self._finding is not None:
                break
        self._window = self._window[count:] if self._finding is None else []
        return self._finding

    def _ended(self) -> None:
        walk, end = self._walk, self._end
        if walk is None:
            return
        found = self._finding or self._go(len(self._window))
        if found is None and end is not None:
            if walk.stand.number < end.number:
                found = walk.broken("tail_cut")
            elif walk.stand != end:
                found = walk.broken("edited", walk.last_line, walk.signed_until + 1)
        self._chains.append(walk.chain(found))
        self._walk, self._end, self._window, self._finding = None, None, [], None

    def _broken(self, reason: str, line: Line | None = None) -> None:
        if self._walk is None:
            self._note("export_changed")
        elif self._finding is None:
            self._finding = self._go(len(self._window)) or self._walk.broken(reason, line)

    # ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────

    def report(self) -> Report:
        self._ended()
        if self._roster is not None:
            there = [Present(one.writer, one.ordinal, bool(one.lines or one.finding)) for one in self._chains]
            self._found += census(self._roster, there)
        elif self._chains and not any(one.reason == "roster_forged" for one in self._found):
            self._note("roster_missing")
        self._close()
        found = [*self._found, *(chain.finding for chain in self._chains if chain.finding is not None)]
        # What is wrong with the file as a whole comes last: the line that was changed says more.
        ordered = sorted(found, key=lambda one: (one.reason.startswith("export_"), one.ordinal, one.number))
        return Report(tuple(self._chains), tuple(ordered), self._unchained)

    def _close(self) -> None:
        closing = self._closing
        if closing is None:
            self._note("export_cut")
        elif "signature" not in closing:
            self._note("export_unsigned")
        elif not self._holds(str(closing["signature"]), str(closing["closing"])):
            self._note("export_changed")

    def _holds(self, signature: str, said: str) -> bool:
        digest = self.digest.digest()
        try:
            is_ours = self._signed.holds("export", digest, bytes.fromhex(signature))
            return is_ours and compare_digest(digest, bytes.fromhex(said))
        except ValueError:
            return False

    def _note(self, reason: str) -> None:
        if not any(one.reason == reason for one in self._found):
            self._found.append(Finding(reason))
