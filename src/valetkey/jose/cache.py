"""The memory of tokens that were verified, so that the same token again costs a hash instead of a signature.

Two generations of at most half the size each: when the young one is full it becomes the old one, and what is asked
for again moves up. That bounds memory without a lock and without keeping an order. Races lose an entry at worst.

An entry is found by the SHA-256 of the token's bytes, belongs to one policy (which owns the cache), and counts only
for the very key set it was verified with and while its time runs. Refusals are never entered.
What may not be here: tokens in the clear, checks.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from valetkey.jose.claims import Claims

CACHE_SIZE: Final = 4096
"""How many tokens a policy remembers; with seven claims each, 4 MB when full (measured by bench/jose.py)."""

Remembered: TypeAlias = tuple[object, float, float, Claims]
"""The key set, the moment of verification, the moment from which it no longer counts, the claims."""


class Cache:
    """Remember up to `size` verified tokens, and two at least."""

    __slots__ = ("half", "old", "young")

    def __init__(self, size: int) -> None:
        self.half = max(1, size // 2)
        self.young: dict[bytes, Remembered] = {}
        self.old: dict[bytes, Remembered] = {}

    def promoted(self, digest: bytes) -> Remembered | None:
        """Return an entry of the old generation, moved to the young one."""
        found = self.old.get(digest)
        if found is not None:
            self.put(digest, found)
        return found

    def put(self, digest: bytes, entry: Remembered) -> None:
        """Remember an entry; forget the older half if the young one is full."""
        if len(self.young) >= self.half:
            self.old, self.young = self.young, {}
        self.young[digest] = entry

    def clear(self) -> None:
        """Forget everything."""
        self.old, self.young = {}, {}

    def __len__(self) -> int:
        return len(self.old.keys() | self.young.keys())
