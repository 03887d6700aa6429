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
    from valetkey.library import AsyncVault, Vault, open, open_async  # noqa: A004  # like gzip.open
    from valetkey.values import Scopes, Secret, Token

_WHERE = {
    "AsyncVault": "valetkey.library",
    "Scopes": "valetkey.values",
    "Secret": "valetkey.values",
    "Token": "valetkey.values",
    "Vault": "valetkey.library",
    "errors": "valetkey.errors",
    "open": "valetkey.library",
    "open_async": "valetkey.library",
}

__all__ = ["AsyncVault", "Scopes", "Secret", "Token", "Vault", "__version__", "errors", "open", "open_async"]


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
