"""Face: what `valetkey.open()` gives; the vault's keeper with the injectors as its methods."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from valetkey.transport.sync import Transport
from valetkey.vault.akeeper import AsyncKeeper
from valetkey.vault.keeper import Keeper
from valetkey.vault.opening import default_path, open_world


class Vault(Keeper):
    """Keep OAuth2 connections and hand out fresh tokens, for scripts and threads."""


class AsyncVault(AsyncKeeper):
    """Keep OAuth2 connections and hand out fresh tokens, for asyncio."""


def open(  # noqa: A001  # `valetkey.open()` reads as what it does, like `gzip.open`
    path: str | Path | None = None,
    *,
    key_file: str | Path | None = None,
    create: bool = True,
    actor: str = "library",
) -> Vault:
    """Open the vault at `path` (default: VALETKEY_VAULT, else the user's data folder); made if it is not there.

    Raises the VaultErrors: WrongKey, KeyMissing, VaultUnreadable, VaultMissing (with `create=False`).
    """
    desk, world = open_world(
        Path(path).expanduser() if path is not None else default_path(),
        transport=_transport,
        key_file=Path(key_file).expanduser() if key_file is not None else None,
        create=create,
        actor=actor,
    )
    return Vault(desk, world)


@lru_cache(maxsize=1)
def _transport() -> Transport:
    """Return the one transport of this process: its connections are kept and used again."""
    return Transport()


def open_async(
    path: str | Path | None = None,
    *,
    key_file: str | Path | None = None,
    create: bool = True,
    actor: str = "library",
) -> AsyncVault:
    """Open the vault for asyncio; opening itself takes milliseconds and blocks. Raises as `open` does."""
    return AsyncVault(open(path, key_file=key_file, create=create, actor=actor))
