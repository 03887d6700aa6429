"""Connecting by device code (RFC 8628): ask for a code that a person types elsewhere, and wait until that was done.

What may not be here: I/O, and what becomes of a new grant (connect.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from valetkey.effects import Plan, note, now, send, sleep
from valetkey.errors import AuthorizationPending, GrantRefused, InvalidInput, ValetkeyError, Weather
from valetkey.oauth.authorize import scopes_to_ask
from valetkey.oauth.client import Client
from valetkey.oauth.device import DeviceAuthorization, device_request, device_token_request, read_device
from valetkey.oauth.reading import TokenAnswer, read_token
from valetkey.values import Scopes
from valetkey.vault import names
from valetkey.vault.asking import name_scopes
from valetkey.vault.connect import Wish, asked_by, keep_new, place_of
from valetkey.vault.desk import Desk, load_app, stamp
from valetkey.vault.proving import proven
from valetkey.vault.records import Connection

SLOW_DOWN_SECONDS: Final = 5.0
"""RFC 8628 section 3.5."""


@dataclass(frozen=True, slots=True)
class DeviceStarted:
    """Be a device authorization under way: what to show, and what to ask with (not shown)."""

    connection: str
    shown: DeviceAuthorization
    wish: Wish
    expires_at: float


def begin_device(desk: Desk, name: str, wish: Wish) -> Plan[DeviceStarted]:
    """Ask for a code that a person types elsewhere (RFC 8628)."""
    app_name, _label = names.split(name)
    app = yield from load_app(desk, app_name)
    provider = desk.provider(app)
    if not provider.endpoints.device:
        if not {"authorization_code", "device_code"}.intersection(provider.grants):
            raise InvalidInput(
                f"app {app.name} is for machines: there is nobody to type a code",
                cause=f"it is connected by {' or '.join(provider.grants)}, and no person consents",
                fix=f"`valetkey connect {name}`, without --device",
            )
        raise InvalidInput(
            f"{provider.name} has no device flow", fix=f"`valetkey connect {name}`, or with --no-browser"
        )
    asked = yield from asked_by(desk, name, wish, app, tuple(provider.scopes))
    extra = {**asked.extra, **({"audience": asked.audience} if asked.audience else {})}
    yield from note("connect.started", name)
    try:
        shown = yield from proven(desk, app, provider, lambda _, client: _authorized(client, asked.scopes, extra))
    except ValetkeyError as refusal:
        yield from note("connect.refused", name, "refused", refusal.code)
        name_scopes(refusal, (*asked.scopes, *provider.offline_scopes))
        raise
    return DeviceStarted(name, shown, wish, (yield from now()).timestamp() + shown.expires_in)


def _authorized(client: Client, scopes: tuple[str, ...], extra: Mapping[str, str]) -> Plan[DeviceAuthorization]:
    asked = scopes_to_ask(client, scopes)
    request = device_request(client, scopes=asked, extra=extra, stamp=(yield from stamp()))
    return read_device(client, (yield from send(request)), sent=request.secrets)


def finish_device(desk: Desk, started: DeviceStarted) -> Plan[Connection]:
    """Poll until the person has consented; raises ConsentDenied, GrantRefused (expired_token)."""
    app_name, label = names.split(started.connection)
    app = yield from load_app(desk, app_name)
    provider = desk.provider(app)
    wanted = Connection(
        app=app_name,
        label=label,
        grant="device_code",
        created_at=(yield from now()).timestamp(),
        asked=(yield from asked_by(desk, started.connection, started.wish, app, tuple(provider.scopes))),
        hosts=started.wish.hosts,
    )
    place = yield from place_of(desk, wanted)
    try:
        scopes = Scopes(wanted.asked.scopes)
        answer, asked_at = yield from proven(desk, app, provider, lambda _, client: _poll(client, started, scopes))
    except ValetkeyError as refusal:
        yield from note("connect.refused", started.connection, "refused", refusal.code)
        name_scopes(refusal, (*wanted.asked.scopes, *provider.offline_scopes))
        raise
    return (yield from keep_new(desk, place, answer, provider, asked_at))


def _poll(client: Client, started: DeviceStarted, asked: Scopes) -> Plan[tuple[TokenAnswer, datetime]]:
    """Ask until the person has finished (RFC 8628 section 3.4); a provider that is down is asked again."""
    interval = float(started.shown.interval)
    while True:
        left = started.expires_at - (yield from now()).timestamp()
        yield from sleep(min(interval, max(left, 0.0)))  # the last question comes when the code ends, and not after it
        moment = yield from stamp()
        request = device_token_request(client, started.shown.device_code, stamp=moment)
        try:
            response = yield from send(request)
            return read_token(client, response, asked=asked, sent=request.secrets), moment.now
        except AuthorizationPending as pending:
            interval += SLOW_DOWN_SECONDS if pending.code == "slow_down" else 0.0
        except Weather:
            interval *= 2  # RFC 8628 section 3.5: exponential backoff on time-outs
        if (yield from now()).timestamp() >= started.expires_at:
            raise GrantRefused("the code expired before anybody typed it in", code="expired_token")
