"""Claims: what a verified token says, read-only.

An object of this class exists only for a token that passed every check.
What may not be here: checks (see rules.py), clocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from valetkey.values import Scopes


class Claims(Mapping[str, Any]):
    """Be the claims of a verified token: a read-only mapping, with typed accessors for the registered ones.

    Lists inside are tuples and objects are read-only. `to_dict()` gives a copy that may be changed.
    """

    __slots__ = ("_claims", "_scope_claim")

    def __init__(self, claims: dict[str, Any], scope_claim: str) -> None:
        self._claims = claims
        self._scope_claim = scope_claim

    @property
    def issuer(self) -> str:
        """Return `iss` (RFC 7519 section 4.1.1)."""
        issuer: str = self._claims["iss"]
        return issuer

    @property
    def subject(self) -> str:
        """Return `sub`, or the empty string (RFC 7519 section 4.1.2)."""
        return str(self._claims.get("sub", ""))

    @property
    def audience(self) -> tuple[str, ...]:
        """Return `aud`, always as a tuple (RFC 7519 section 4.1.3)."""
        audience: str | tuple[str, ...] = self._claims["aud"]
        return (audience,) if isinstance(audience, str) else audience

    @property
    def expires_at(self) -> datetime | None:
        """Return `exp`, aware, UTC; None only if the policy allows tokens that never expire."""
        return self._moment("exp")

    @property
    def issued_at(self) -> datetime | None:
        """Return `iat`, aware, UTC."""
        return self._moment("iat")

    @property
    def not_before(self) -> datetime | None:
        """Return `nbf`, aware, UTC."""
        return self._moment("nbf")

    @property
    def token_id(self) -> str:
        """Return `jti`, or the empty string (RFC 7519 section 4.1.7)."""
        return str(self._claims.get("jti", ""))

    @property
    def client_id(self) -> str:
        """Return `client_id`, or the empty string (RFC 8693 section 4.3)."""
        return str(self._claims.get("client_id", ""))

    @property
    def scopes(self) -> Scopes:
        """Return the scopes (RFC 8693 section 4.2)."""
        return Scopes(self._claims.get(self._scope_claim, ""))

    def to_dict(self) -> dict[str, Any]:
        """Return a deep copy that may be changed and written as JSON."""
        return {name: _thawed(value) for name, value in self._claims.items()}

    def _moment(self, name: str) -> datetime | None:
        seconds = self._claims.get(name)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def __getitem__(self, name: str) -> Any:
        return self._claims[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, name: object) -> bool:
        return name in self._claims

    def __repr__(self) -> str:
        # Other claims may hold what a log should not.
        return f"<Claims iss={self.issuer!r} sub={self.subject!r} jti={self.token_id!r}>"


def _thawed(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return {name: _thawed(item) for name, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value
