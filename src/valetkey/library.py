"""Face: what `valetkey.open()` gives; the vault's keeper with the injectors as its methods.

The HTTP clients are imported by the methods that need them: valetkey depends on none of them.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from valetkey.errors import InvalidInput
from valetkey.installing import to_upgrade
from valetkey.values import Secret
from valetkey.vault.akeeper import AsyncKeeper
from valetkey.vault.keeper import Keeper
from valetkey.vault.opening import open_world
from valetkey.vault.private import expanded

if TYPE_CHECKING:
    import httpx
    from aiohttp import ClientMiddlewareType
    from requests.adapters import BaseAdapter

    from valetkey.inject.httpx import AsyncTransport as HttpxAsyncTransport
    from valetkey.inject.httpx import Auth as HttpxAuth
    from valetkey.inject.httpx import Transport as HttpxTransport
    from valetkey.inject.requests import Adapter as RequestsAdapter
    from valetkey.inject.requests import Auth as RequestsAuth
    from valetkey.inject.requests import Session as RequestsSession
    from valetkey.tokens import AsyncVerifier, Keys, Policy, Verifier
    from valetkey.transport.aio import AsyncTransport
    from valetkey.transport.sync import Transport
    from valetkey.vault.auditlog import AsyncAudit, Audit
    from valetkey.vault.keks.giving import Given

log: Final = logging.getLogger("valetkey.vault")


class Vault(Keeper):
    """Keep OAuth2 connections and hand out fresh tokens, for scripts and threads.

    The methods that put tokens on requests raise InvalidInput where the HTTP client is not installed; docs/inject.md.
    """

    @property
    def made(self) -> str:
        """Return where this opening made a vault, because there was none; else the empty string."""
        return self._world.made

    @property
    def audit(self) -> Audit:
        """Return the audit log, to look into it and to prove it; docs/audit.md."""
        from valetkey.vault.auditlog import Audit as Made  # late: few programs look

        return Made(self._world)

    def transport(self, name: str, inner: httpx.BaseTransport | None = None) -> HttpxTransport:
        """Return a transport for httpx.Client; `inner` sends (default: httpx.HTTPTransport())."""
        with _needed("httpx"):
            from valetkey.inject.httpx import Transport as Made
        return Made(self, name, inner)

    def async_transport(self, name: str, inner: httpx.AsyncBaseTransport | None = None) -> HttpxAsyncTransport:
        """Return a transport for httpx.AsyncClient; `inner` sends (default: httpx.AsyncHTTPTransport())."""
        return AsyncVault(self).transport(name, inner)

    def auth(self, name: str) -> HttpxAuth:
        """Return the short form for httpx: `auth=` of a client (sync or async) or of one request."""
        with _needed("httpx"):
            from valetkey.inject.httpx import Auth as Made
        return Made(self, AsyncKeeper(self), name)

    def requests_adapter(self, name: str, inner: BaseAdapter | None = None) -> RequestsAdapter:
        """Return an adapter to mount on "https://" and "http://" of a requests.Session; `session` does that."""
        with _needed("requests"):
            from valetkey.inject.requests import Adapter as Made
        return Made(self, name, inner)

    def session(self, name: str, inner: BaseAdapter | None = None) -> RequestsSession:
        """Return a requests.Session that goes through the adapter; `inner` sends (default: requests' HTTPAdapter())."""
        with _needed("requests"):
            from valetkey.inject.requests import Session as Made
        return Made(self.requests_adapter(name, inner))

    def requests_auth(self, name: str) -> RequestsAuth:
        """Return the short form for requests: `auth=` of a session or of one request."""
        with _needed("requests"):
            from valetkey.inject.requests import Auth as Made
        return Made(self, name)

    def aiohttp_middleware(self, name: str) -> ClientMiddlewareType:
        """Return a middleware for aiohttp.ClientSession(middlewares=(…,))."""
        return AsyncVault(self).aiohttp_middleware(name)

    def verifier(self, policy: Policy, keys: Keys, *, transport: Transport | None = None) -> Verifier:
        """Return a verifier of JWTs whose verdicts are in this vault's audit log; see valetkey.tokens.Verifier."""
        from valetkey.tokens import Verifier as Made  # late: most programs verify nothing

        return Made(policy, keys, transport=transport, audit=self._world.audit)

    def issued(self, token: str) -> str:
        """Return a token of valetkey.tokens.sign once it is durably in the audit log that it was issued.

        Raises StoreUnavailable, and then it must not be given away; InvalidInput for what is no signed JWT.
        """
        from valetkey.audit.verdicts import issued  # late, as above

        self._world.audit.note(issued(token))
        return token


class AsyncVault(AsyncKeeper):
    """Keep OAuth2 connections and hand out fresh tokens, for asyncio.

    The methods that put tokens on requests raise InvalidInput where the HTTP client is not installed; docs/inject.md.
    """

    @property
    def audit(self) -> AsyncAudit:
        """Return the audit log, to look into it and to prove it; docs/audit.md."""
        from valetkey.vault.auditlog import AsyncAudit as Made
        from valetkey.vault.auditlog import Audit  # late: few programs look

        return Made(Audit(self.sync._world), self._aside)  # noqa: SLF001  # the same vault, for coroutines

    def transport(self, name: str, inner: httpx.AsyncBaseTransport | None = None) -> HttpxAsyncTransport:
        """Return a transport for httpx.AsyncClient; `inner` sends (default: httpx.AsyncHTTPTransport())."""
        with _needed("httpx"):
            from valetkey.inject.httpx import AsyncTransport as Made
        return Made(self, name, inner)

    def async_transport(self, name: str, inner: httpx.AsyncBaseTransport | None = None) -> HttpxAsyncTransport:
        """Return the same as `transport`, under the name it has in Vault."""
        return self.transport(name, inner)

    def auth(self, name: str) -> HttpxAuth:
        """Return the short form for httpx: `auth=` of a client (sync or async) or of one request."""
        with _needed("httpx"):
            from valetkey.inject.httpx import Auth as Made
        return Made(self.sync, self, name)

    def aiohttp_middleware(self, name: str) -> ClientMiddlewareType:
        """Return a middleware for aiohttp.ClientSession(middlewares=(…,))."""
        with _needed("aiohttp"):
            from valetkey.inject.aiohttp import middleware as made
        return made(self, name)

    def verifier(self, policy: Policy, keys: Keys, *, transport: AsyncTransport | None = None) -> AsyncVerifier:
        """Return a verifier of JWTs whose verdicts are in this vault's audit log; see valetkey.tokens.AsyncVerifier."""
        from valetkey.tokens import AsyncVerifier as Made  # late, as above

        return Made(policy, keys, transport=transport, audit=self.sync._world.audit)  # noqa: SLF001  # as above

    async def issued(self, token: str) -> str:
        """Return a token of valetkey.tokens.sign once it is durably in the audit log; see Vault.issued."""
        from valetkey.audit.verdicts import issued  # late, as above

        event = issued(token)
        await self._aside(lambda: self.sync._world.audit.note(event))  # noqa: SLF001  # as above
        return token


def open(  # noqa: A001  # `valetkey.open()` reads as what it does, like `gzip.open`
    path: str | Path | None = None,
    *,
    key_file: str | Path | None = None,
    key: Secret | Callable[[], Secret] | None = None,
    create: bool | None = None,
    actor: str = "library",
    audit_log: str | Path | None = None,
) -> Vault:
    """Open the vault at `path` (default: VALETKEY_VAULT, else the user's data folder).

    `path` is a file, or a database as postgresql://user@host/database (docs/vault.md).
    `create` says what happens where no vault is: True makes one, False raises VaultMissing; where nothing is said, one
    is made and a warning logged, because the path may be mistyped.
    `key` is the vault's passphrase, under which a new vault is made as well, or a function that is asked where a
    vault has one. Without a passphrase a new vault has its key in a file; `valetkey vault init` makes other kinds.
    `audit_log` is a file where each line of the audit log is written too, as JSON, or `-` for standard output
    (default: VALETKEY_AUDIT_LOG, else nowhere).
    Raises the VaultErrors: WrongKey, KeyMissing, VaultUnreadable, VaultMissing (with `create=False`); InvalidInput.
    """
    desk, world = open_world(
        path,
        transport=_transport,
        key_file=_given(key_file, key),
        create=create is not False,
        actor=actor,
        audit_log=audit_log,
    )
    vault = Vault(desk, world)
    if vault.made and create is None:
        log.warning("made a new vault at %s", vault.made)
    return vault


def _given(key_file: str | Path | None, key: Secret | Callable[[], Secret] | None) -> Path | Given | None:
    path = expanded(key_file) if key_file is not None else None
    if key is None:
        return path
    from valetkey.vault.keks.giving import Given  # late: most vaults have their key in a file

    return Given(path, told=key) if isinstance(key, Secret) else Given(path, key)


@lru_cache(maxsize=1)
def _transport() -> Transport:
    """Return the one transport of this process: its connections are kept and used again, until the end."""
    from valetkey.transport.sync import Transport as Made  # late: while tokens are fresh, nobody is asked

    transport = Made()
    atexit.register(transport.close)
    return transport


def open_async(
    path: str | Path | None = None,
    *,
    key_file: str | Path | None = None,
    key: Secret | Callable[[], Secret] | None = None,
    create: bool | None = None,
    actor: str = "library",
    audit_log: str | Path | None = None,
) -> AsyncVault:
    """Open the vault for asyncio; opening itself takes milliseconds and blocks. Raises as `open` does."""
    return AsyncVault(open(path, key_file=key_file, key=key, create=create, actor=actor, audit_log=audit_log))


@contextmanager
def _needed(package: str) -> Iterator[None]:
    """Say what to install where a client that somebody wants to use is missing."""
    from importlib import import_module  # late: few programs need all clients

    try:
        import_module(package)  # before what comes with it, such as httpcore, whose name tells nobody what to install
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != package:
            raise
        raise InvalidInput(
            f"{package} is not installed, or too old",
            cause="valetkey puts tokens on the requests of the HTTP client you use, and brings none along",
            fix=to_upgrade(package),
        ) from None
