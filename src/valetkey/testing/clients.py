"""The clients registered at the sandbox, and which redirect URIs are theirs.

What may not be here: how a client proves itself (proof.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from valetkey.jose import Key
from valetkey.values import Scopes, Secret

SCOPES: Final[Mapping[str, str]] = {
    "profile": "See your name",
    "read": "Read what you own",
    "write": "Change what you own",
    "offline_access": "Stay connected while you are away",
}
"""Every scope the sandbox knows, and what its consent page says of it."""

ALL_SCOPES: Final = Scopes(SCOPES)
DEFAULT_SCOPES: Final = Scopes(("profile", "read"))
"""What a client gets that asks for none."""

CALLBACKS: Final = ("http://127.0.0.1/callback", "http://[::1]/callback")
"""Registered without a port, because that of a loopback address is free (RFC 8252 section 7.3)."""

LOOPBACK_ADDRESSES: Final = frozenset({"127.0.0.1", "::1"})
"""Literals only: RFC 8252 section 8.3 advises against the name localhost, so it must match exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxClient:
    """Be one registration. Without secret and key it is a public client (RFC 6749 section 2.1).

    `key` is the private half, for you to sign with; the sandbox itself looks only at the public one.
    """

    id: str
    name: str
    grants: tuple[str, ...]
    secret: Secret | None = None
    further: tuple[Secret, ...] = ()  # others that are good as well, while secrets are being changed
    key: Key | None = field(default=None, repr=False)
    redirect_uris: tuple[str, ...] = ()
    scopes: Scopes = ALL_SCOPES
    default_scopes: Scopes = DEFAULT_SCOPES

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return every secret that is good now."""
        return (*(() if self.secret is None else (self.secret,)), *self.further)

    @property
    def public(self) -> bool:
        """Say whether the client has nothing to prove itself with."""
        return self.secret is None and self.key is None

    def owns(self, redirect_uri: str) -> bool:
        """Say whether a redirect URI is registered: exactly, or but for the port of a loopback address."""
        return any(known == redirect_uri or portless(redirect_uri) == known for known in self.redirect_uris)


def portless(uri: str) -> str:
    """Return a loopback URI without its port, and any other unchanged (RFC 8252 section 7.3).

    A URI that is not written plainly is returned unchanged too, so that it can only match exactly.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return uri
    if parts.scheme != "http" or host not in LOOPBACK_ADDRESSES or port is None:
        return uri
    bare = f"[{host}]" if ":" in host else host
    # The port as it stands must be the port that was read: no user part, no leading zero, no sign.
    return uri.replace(f"{bare}:{port}", bare, 1) if parts.netloc == f"{bare}:{port}" else uri


def preregistered(
    given: Mapping[str, str], redirect_uris: Iterable[str], more: Iterable[SandboxClient]
) -> dict[str, SandboxClient]:
    """Return the clients every sandbox has, with random secrets where none are given, and `more`."""
    callbacks = (*CALLBACKS, *redirect_uris)

    def secret(client_id: str) -> Secret:
        return Secret(given.get(client_id) or secrets.token_urlsafe(32))

    web = SandboxClient(
        id="sandbox-web",
        name="Sandbox Web App",
        secret=secret("sandbox-web"),
        redirect_uris=callbacks,
        grants=("authorization_code", "refresh_token", "device_code", "token_exchange"),
    )
    cli = SandboxClient(
        id="sandbox-cli",
        name="Sandbox Command Line",
        redirect_uris=callbacks,
        grants=("authorization_code", "refresh_token", "device_code"),
    )
    machine = SandboxClient(
        id="sandbox-machine",
        name="Sandbox Machine",
        secret=secret("sandbox-machine"),
        key=Key.generate("ES256"),
        grants=("client_credentials", "jwt_bearer", "token_exchange"),
        default_scopes=Scopes(("read",)),
    )
    return {client.id: client for client in (web, cli, machine, *more)}
