"""Writing a whole log down as lines of JSON: what the store keeps of the writers, their lines, and a signed end.

    {"valetkey": "audit export", "version": 1, "vault": id, "public_key": key, "at": time}
    {"roster": box, "number": changes}
    {"head": writer, "ordinal": …, "number": …, "box": …, "floor": …}     then that writer's lines, and the next head
    {"at": …, "kind": …, …, "writer": …, "number": …, "hash": …, "signature": …}
    {"closing": SHA-256 of all lines above with their ends, "signature": Ed25519 of it}

All bytes are in hexadecimal. The heads and the roster are signed with the rest, so that who has the public key alone
sees that no end and no writer is missing. A log that does not hold is written down unsigned, with what was found in its
closing line. What may not be here: reading it (files.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from valetkey.audit.chain import ChainKey, Stand, floor_purpose, head_purpose
from valetkey.audit.ledger import ROSTER, Head, Ledger
from valetkey.audit.report import Report
from valetkey.audit.roster import Roster
from valetkey.audit.walk import Walk
from valetkey.errors import StoreUnavailable

FORMAT: Final = "audit export"
VERSION: Final = 1
PAGE: Final = 1000
LOOKS: Final = 5

_encode: Final = msgspec.json.Encoder().encode


def exported(ledger: Ledger, key: ChainKey, report: Report, at: datetime) -> Iterator[bytes]:
    """Give the records of a log that was just examined; raises StoreUnavailable where it was pruned meanwhile."""
    digest = hashlib.sha256()
    for record in _records(ledger, key, report, at):
        line = _encode(record) + b"\n"
        digest.update(line)
        yield line
    closing: dict[str, object] = {"closing": digest.hexdigest()}
    if report.findings:
        closing["findings"] = [finding.to_dict() for finding in report.findings]
    else:
        closing["signature"] = key.sign("export", digest.digest()).hex()
    yield _encode(closing) + b"\n"


def _records(ledger: Ledger, key: ChainKey, report: Report, at: datetime) -> Iterator[dict[str, object]]:
    made = {"valetkey": FORMAT, "version": VERSION, "vault": key.vault_id.hex(), "public_key": key.public.hex()}
    yield {**made, "at": at.isoformat(timespec="milliseconds")}
    roster, heads = _snapshot(ledger, key, whole=not report.findings)
    if roster is not None:
        yield {"roster": roster.box.hex(), "number": roster.number}
    for head in heads:
        told: dict[str, object] = {"head": head.writer, "ordinal": head.ordinal, "number": head.number}
        yield {**told, "box": head.box.hex(), "floor": head.floor.hex()}
        yield from _lines(ledger, key, head, proven=not report.findings)
    after: int | None = None
    while page := ledger.unchained(after, PAGE):
        yield from (line.to_dict() for line in page)
        after = page[-1].id


def _snapshot(ledger: Ledger, key: ChainKey, *, whole: bool) -> tuple[Head | None, list[Head]]:
    """Return the roster and the heads of one moment; a store that reads them one by one is asked again."""
    for _ in range(LOOKS):
        heads = ledger.heads()
        there = next((head for head in heads if head.writer == ROSTER), None)
        roster = None if there is None else Roster.unboxed(key, there.number, there.box)
        if not whole:
            return there, [head for head in heads if head.writer != ROSTER]
        counted = roster or Roster()
        expected = set(counted.expected())
        mine = [head for head in heads if head.writer != ROSTER and head.ordinal in expected]
        if expected <= {head.ordinal for head in mine}:
            return there, mine
    raise StoreUnavailable("the audit log changes while it is exported", fix="try again")


def _lines(ledger: Ledger, key: ChainKey, head: Head, *, proven: bool) -> Iterator[dict[str, object]]:
    """Give the lines of one writer; of a log that holds, only if they lead from floor to head now too."""
    floor = key.unboxed(floor_purpose(head.writer, head.ordinal), head.floor)
    end = key.unboxed(head_purpose(head.writer, head.ordinal), head.box)
    walk = Walk(head.writer, head.ordinal, floor or Stand(0, b""), key.signed())
    number = walk.stand.number if proven else 0
    while number < head.number or not proven:
        page = ledger.chain(head.writer, number, PAGE)
        page = [line for line in page if line.number <= head.number] if proven else page
        if not page or (proven and walk.along(page) is not None):
            break
        yield from (line.to_chained_dict() for line in page)
        number = page[-1].number
    if proven and walk.stand != end:
        raise StoreUnavailable("the audit log was pruned or changed while it was exported", fix="try again")
