"""Take each token once: for assertions, and whatever else must not be shown twice (RFC 7519 section 4.1.7).

A token is known by its issuer and `jti`, never by its text: the same token can have a second valid signature (ECDSA).
What may not be here: other processes. Several replicas need a store they share.
"""

from __future__ import annotations

from typing import Final

from valetkey.jose.claims import Claims
from valetkey.jose.reasons import refused

REPLAYS_LIMIT: Final = 100_000
"""How many tokens are kept in mind; about 25 MB. At 100 a second, with a minute of life each, 36 000."""

SWEEP_EVERY: Final = 1024
"""After how many tokens the expired ones are forgotten; also when the memory is full, but once a second at most."""

KEPT_AFTER: Final = 300.0
"""Seconds that a token is kept in mind after it expired: the longest leeway a policy can have."""


class Replays:
    """Keep in mind which tokens were taken, until they expire. Safe to share between threads.

    When `limit` living ones are kept, new ones are refused: forgetting one would let it be shown again.
    """

    __slots__ = ("_count", "_next_sweep", "_seen", "limit")

    def __init__(self, limit: int = REPLAYS_LIMIT) -> None:
        self.limit = limit
        self._seen: dict[tuple[str, str], tuple[float, object]] = {}
        self._count = 0
        self._next_sweep = 0.0

    def take(self, claims: Claims, *, now: float) -> None:
        """Take a verified token; raises TokenRefused token_replayed, replay_memory_full, or claim_missing.

        Call it after every other check, so that a refused token can be shown again by its owner.
        """
        jti, expires = claims.get("jti"), claims.get("exp")
        if not jti or expires is None:
            name = "exp" if jti else "jti"
            raise refused("claim_missing", f"{name} is missing, so the token cannot be taken once", claim=name)
        self._count += 1
        if now >= self._next_sweep and (self._count % SWEEP_EVERY == 0 or len(self._seen) >= self.limit):
            self._next_sweep = now + 1
            self._sweep(now)
        if len(self._seen) >= self.limit:
            raise refused("replay_memory_full", "too many tokens are waiting to expire", expected=self.limit)
        ticket = object()
        # One setdefault, which is atomic: of any number of threads exactly one finds its own ticket.
        if self._seen.setdefault((claims.issuer, jti), (expires, ticket))[1] is not ticket:
            raise refused("token_replayed", "the token was used before", claim="jti", got=jti)

    def _sweep(self, now: float) -> None:
        # A token may be accepted for a leeway after it expired; it is kept in mind for longer than any.
        gone = [name for name, (expires, _) in list(self._seen.items()) if expires + KEPT_AFTER <= now]
        for name in gone:
            self._seen.pop(name, None)

    def __len__(self) -> int:
        return len(self._seen)
