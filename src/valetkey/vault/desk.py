"""What every plan of the vault needs: opening and sealing records, and knowing the provider of an app.

A Desk holds no connection to anything: it turns entries into records and records into requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from valetkey.effects import Plan, load, luck, now
from valetkey.errors import InvalidInput, KeyRefused
from valetkey.providers import loader
from valetkey.providers.schema import Provider, TokenAuth
from valetkey.values import Entry, Secret
from valetkey.vault import names
from valetkey.vault.layout import head_of
from valetkey.vault.near import Near
from valetkey.vault.records import PERSON_GRANTS, App, Connection, Pending, from_bytes, owner_of, to_bytes
from valetkey.vault.seal import Sealer

if TYPE_CHECKING:
    from valetkey.jose import Key
    from valetkey.oauth.client import Client, Stamp

MARGIN_MOST: Final = 300.0
"""Seconds before expiry at which a token is renewed at the latest: clocks differ, and requests take time."""

BLIPS: Final = 3
"""Passing failures in a row before anybody is told: one 503 mends itself before a person has read of it."""

DEFAULT_KEY_ALG: Final = "RS256"
"""For a PEM key whose algorithm is not named: Google and Salesforce take nothing else."""

KEEP_ALIVE_SHARE: Final = 0.5
"""Of the time a refresh token may lie unused: half of it leaves as long again to mend what prevents the refresh."""

MARGIN_SHARE: Final = 0.1
"""Of a token's lifetime: a token of one minute is renewed six seconds ahead, one of an hour five minutes."""

SPREAD_SHARE: Final = 0.1
"""Of the time a token counts as fresh: so much earlier, at most, it becomes due, each token at its own moment. So the
refresher comes before any caller has to wait, and tokens obtained together are not all renewed together."""


@dataclass(frozen=True)
class Desk:
    """Open and seal records; find providers; make OAuth clients of apps."""

    sealer: Sealer
    catalogue: Callable[[str], Provider] = loader.load
    near: Near = field(default_factory=Near)
    """What knows of other names than that of a record that is not there."""

    def app(self, name: str, entry: Entry | None) -> App:
        """Open an app's record; raises NotFound."""
        record = names.app_record(name)
        if entry is None:
            raise self.near.no_app(name)
        return from_bytes(App, record, self.sealer.open(record, entry.box))

    def connection(self, name: str, entry: Entry | None) -> Connection:
        """Open a connection's record; raises NotFound."""
        record = names.connection_record(name)
        if entry is None:
            raise self.near.no_connection(name)
        return from_bytes(Connection, record, self.sealer.open(record, entry.box))

    def pending(self, record: str, entry: Entry) -> Pending:
        """Open a pending authorization."""
        return from_bytes(Pending, record, self.sealer.open(record, entry.box))

    def seal_app(self, app: App) -> Entry:
        """Seal an app. What its references lead to is never kept: it is their manager's to keep."""
        if app.secret_ref:
            app = msgspec.structs.replace(app, secret=None)
        if app.private_key_ref:
            app = msgspec.structs.replace(app, private_key=None)
        return Entry("app", self.sealer.seal(names.app_record(app.name), to_bytes(app)))

    def seal_connection(self, connection: Connection, moment: float) -> Entry:
        """Seal a connection, with its state and the time it wants attention in the clear."""
        record = names.connection_record(connection.name)
        due = due_at(connection)
        box = self.sealer.seal(record, to_bytes(connection, _head(connection)))
        return Entry(connection.state(moment), box, None if due is None else datetime.fromtimestamp(due, UTC))

    def seal_pending(self, record: str, pending: Pending, state: str, due: float) -> Entry:
        """Seal a pending authorization."""
        return Entry(state, self.sealer.seal(record, to_bytes(pending)), datetime.fromtimestamp(due, UTC))

    def provider(self, app: App) -> Provider:
        """Return the description of an app's provider, its templates filled; raises NotFound or InvalidInput."""
        provider = app.described if app.described is not None else self.catalogue(app.provider)
        return loader.filled(provider, app.params)

    def client(self, app: App, provider: Provider) -> Client:
        """Return the OAuth client of an app whose secrets are all here (proving.py finds those kept elsewhere)."""
        from valetkey.oauth.authentication import client_auth  # late: while tokens are fresh, nobody speaks OAuth
        from valetkey.oauth.client import Client

        method = method_of(app, provider)
        key = None
        if method == "private_key_jwt":
            key = self.key(app)
        return Client(provider, app.client_id, client_auth(method, app.secret, key))

    def key(self, app: App) -> Key:
        """Return an app's private key; raises InvalidInput when it has none, KeyRefused when it is no key."""
        from valetkey.jose import Key  # late: only assertions need it

        if app.private_key is None:
            raise InvalidInput(
                f"app {app.name} has no private key", fix=f"valetkey app add {app.name} --replace --private-key FILE"
            )
        try:
            if app.private_key.reveal().lstrip().startswith("{"):
                return Key.from_jwk(_object(app.private_key), alg=app.key_alg or None, kid=app.key_id or None)
            return Key.from_pem(
                app.private_key.reveal().strip(), alg=app.key_alg or DEFAULT_KEY_ALG, kid=app.key_id or None
            )
        except KeyRefused as refusal:
            # The frames below hold the key, and tracebacks with locals would show it.
            raise refusal.with_traceback(None) from None


