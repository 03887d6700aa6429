"""What the sandbox remembers: grants, tokens, codes, devices, sessions. In memory only, and forgotten with it.

Whatever is looked up by a secret is filed under its SHA-256: no token stands in memory, and no comparison
can be timed. What may not be here: requests, answers, the clock.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from valetkey.values import Scopes

RECORD_LIMIT: Final = 50_000
"""Most records of one sort; the oldest goes first. A long `make run` must not fill the memory."""

T = TypeVar("T")


class Shelf(Generic[T]):
    """File records under the hash of a secret; the oldest leaves when there are too many."""

    def __init__(self, limit: int = RECORD_LIMIT) -> None:
        self._records: dict[str, T] = {}
        self._limit = limit

    def put(self, secret: str, record: T) -> None:
        """File a record."""
        while len(self._records) >= self._limit:
            del self._records[next(iter(self._records))]
        self._records[_filed(secret)] = record

    def find(self, secret: str) -> T | None:
        """Return the record of a secret, or None."""
        return self._records.get(_filed(secret)) if secret else None

    def drop(self, secret: str) -> None:
        """Forget the record of a secret."""
        self._records.pop(_filed(secret), None)

    def all(self) -> list[T]:
        """Return every record, the oldest first."""
        return list(self._records.values())


def _filed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(slots=True)
class Grant:
    """Be one consent and all tokens drawn from it. `ended` says why it is no more; empty while it lives."""

    kind: str
    client: str
    subject: str  # the user, or the client itself where nobody consented
    scopes: Scopes
    audience: tuple[str, ...]
    born: float
    ended: str = ""


@dataclass(slots=True)
class AccessToken:
    """Be one access token; `fingerprint` is what may be shown of it."""

    grant: Grant
    scopes: Scopes
    audience: tuple[str, ...]
    born: float
    expires: float
    fingerprint: str
    client: str  # who holds it; another than the grant's after a token exchange
    actor: str = ""  # who acts for the subject (RFC 8693 section 4.1)

    def lives(self, now: float) -> bool:
        """Say whether it is still good; at the instant of expiry it is not."""
        return not self.grant.ended and now < self.expires


@dataclass(slots=True)
class RefreshToken:
    """Be one refresh token. `replaced` is when its first successor was given out; `over` that it works no longer."""

    grant: Grant
    parent: RefreshToken | None = field(default=None, repr=False)
    replaced: float = math.inf
    over: bool = False


@dataclass(slots=True)
class Code:
    """Be one authorization code (RFC 6749 section 4.1.2)."""

    client: str
    user: str
    scopes: Scopes
    audience: tuple[str, ...]
    redirect_uri: str  # as it stood in the request; empty if it was left out
    challenge: str
    offline: bool
    expires: float
    grant: Grant | None = None  # what was drawn from it; a code that has one was used


@dataclass(slots=True)
class Device:
    """Be one waiting device (RFC 8628). `user` is set when somebody decided."""

    client: str
    scopes: Scopes
    audience: tuple[str, ...]
    user_code: str
    expires: float
    interval: float
    offline: bool
    asked: float = -math.inf  # when it last asked
    user: str = ""
    verdict: str = ""  # allow or deny
    used: bool = False


@dataclass(slots=True)
class Session:
    """Be one browser. `user` is empty until somebody logged in; `csrf` stands in every form."""

    csrf: str
    user: str = ""


@dataclass(slots=True)
class Books:
    """Hold all records of one sandbox."""

    grants: list[Grant] = field(default_factory=list)
    access: Shelf[AccessToken] = field(default_factory=Shelf)
    refresh: Shelf[RefreshToken] = field(default_factory=Shelf)
    codes: Shelf[Code] = field(default_factory=Shelf)
    devices: Shelf[Device] = field(default_factory=Shelf)
    user_codes: Shelf[Device] = field(default_factory=Shelf)
    sessions: Shelf[Session] = field(default_factory=Shelf)
    assertions: Shelf[bool] = field(default_factory=Shelf)

    def add(self, grant: Grant) -> None:
        """Remember a grant."""
        del self.grants[: max(0, len(self.grants) - RECORD_LIMIT + 1)]
        self.grants.append(grant)

    def alive(self, user: str, client: str = "") -> list[Grant]:
        """Return the living grants of a user (all users if empty), the oldest first."""
        living = (grant for grant in self.grants if not grant.ended)
        return [grant for grant in living if user in {"", grant.subject} and client in {"", grant.client}]
