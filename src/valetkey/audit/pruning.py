"""Deleting the oldest lines of each chain so that what is left stays proven, step by step, each step whole by itself.

What is deleted leaves a floor: the place of the last deleted line, tagged, on which the next line stands. A writer all
of whose lines are deleted leaves the roster's word that it is gone; if it still lives, its next line begins a chain.
Whoever is killed in between has pruned less, and the next who prunes goes on. What may not be here: SQL, events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from valetkey.audit.chain import ChainKey, Stand, floor_purpose, head_purpose
from valetkey.audit.ledger import ROSTER, Head, Ledger
from valetkey.audit.report import Report
from valetkey.audit.walk import Walk
from valetkey.audit.writer import read_roster

PAGE: Final = 1000

STEP: Final = 5000
"""Lines deleted in one transaction, about: nobody who writes waits for long."""

RETIRED_AT_ONCE: Final = 500
PATIENCE: Final = 20
"""Times that the roster may be changed by others before it is left to the next prune."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Be what is to be deleted of one writer: up to each of these places, one after the other."""

    head: Head
    floors: tuple[Stand, ...]
    lines: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """Be how many lines were deleted, how many writers with them, and how many lines from before there were chains."""

    lines: int = 0
    writers: int = 0
    unchained: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts for programs."""
        return {"lines": self.lines, "writers": self.writers, "unchained": self.unchained}


def planned(ledger: Ledger, key: ChainKey, before: datetime) -> Iterator[Cut]:
    """Give what is older than a moment, writer by writer; raises AuditBroken at a line that does not hold."""
    signed = key.signed()
    for head in ledger.heads():
        end, floor = _opened(key, head)
        if head.writer == ROSTER or end is None or floor is None:
            continue
        walk = Walk(head.writer, head.ordinal, floor, signed)
        floors = tuple(_floors(ledger, walk, end, before))
        if floors:
            yield Cut(head, floors, floors[-1].number - floor.number)


def _floors(ledger: Ledger, walk: Walk, end: Stand, before: datetime) -> Iterator[Stand]:
    """Give the places to delete up to: lines with a signature, so that who has the public key can go on from there."""
    given, candidate = walk.stand.number, walk.stand
    while page := ledger.chain(walk.writer, walk.stand.number, PAGE):
        for line in page:
            if line.at >= before or line.number > end.number:
                page = []
                break
            if (finding := walk.along([line])) is not None:
                Report((), (finding,)).proven()
            if line.signature:
                candidate = walk.stand
            if candidate.number - given >= STEP:
                given = candidate.number
                yield candidate
        if len(page) < PAGE:
            break
    if candidate.number > given:
        yield candidate


def cut(ledger: Ledger, key: ChainKey, plan: Sequence[Cut]) -> int:
    """Delete what was planned, and return how many lines that were; another who prunes meanwhile is let by."""
    done = 0
    for one in plan:
        writer, ordinal = one.head.writer, one.head.ordinal
        begin = key.unboxed(floor_purpose(writer, ordinal), one.head.floor)
        seen, last = one.head.floor, begin.number if begin is not None else 0
        for stand in one.floors:
            floor = key.boxed(floor_purpose(writer, ordinal), stand)
            if not ledger.cut(writer, stand.number, floor, seen):
                break
            seen, done, last = floor, done + stand.number - last, stand.number
    return done


def retire(ledger: Ledger, key: ChainKey) -> int:
    """Forget writers that have no line left; return how many."""
    done = 0
    for _ in range(PATIENCE):
        seen, roster = read_roster(ledger, key)
        heads = [head for head in ledger.heads() if head.writer != ROSTER]
        shared = Counter(head.ordinal for head in heads)
        empty = [head for head in heads if _is_empty(key, head) and shared[head.ordinal] == 1]
        empty = [head for head in empty if head.ordinal <= roster.writers]
        for begin in range(0, len(empty), RETIRED_AT_ONCE):
            batch = empty[begin : begin + RETIRED_AT_ONCE]
            roster = roster.without([head.ordinal for head in batch])
            if not ledger.retire(batch, Head(ROSTER, 0, seen + 1, roster.boxed(key, seen + 1), b""), seen):
                break
            seen, done = seen + 1, done + len(batch)
        else:
            break
    return done


def retirable(ledger: Ledger, key: ChainKey) -> bool:
    """Say whether there is a writer without a line."""
    return any(head.writer != ROSTER and _is_empty(key, head) for head in ledger.heads())


def cut_unchained(ledger: Ledger, before: datetime) -> int:
    """Delete lines from before there were chains; return how many."""
    done = 0
    while deleted := ledger.cut_unchained(before, STEP):
        done += deleted
    return done


def _is_empty(key: ChainKey, head: Head) -> bool:
    end, floor = _opened(key, head)
    return end is not None and floor is not None and end.number == head.number == floor.number


def _opened(key: ChainKey, head: Head) -> tuple[Stand | None, Stand | None]:
    end = key.unboxed(head_purpose(head.writer, head.ordinal), head.box)
    return end, key.unboxed(floor_purpose(head.writer, head.ordinal), head.floor)