def _object(text: Secret) -> dict[str, object]:
    try:
        found: dict[str, object] = msgspec.json.decode(text.reveal(), type=dict[str, object])
    except msgspec.MsgspecError:
        raise KeyRefused("the private key looks like a JWK, and is no JSON object") from None
    return found


def method_of(app: App, provider: Provider) -> TokenAuth:
    """Return how an app proves itself: as it says, else as is usual at the provider."""
    # A service account proves itself by its assertion and has no secret (Google, Salesforce; RFC 7521 section 4.1).
    secret, key = app.secret is not None or app.secret_ref, app.private_key is not None or app.private_key_ref
    by_key = key and not secret and provider.asking.token_auth != "private_key_jwt"
    return app.token_auth or ("none" if by_key else provider.asking.token_auth)


def load_app(desk: Desk, name: str) -> Plan[App]:
    """Load and open an app; raises NotFound."""
    return desk.app(name, (yield from load(names.app_record(name))))


def stamp() -> Plan[Stamp]:
    """Return the time and a fresh identifier, for signed assertions."""
    from valetkey.oauth.client import Stamp  # late, as above

    return Stamp((yield from now()), (yield from luck(16)).hex())


def fingerprint(secret: Secret | None) -> str:
    """Return a secret's fingerprint, or the empty string."""
    return "" if secret is None else secret.fingerprint()


def _head(connection: Connection) -> bytes:
    tokens = connection.tokens
    if tokens is None or connection.revoked_at:
        return b""
    return head_of(tokens.access.reveal(), fresh_until(connection))


def fresh_until(connection: Connection, part: str = "") -> float:
    """Return until when a token may be handed out without a thought of renewing it."""
    tokens = connection.held(part)
    if tokens is None:
        return float("-inf")
    until = float("inf") if tokens.expires_at is None else tokens.expires_at - margin(connection, part)
    if connection.idle and tokens.refresh is not None:
        # Where refresh tokens die of not being used, they are used in time, although the access token still lives.
        until = min(until, tokens.obtained_at + connection.idle * KEEP_ALIVE_SHARE)
    return until


def margin(connection: Connection, part: str = "") -> float:
    """Return how many seconds before its expiry a token is renewed."""
    tokens = connection.held(part)
    if tokens is None or tokens.expires_at is None:
        return 0.0
    return min(connection.margin or MARGIN_MOST, MARGIN_SHARE * max(0.0, tokens.expires_at - tokens.obtained_at))


def due_at(connection: Connection) -> float | None:
    """Return when a connection wants attention: a lease that lapses, news to tell, a retry, the next refresh; or None.

    Tokens for other targets are asked for when somebody wants them, and so are never due.
    """
    if connection.revoked_at:
        return None
    if connection.lease is not None:
        return connection.lease.until
    news = _news_since(connection)
    moments = [until for part in owners(connection) if (until := due_part(connection, part)) is not None]
    return min(moments, default=None) if news is None else news


def owners(connection: Connection) -> list[str]:
    """Return the parts that are renewed by themselves: the connection's own, and those with a refresh token."""
    others = [part for part in connection.parts if owner_of(part) == part and connection.refresh_token(part)]
    return ["", *others]


def due_part(connection: Connection, part: str) -> float | None:
    """Return when one of a connection's own tokens wants attention, or None."""
    trouble = connection.trouble
    if trouble is not None and trouble.part == part:
        return None if trouble.sort == "grant" else trouble.retry_at
    tokens = connection.held(part)
    if tokens is None:
        return None
    if connection.grant in PERSON_GRANTS and tokens.refresh is None:
        return tokens.expires_at  # nothing can be done about it, but it must be said
    until = fresh_until(connection, part)
    if not isfinite(until):
        return None
    # Where a provider has a margin of its own, it may refuse who comes earlier.
    share = 0.0 if connection.margin else SPREAD_SHARE * _lot(connection)
    return until - share * max(0.0, until - tokens.obtained_at)


def _lot(connection: Connection) -> float:
    """Return a number in [0, 1) that differs from one connection, and from one of its tokens, to the next."""
    return crc32(f"{connection.name} {connection.generation}".encode()) / 2**32


def _news_since(connection: Connection) -> float | None:
    """Return since when there is something to tell the listeners for certain, or None (see schedule.py)."""
    trouble = connection.trouble
    if trouble is None:
        return connection.refreshed_at if connection.told else None
    lasting = trouble.sort == "client" or trouble.failures >= BLIPS
    kind = "needs_reconnect" if trouble.sort == "grant" else "failing" if lasting else connection.told
    return trouble.at if kind != connection.told else None
