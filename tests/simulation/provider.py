"""A provider in one page, and the truth about it: which token belongs to which grant, what is alive, what was spent.

Written apart from the sandbox of src/valetkey/testing, so that one mistake is not made twice. Tokens are their own
names: RT3.g2 is the third refresh token of grant 2, so a trace can be read without a table.
What may not be here: faults, and anything the vault believes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

import msgspec

from simulation.manners import Manner
from valetkey.values import Request, Response

NEVER = float("inf")
_JSON = {"content-type": "application/json", "cache-control": "no-store"}


@dataclass(eq=False)
class Grant:
    """Be what one person (or no person, for machines) once allowed, for one connection."""

    number: int
    connection: str
    ends_at: float = NEVER
    death: str = ""  # reuse, person, disconnect; empty while it lives
    revoked_at: float = NEVER
    issued: int = 0
    redeemed_at: float = 0.0  # when it gave its first tokens
    allowed_at: float = 0.0

    def alive(self, now: float) -> bool:
        """Say whether tokens of this grant may still be good."""
        return not self.death and now < self.ends_at


@dataclass(eq=False)
class RefreshToken:
    """Be one generation of refresh token. `uses` counts how often it was presented while the grant lived."""

    name: str
    grant: Grant
    number: int
    parent: RefreshToken | None = None
    uses: int = 0
    spent_at: float = NEVER
    retired: bool = False


@dataclass(eq=False)
class AccessToken:
    """Be an access token. `said` is whether the answer told when it expires."""

    name: str
    grant: Grant
    number: int
    expires_at: float
    said: bool
    refresh: RefreshToken | None
    part: str = ""  # for which of several APIs it is, as the vault names it


class NoSuchGrant(Exception):
    """Be the provider's own no: the error code."""


