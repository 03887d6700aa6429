"""Disconnecting: revoke at the provider where that can be done, then forget. What may not be here: I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

from valetkey.effects import Plan, load, note, now, send, swap
from valetkey.errors import ProviderError, StoreUnavailable, UsageError, VaultDamaged, VaultUnreadable
from valetkey.oauth.client import Client
from valetkey.oauth.revocation import read_revocation, revocation_request, revokes
from valetkey.vault import names
from valetkey.vault.desk import Desk, load_app, stamp
from valetkey.vault.proving import proven
from valetkey.vault.records import Connection

Revocation = Literal["revoked", "unsupported", "nothing_to_revoke", "failed"]

ATTEMPTS = 5


def disconnect(desk: Desk, name: str, *, force: bool = False) -> Plan[Revocation]:
    """Revoke a connection's tokens and forget it; return what became of it at the provider.

    A provider that does not answer leaves everything as it is and raises, so that the tokens are not forgotten while
    they still work; `force` forgets them anyway and returns "failed", also a record that does not open.
    """
    record = names.connection_record(name)
    entry = yield from load(record)
    try:
        connection = desk.connection(name, entry)
    except (VaultDamaged, VaultUnreadable):
        if not force or entry is None:
            raise
        yield from swap(record, entry.version, None)
        yield from note("connection.removed", name, reason="damaged")
        return "failed"
    outcome = yield from _revoked(desk, connection, force=force)
    for _ in range(ATTEMPTS):
        if entry is None or (yield from swap(record, entry.version, None)):
            yield from note("connection.removed", name, reason=outcome)
            return outcome
        entry = yield from load(record)
        if entry is None:
            continue
        before, connection = connection, desk.connection(name, entry)
        if (before.tokens, before.parts) != (connection.tokens, connection.parts):
            outcome = yield from _revoked(desk, connection, force=force)  # renewed meanwhile: those work now
    raise StoreUnavailable(f"connection {name} is being changed by others", fix="try again")


def _revoked(desk: Desk, connection: Connection, *, force: bool) -> Plan[Revocation]:
    try:
        return (yield from _revoke(desk, connection))
    except (ProviderError, UsageError) as refusal:  # the latter: an app that is gone, or cannot be used any more
        yield from note("connection.revoke", connection.name, "failed", refusal.code)
        if not force:
            raise
        return "failed"


def _revoke(desk: Desk, connection: Connection) -> Plan[Revocation]:
    if connection.tokens is None:
        return "nothing_to_revoke"
    app = yield from load_app(desk, connection.app)
    provider = desk.provider(app)
    return (yield from proven(desk, app, provider, lambda _, client: _all_revoked(client, connection)))


def _all_revoked(client: Client, connection: Connection) -> Plan[Revocation]:
    outcome: Revocation = "unsupported"
    # Revoking the refresh token ends the grant where the provider follows RFC 7009 section 2.1; the access token is
    # revoked too, because not all of them do.
    for tokens in (connection.tokens, *connection.parts.values()):
        if tokens is None:
            continue
        if tokens.refresh is not None and revokes(client.provider, "refresh_token"):
            request = revocation_request(client, tokens.refresh, hint="refresh_token", stamp=(yield from stamp()))
            read_revocation(client, (yield from send(request)), sent=request.secrets)
            outcome = "revoked"
        if revokes(client.provider, "access_token"):
            request = revocation_request(client, tokens.access, hint="access_token", stamp=(yield from stamp()))
            read_revocation(client, (yield from send(request)), sent=request.secrets)
            outcome = "revoked"
    return outcome


def mark_revoked(desk: Desk, name: str) -> Plan[bool]:
    """Stop handing out a connection's tokens, at once and everywhere, without forgetting it."""
    record = names.connection_record(name)
    entry = yield from load(record)
    moment = (yield from now()).timestamp()
    revoked = msgspec.structs.replace(desk.connection(name, entry), revoked_at=moment, lease=None, intent=None)
    done = yield from swap(record, entry.version if entry else 0, desk.seal_connection(revoked, moment))
    yield from note("connection.revoked", name, "ok" if done else "failed")
    return done
