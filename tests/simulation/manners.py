"""How providers treat refresh tokens: one row for each manner, and what the vault's catalogue would say of it.

What may not be here: behaviour (provider.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from valetkey.providers.schema import Api, Asking, Endpoints, Provider, Refresh

Rotation = Literal["strict_family", "strict_refused", "grace", "until_new", "stays", "never"]

HOUR: Final = 3600.0


@dataclass(frozen=True)
class Manner:
    """Be one row. `access` is how long access tokens live, `says` whether answers tell it, `ends` when grants end."""

    name: str
    rotation: Rotation
    about: str
    access: float = HOUR
    says: bool = True
    grace: float = 0.0
    ends: float = 0.0

    @property
    def rotates(self) -> bool:
        """Say whether a refresh token has a successor."""
        return self.rotation != "never"

    @property
    def forgives(self) -> bool:
        """Say whether spending a refresh token a second time never does harm."""
        return self.rotation in {"stays", "never"}


MANNERS: Final = {
    manner.name: manner
    for manner in (
        Manner("strict_family", "strict_family", "good once; a second use ends the grant (Salesforce, Box, Slack)"),
        Manner("strict_refused", "strict_refused", "good once; a second use is refused, nothing else"),
        Manner("grace", "grace", "the old one works ten minutes longer, then ends the grant (Atlassian)", grace=600.0),
        Manner("until_new", "until_new", "the old one works until the new one is used (Shopify)"),
        Manner("stays", "stays", "a new one each time, the old stay good (Microsoft)"),
        Manner("never", "never", "the same one for ever, never sent again (Google)"),
        Manner("fixed_end", "never", "never replaced, and ends six hours after consent (Spotify)", ends=6 * HOUR),
        Manner("silent", "strict_family", "strict, and answers do not say how long a token lives", says=False),
        Manner("short", "strict_family", "strict, and access tokens live twenty seconds", access=20.0),
    )
}

_KNOWN: Final[dict[Rotation, dict[str, object]]] = {
    "strict_family": {"rotates": "always", "old_token": "dies", "reuse": "revokes_family"},
    "strict_refused": {"rotates": "always", "old_token": "dies", "reuse": "refused"},
    "grace": {"rotates": "always", "old_token": "grace", "reuse": "revokes_family"},
    "until_new": {"rotates": "always", "old_token": "until_new_is_used", "reuse": "refused"},
    "stays": {"rotates": "always", "old_token": "stays", "reuse": "harmless"},
    "never": {"rotates": "never", "old_token": "stays", "reuse": "harmless"},
}


def described(manner: Manner, *, known: bool) -> Provider:
    """Return what the catalogue says of a provider; with `known` false it says nothing of its refresh tokens."""
    refresh = Refresh(**_KNOWN[manner.rotation], grace_seconds=int(manner.grace)) if known else Refresh()
    key = manner.name.replace("_", "-")
    host = f"https://{key}.test"
    return Provider(
        key=key,
        name=manner.name,
        endpoints=Endpoints(
            token=f"{host}/token",
            authorize=f"{host}/authorize",
            revoke=f"{host}/revoke",
            device=f"{host}/device",
            issuer=host,
        ),
        grants=["authorization_code", "client_credentials", "device_code"],
        asking=Asking(token_auth="client_secret_post"),
        refresh=refresh,
        api=Api(hosts=[f"{key}.test"]),
    )
