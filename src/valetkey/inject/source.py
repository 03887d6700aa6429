"""Where injectors get tokens from: two seams, which the keepers of vault/ fill.

What may not be here: code. Whatever has these two methods can be injected from; the tests have small ones of their own.
"""

from __future__ import annotations

from typing import Protocol

from valetkey.values import Token
from valetkey.vault.views import Credential


class Source(Protocol):
    """Give what goes on a request; may block. Safe for many threads at once.

    Asked at every hop, unless it says by a credential's `validity` that this one may be used until then.
    """

    def credential(self, name: str) -> Credential:
        """Return a fresh token, the hosts it may go to, and how it is written; raises the errors of Keeper.token."""

    def renewed(self, name: str, rejected: Token) -> Token:
        """Return a token other than `rejected`, which an API has just refused with 401; raises likewise."""


class AsyncSource(Protocol):
    """Give what goes on a request, without blocking the event loop."""

    async def credential(self, name: str) -> Credential:
        """Return a fresh token, the hosts it may go to, and how it is written; raises the errors of Keeper.token."""

    async def renewed(self, name: str, rejected: Token) -> Token:
        """Return a token other than `rejected`, which an API has just refused with 401; raises likewise."""
