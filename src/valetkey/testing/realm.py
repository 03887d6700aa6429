"""One authorization server's insides: what its endpoints share, and how tokens are drawn and spent.

Clock and luck are given from outside. What may not be here: HTTP, pages, threads.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from valetkey.testing.books import AccessToken, Books, Grant, RefreshToken
from valetkey.testing.clients import SCOPES, SandboxClient
from valetkey.testing.manner import Manner
from valetkey.testing.wire import refuse
from valetkey.values import Scopes, Secret


@dataclass(slots=True, kw_only=True)
class Realm:
    """Hold what all endpoints of one sandbox share. `luck` gives random bytes, the clocks seconds since 1970.

    `clock` is the sandbox's own time, which can be moved ahead; `wall` is everybody's.
    """

    manner: Manner
    clients: Mapping[str, SandboxClient]
    access_lifetime: float
    clock: Callable[[], float]
    wall: Callable[[], float]
    luck: Callable[[int], bytes]
    issuer: str = ""  # known when it listens; no trailing slash
    books: Books = field(default_factory=Books)

    def draw(self, prefix: str) -> str:
        """Draw an opaque value of 256 bits; the prefix tells a person what it is."""
        return prefix + base64.urlsafe_b64encode(self.luck(32)).rstrip(b"=").decode()

    def scopes_for(self, client: SandboxClient, asked: str) -> Scopes:
        """Return the scopes to grant: what was asked, or the client's default; raises RequestRefused."""
        wanted = Scopes(asked) if asked else client.default_scopes
        if unknown := Scopes(scope for scope in wanted if scope not in SCOPES or scope not in client.scopes):
            # Only known words are repeated: what was asked may hold anything.
            raise refuse(
                "invalid_scope", f"{len(unknown)} scope(s) cannot be had; there are: {' '.join(client.scopes)}"
            )
        return Scopes(scope for scope in wanted if scope not in self.manner.withheld)

    def grant(self, kind: str, client: str, subject: str, scopes: Scopes, audience: tuple[str, ...]) -> Grant:
        """Open a grant, and end the user's oldest where there are too many."""
        opened = Grant(kind, client, subject, scopes, audience, self.clock())
        self.books.add(opened)
        if self.manner.grants_per_user:
            for oldest in self.books.alive(subject, client)[: -self.manner.grants_per_user]:
                oldest.ended = "too many grants"
        return opened

    def access(
        self, grant: Grant, scopes: Scopes, *, audience: tuple[str, ...] = (), client: str = "", actor: str = ""
    ) -> dict[str, Any]:
        """Draw an access token and return the members of its answer, before manners."""
        text, now = self.draw("sbx_at_"), self.clock()
        token = AccessToken(
            grant=grant,
            scopes=scopes,
            audience=audience or grant.audience,
            born=now,
            expires=math.inf if self.manner.expires_in == "zero" else now + self.access_lifetime,
            fingerprint=Secret(text).fingerprint(),
            client=client or grant.client,
            actor=actor,
        )
        self.books.access.put(text, token)
        return {"access_token": text, "token_type": "Bearer", "scope": scopes.join(), **self._expiry()}

    def _expiry(self) -> dict[str, int | str]:
        # RFC 6749 section 5.1 wants whole seconds; a lifetime under one second is announced as one.
        seconds = max(1, int(self.access_lifetime))
        shapes: dict[str, dict[str, int | str]] = {
            "number": {"expires_in": seconds},
            "text": {"expires_in": str(seconds)},
            "missing": {},
            "zero": {"expires_in": 0},
            "milliseconds": {"expires_in": int(self.access_lifetime * 1000)},
        }
        return shapes[self.manner.expires_in]

    def wants_refresh(self, client: SandboxClient, scopes: Scopes, access_type: str) -> bool:
        """Say whether a consent brings a refresh token, by the manner and by what was asked."""
        if "refresh_token" not in client.grants:
            return False
        asked = {
            "always": True,
            "never": False,
            "offline_access": "offline_access" in scopes,
            "access_type": access_type == "offline",
        }
        return asked[self.manner.refresh_given]

    def refreshable(self, grant: Grant, parent: RefreshToken | None = None) -> dict[str, Any]:
        """Draw a refresh token and return the members of its answer."""
        text = self.draw("sbx_rt_")
        self.books.refresh.put(text, RefreshToken(grant, parent))
        return {"refresh_token": text, **self._end_of(grant)}

    def _end_of(self, grant: Grant) -> dict[str, int]:
        if not self.manner.refresh_lifetime:
            return {}
        return {"refresh_token_expires_in": max(0, int(grant.born + self.manner.refresh_lifetime - self.clock()))}

    def spend(self, text: str, client: SandboxClient) -> RefreshToken:
        """Return the refresh token if it may be used now, else raise RequestRefused (invalid_grant).

        Use of one that was replaced ends the whole grant where the manner says so (RFC 9700 section 4.14.2).
        """
        token = self.books.refresh.find(text)
        if token is None or token.grant.client != client.id:
            raise refuse("invalid_grant", "the refresh token is unknown")
        if token.grant.ended:
            raise refuse("invalid_grant", f"the grant has ended: {token.grant.ended}")
        end = token.grant.born + self.manner.refresh_lifetime
        if self.manner.refresh_lifetime and self.clock() >= end:
            raise refuse("invalid_grant", "the refresh token has expired")
        if self._too_late(token):
            if self.manner.reuse == "revokes_family":
                token.grant.ended = "a refresh token was used twice"
            raise refuse("invalid_grant", "the refresh token was already used")
        return token

    def _too_late(self, token: RefreshToken) -> bool:
        if token.replaced == math.inf:
            return False
        rules = {
            "dies": True,
            "grace": self.clock() >= token.replaced + self.manner.grace,
            "until_new_is_used": token.over,
            "stays": False,
        }
        return rules[self.manner.old_token]

    def renewed(self, token: RefreshToken, text: str) -> dict[str, Any]:
        """Return the refresh members of a refresh answer: a successor, the same again, or none."""
        if token.parent is not None:
            token.parent.over = True  # its successor is in use, so the answer has arrived
        if self.manner.refresh_ends_access:
            for issued in self.books.access.all():
                if issued.grant is token.grant:
                    issued.expires = min(issued.expires, self.clock())
        if not self.manner.rotates:
            return {"refresh_token": text, **self._end_of(token.grant)} if self.manner.refresh_repeated else {}
        token.replaced = min(token.replaced, self.clock())
        return self.refreshable(token.grant, token)