@dataclass(eq=False)
class ModelProvider:
    """Be one provider of one manner. `odd` makes every third answer carry members that cannot be read."""

    manner: Manner
    odd: bool = False
    base: int = 0  # grants are numbered from here, so that no two providers of an episode name a token alike
    grants: list[Grant] = field(default_factory=list)
    refreshes: dict[str, RefreshToken] = field(default_factory=dict)
    accesses: dict[str, AccessToken] = field(default_factory=dict)
    codes: dict[str, tuple[Grant, float]] = field(
        default_factory=dict
    )  # and the time from which a code can be redeemed
    reused: Callable[[RefreshToken], None] = lambda _: None  # told before a refresh token is spent once more
    machines: dict[str, Grant] = field(default_factory=dict)
    secrets: set[str] | None = None  # those of the client that are taken; None: whatever it says

    def consent(self, connection: str, now: float, *, ready_at: float = 0.0, kind: str = "code") -> str:
        """Let a person allow a connection; return the code."""
        grant = self._grant(connection, now)
        code = f"{kind}.g{grant.number}"
        self.codes[code] = (grant, ready_at)
        return code

    def answer(self, request: Request, now: float) -> Response:
        """Answer a request as this provider would at `now`."""
        form = {
            name: unquote_plus(value)
            for name, _, value in (pair.partition("=") for pair in request.body.decode().split("&"))
        }
        try:
            if request.url.endswith("/revoke"):
                return self._revoke(form["token"], now)
            if request.url.endswith("/device"):
                return self._device(form.get("scope", ""), now)
            members = self._token(form, now)
        except NoSuchGrant as refusal:
            return Response(400, _JSON, msgspec.json.encode({"error": str(refusal)}))
        return Response(200, _JSON, msgspec.json.encode(members))

    def usable(self, name: str, now: float) -> bool:
        """Say whether this provider would take a refresh token now; spends nothing."""
        token = self.refreshes[name]
        return token.grant.alive(now) and self._takes(token, now)

    def end(self, grant: Grant, death: str, now: float) -> None:
        """End a grant, with all its tokens."""
        if grant.alive(now):
            grant.death, grant.revoked_at = death, now

    # ── the token endpoint ────────────────────────────────────────────────────────────────────────────────────

    def _token(self, form: dict[str, str], now: float) -> dict[str, object]:
        if self.secrets is not None and form.get("client_secret") not in self.secrets:
            raise NoSuchGrant("invalid_client")  # before it looks at the grant (RFC 6749 section 5.2)
        kind = form["grant_type"]
        part = f"resource={form['resource']}" if "resource" in form else ""
        if kind == "client_credentials":
            name = form["scope"]
            grant = self.machines.get(name)
            if grant is None or not grant.alive(now):
                grant = self.machines[name] = self._grant(name, now)
            return self._issued(grant, None, now, part=part)
        if kind == "refresh_token":
            return self._refreshed(form["refresh_token"], now, part)
        return self._redeemed(form.get("code") or form["device_code"], now)

    def _redeemed(self, code: str, now: float) -> dict[str, object]:
        grant, ready_at = self.codes.get(code, (None, 0.0))
        if grant is None:
            raise NoSuchGrant("invalid_grant")
        if now < ready_at:
            raise NoSuchGrant("authorization_pending")
        del self.codes[code]
        return self._issued(grant, self._successor(grant, None), now)

    def _refreshed(self, name: str, now: float, part: str) -> dict[str, object]:
        token = self.refreshes.get(name)
        if token is None or not token.grant.alive(now):
            raise NoSuchGrant("invalid_grant")
        if token.uses:
            self.reused(token)
        token.uses += 1
        if not self._takes(token, now):
            if self.manner.rotation in {"strict_family", "grace"}:
                self.end(token.grant, "reuse", now)
            raise NoSuchGrant("invalid_grant")
        token.spent_at = min(token.spent_at, now)
        if self.manner.rotation == "until_new" and token.parent is not None:
            token.parent.retired = True  # its successor is used now
        new = self._successor(token.grant, token) if self.manner.rotates else token
        return self._issued(token.grant, new, now, shown=self.manner.rotates, part=part)

    def _takes(self, token: RefreshToken, now: float) -> bool:
        """Say whether the manner lets this refresh token be spent, its grant being alive."""
        match self.manner.rotation:
            case "strict_family" | "strict_refused":
                return token.spent_at == NEVER
            case "grace":
                return now <= token.spent_at + self.manner.grace
            case "until_new":
                return not token.retired
            case _:
                return True

    def _successor(self, grant: Grant, parent: RefreshToken | None) -> RefreshToken:
        grant.issued += 1
        token = RefreshToken(f"RT{grant.issued}.g{grant.number}", grant, grant.issued, parent)
        self.refreshes[token.name] = token
        return token

    def _issued(
        self, grant: Grant, refresh: RefreshToken | None, now: float, *, shown: bool = True, part: str = ""
    ) -> dict[str, object]:
        number = len(self.accesses) + 1
        grant.redeemed_at = grant.redeemed_at or now
        odd = self.odd and number % 3 == 0
        access = AccessToken(
            name=f"AT{number}.g{grant.number}",
            grant=grant,
            number=number,
            expires_at=now + self.manner.access,
            said=self.manner.says and not odd,
            refresh=refresh,
            part=part,
        )
        self.accesses[access.name] = access
        members: dict[str, object] = {"access_token": access.name, "token_type": "Bearer"}
        if odd:
            members |= {"expires_in": "soon", "scope": 7}
        elif self.manner.says:
            members["expires_in"] = int(self.manner.access)
        if refresh is not None and shown:
            members["refresh_token"] = refresh.name
        return members

    # ── the other endpoints ───────────────────────────────────────────────────────────────────────────────────

    def _device(self, connection: str, now: float) -> Response:
        code = self.consent(connection, now, ready_at=now + 12.0, kind="device")
        members = {
            "device_code": code,
            "user_code": "ABCD",
            "verification_uri": f"https://{self.manner.name.replace('_', '-')}.test/go",
            "expires_in": 600,
            "interval": 5,
        }
        return Response(200, _JSON, msgspec.json.encode(members))

    def _revoke(self, name: str, now: float) -> Response:
        """End the grant of a token, whichever of its tokens is named (RFC 7009 section 2.1)."""
        token = self.refreshes.get(name) or self.accesses.get(name)
        if token is not None:
            self.end(token.grant, "disconnect", now)
        return Response(200)

    def _grant(self, connection: str, now: float) -> Grant:
        ends_at = now + self.manner.ends if self.manner.ends else NEVER
        grant = Grant(self.base + len(self.grants) + 1, connection, ends_at, allowed_at=now)
        self.grants.append(grant)
        return grant
