"""The auth layer for automations: OAuth2 connections kept fresh, put on requests; JWTs issued and verified.

    import httpx, valetkey

    vault = valetkey.open()
    client = httpx.Client(transport=vault.transport("google/alice"))

Importing this loads nothing else; each name below loads what it needs when it is first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valetkey._version import __version__

if TYPE_CHECKING:
    from valetkey import errors
    from valetkey.jose import Claims, Key, KeySet, Policy, RemoteKeys
    from valetkey.library import AsyncVault, Vault, open, open_async  # noqa: A004  # like gzip.open
    from valetkey.tokens import AsyncVerifier, Verifier, explain, sign, verify
    from valetkey.values import Scopes, Secret, Token
    from valetkey.vault.forecast import Forecast
    from valetkey.vault.notices import Listener

_WHERE = {
    "AsyncVault": "valetkey.library",
    "AsyncVerifier": "valetkey.tokens",
    "Claims": "valetkey.jose",
    "Forecast": "valetkey.vault.forecast",
    "Key": "valetkey.jose",
    "KeySet": "valetkey.jose",
    "Listener": "valetkey.vault.notices",
    "Policy": "valetkey.jose",
    "RemoteKeys": "valetkey.jose",
    "Scopes": "valetkey.values",
    "Secret": "valetkey.values",
    "Token": "valetkey.values",
    "Vault": "valetkey.library",
    "Verifier": "valetkey.tokens",
    "errors": "valetkey.errors",
    "explain": "valetkey.tokens",
    "open": "valetkey.library",
    "open_async": "valetkey.library",
    "sign": "valetkey.tokens",
    "verify": "valetkey.tokens",
}

__all__ = [
    "AsyncVault",
    "AsyncVerifier",
    "Claims",
    "Forecast",
    "Key",
    "KeySet",
    "Listener",
    "Policy",
    "RemoteKeys",
    "Scopes",
    "Secret",
    "Token",
    "Vault",
    "Verifier",
    "__version__",
    "errors",
    "explain",
    "open",
    "open_async",
    "sign",
    "verify",
]


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        message = f"module 'valetkey' has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module  # late: only those who use a name pay for it

    module = import_module(where)
    value = module if where.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
