"""The roster: how many writers there ever were, and whose lines were pruned to the last. Pure.

Each writer has the next ordinal, so that one who is missing is missed. Tagged whole, as a head is.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from dataclasses import dataclass

import msgspec

from valetkey.audit.chain import HASH_BYTES, ChainKey


@dataclass(frozen=True, slots=True)
class Roster:
    """Be how many writers there were; `gone` are ranges of ordinals, first and last, that were pruned."""

    writers: int = 0
    gone: tuple[tuple[int, int], ...] = ()

    def boxed(self, key: ChainKey, number: int) -> bytes:
        """Return the roster as it is stored, bound to the number of its change."""
        plain = msgspec.json.encode([self.writers, self.gone])
        return key.tag(f"roster {number}", plain) + plain

    @classmethod
    def unboxed(cls, key: ChainKey, number: int, box: bytes) -> Roster | None:
        """Return what was tagged under this number; None for anything else."""
        tag, plain = box[:HASH_BYTES], box[HASH_BYTES:]
        return cls.peeked(box) if hmac.compare_digest(tag, key.tag(f"roster {number}", plain)) else None

    @classmethod
    def peeked(cls, box: bytes) -> Roster | None:
        """Return what is in a box without looking at its tag: for who has no key, and another proof of the box."""
        try:
            writers, gone = msgspec.json.decode(box[HASH_BYTES:], type=tuple[int, list[tuple[int, int]]])
        except (msgspec.MsgspecError, ValueError):
            return None
        return cls(writers, tuple(gone))

    def without(self, ordinals: list[int]) -> Roster:
        """Return the roster once these writers are pruned."""
        ranges = sorted([*self.gone, *((one, one) for one in ordinals)])
        merged: list[tuple[int, int]] = []
        for begin, end in ranges:
            if merged and begin <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return Roster(self.writers, tuple(merged))

    def is_gone(self, ordinal: int) -> bool:
        """Say whether a writer was pruned to the last line."""
        place = bisect_right(self.gone, (ordinal, self.writers + 1))
        return place > 0 and self.gone[place - 1][1] >= ordinal

    def expected(self) -> list[int]:
        """Return the ordinals of the writers that must be there."""
        there: list[int] = []
        begin = 1
        for first, last in self.gone:
            there += range(begin, first)
            begin = last + 1
        return [*there, *range(begin, self.writers + 1)]
