"""Disconnecting: revoke at the provider where that can be done, then forget. What may not be here: I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

from valetkey.effects import Plan, load, note, now, send, swap
from valetkey.errors import ProviderError, StoreUnavailable
from valetkey.oauth.revocation import read_revocation, revocation_request, revokes
from valetkey.vault import names
from valetkey.vault.desk import Desk, load_app, stamp
from valetkey.vault.records import Connection

Revocation = Literal["revoked", "unsupported", "nothing_to_revoke", "failed"]

ATTEMPTS = 5


def disconnect(desk: Desk, name: str, *, force: bool = False) -> Plan[Revocation]:
    """Revoke a connection's tokens and forget it; return what became of it at the provider.

    A provider that does not answer leaves everything as it is and raises, so that the tokens are not forgotten while
    they still work; `force` forgets them anyway and returns "failed".
    """
    record = names.connection_record(name)
    connection = desk.connection(name, (yield from load(record)))
    outcome: Revocation
    try:
        outcome = yield from _revoke(desk, connection)
    except ProviderError as refusal:
        yield from note("connection.revoke", name, "failed", refusal.code)
        if not force:
            raise
        outcome = "failed"
    for _ in range(ATTEMPTS):
        entry = yield from load(record)
        if entry is None or (yield from swap(record, entry.version, None)):
            yield from note("connection.removed", name, reason=outcome)
            return outcome
    raise StoreUnavailable(f"connection {name} is being changed by others", fix="try again")


def _revoke(desk: Desk, connection: Connection) -> Plan[Revocation]:
    tokens = connection.tokens
    if tokens is None:
        return "nothing_to_revoke"
    app = yield from load_app(desk, connection.app)
    provider = desk.provider(app)
    client = desk.client(app, provider)
    outcome: Revocation = "unsupported"
    # Revoking the refresh token ends the grant where the provider follows RFC 7009 section 2.1; the access token is
    # revoked too, because not all of them do.
    if tokens.refresh is not None and revokes(provider, "refresh_token"):
        request = revocation_request(client, tokens.refresh, hint="refresh_token", stamp=(yield from stamp()))
        read_revocation(client, (yield from send(request)))
        outcome = "revoked"
    if revokes(provider, "access_token"):
        request = revocation_request(client, tokens.access, hint="access_token", stamp=(yield from stamp()))
        read_revocation(client, (yield from send(request)))
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
