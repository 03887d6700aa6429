"""The truth about tokens, as the providers keep it: whose they are, which came later, whether a record holds them.

What may not be here: rules (watch.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulation.knowledge import access_of, refresh_of
from simulation.provider import AccessToken, ModelProvider, RefreshToken
from valetkey.vault.records import Connection

if TYPE_CHECKING:
    from simulation.house import World


class Truth:
    """Look tokens up by their names. `skew` is by how much clocks may differ."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.skew = 0.0

    def provider(self, token: RefreshToken) -> ModelProvider:
        """Return the provider of a refresh token."""
        return self.world.provider(token.grant.connection)

    def refresh(self, name: str) -> RefreshToken | None:
        """Return a refresh token, None if nobody ever gave it."""
        return next((p.refreshes[name] for p in self.world.providers.values() if name in p.refreshes), None)

    def access(self, name: str) -> AccessToken | None:
        """Return an access token, None if nobody ever gave it."""
        return next((p.accesses[name] for p in self.world.providers.values() if name in p.accesses), None)

    def held(self, connection: Connection) -> Iterator[AccessToken]:
        """Give the access tokens of a record: its own, and those that came with a refresh token for another target.

        A machine's token for another target can be had again at any time, so that one may go.
        """
        for part in ("", *connection.parts):
            token = self.access(access_of(connection, part))
            if token is not None and (not part or token.refresh is not None):
                yield token

    def later(self, one: AccessToken, other: AccessToken) -> bool:
        """Say whether one token is of a consent that is clearly later than the other's: allowed later, and redeemed later.

        Who stood still between the two redeems an old consent late, and the vault keeps the one of after it.
        """
        first, second = other.grant, one.grant
        between = min(second.redeemed_at - first.redeemed_at, second.allowed_at - first.allowed_at)
        return one.refresh is not None and other.refresh is not None and between > 60.0 + 2 * self.skew

    def covers(self, held: Connection, access: AccessToken, before: str, now: float, *, stalled: bool = False) -> bool:
        """Say whether a record holds this answer, or one that came later, or one of another consent.

        Where no refresh token is replaced, any other renewal since `before` does as well, and so does what another got
        for the same refresh token: clocks that differ by more than a lease let two spend it, each for a target of its
        own. For an answer to who stood still, whatever is still good does.
        """
        own = self.access(access_of(held))
        if own is None or own.grant is not access.grant:
            return own is not None
        if access.refresh is None or self.provider(access.refresh).manner.forgives:
            # For another target it can be had again with the refresh token that is still held.
            renewed = bool(access.part) or own.number >= access.number or own.name != before
            return renewed or self._twins(self.refresh(refresh_of(held)), access.refresh)
        token = self.refresh(refresh_of(held))
        if token is None:
            return False
        spent = access.refresh.parent
        # Two who spent one token, because what the first got lay beside a store that the second could not see: where the
        # provider takes both descendants, either may be kept.
        after = stalled or (spent is not None and token.number > spent.number)
        if after and self.provider(token).usable(token.name, now):
            return True
        return token.number >= access.refresh.number or token.parent is access.refresh.parent

    @staticmethod
    def _twins(one: RefreshToken | None, other: RefreshToken | None) -> bool:
        """Say whether two refresh tokens were given for the same one."""
        return one is not None and other is not None and one.parent is not None and one.parent is other.parent
