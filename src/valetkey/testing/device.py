"""Device authorization: the device asks for a pair of codes, the person types one of them here (RFC 8628).

What may not be here: the polling (grants.py).
"""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import urlencode

from valetkey.errors import RequestRefused
from valetkey.testing import pages, wire
from valetkey.testing.books import Device
from valetkey.testing.grants import audience_of
from valetkey.testing.proof import prove
from valetkey.testing.realm import Realm
from valetkey.testing.session import guard, signed_in
from valetkey.testing.wire import Ask, refuse
from valetkey.values import Response, chunks

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1: no vowels, so no words; one case; eight of them are 34.5 bits."""


def device_authorization(realm: Realm, ask: Ask) -> Response:
    """Answer POST /device_authorization (RFC 8628 section 3.1)."""
    try:
        return wire.json(_codes(realm, ask))
    except RequestRefused as refused:
        ask.trace["outcome"] = refused.code
        return wire.error(refused)


def _codes(realm: Realm, ask: Ask) -> dict[str, str | int]:
    form = wire.read_form(ask)
    ask.trace["grant"] = "device_code"
    if form.repeated:
        raise refuse("invalid_request", "a parameter occurs more than once")
    client = prove(realm, ask, form)
    if "device_code" not in client.grants:
        raise refuse("unauthorized_client", "this client may not use the device flow")
    scopes, manner = realm.scopes_for(client, form("scope")), realm.manner
    letters = user_code(realm.luck(16))
    device = Device(
        client=client.id,
        scopes=scopes,
        audience=audience_of(form),
        user_code="-".join(chunks(letters, 4)),
        expires=realm.clock() + manner.device_lifetime,
        interval=manner.device_interval,
        offline=realm.wants_refresh(client, scopes, form("access_type")),
    )
    device_code = realm.draw("sbx_dev_")
    realm.books.devices.put(device_code, device)
    realm.books.user_codes.put(letters, device)
    page = f"{realm.issuer}/device"
    return {
        "device_code": device_code,
        "user_code": device.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?{urlencode({'user_code': device.user_code})}",
        "expires_in": int(manner.device_lifetime),
        "interval": math.ceil(manner.device_interval),
    }


def user_code(luck: bytes) -> str:
    """Return eight letters; sixteen random bytes leave no letter noticeably likelier than another."""
    number, letters = int.from_bytes(luck), ""
    for _place in range(8):
        number, rest = divmod(number, len(ALPHABET))
        letters += ALPHABET[rest]
    return letters


def device(realm: Realm, ask: Ask) -> Response:
    """Answer GET and POST /device: who are you, which code, may it."""
    typed = "".join(letter for letter in ask.query("user_code").upper() if letter in ALPHABET)
    action = f"/device?{urlencode({'user_code': typed})}" if typed else "/device"
    shown = "-".join(chunks(typed, 4))
    session = signed_in(realm, ask, action, code=shown)
    if isinstance(session, Response):
        return session
    waiting = realm.books.user_codes.find(typed)
    wrong = _wrong(waiting, realm.clock())
    if waiting is None or wrong:
        return pages.ask_code(shown, wrong if ask.query("user_code") else "")
    client = realm.clients[waiting.client]
    ask.trace.update(client=client.id, grant="device_code")
    if ask.method == "POST":
        form = wire.read_form(ask)
        guard(session, form)
        waiting.verdict = "allow" if form("decision") == "allow" else "deny"
        waiting.user = session.user
        ask.trace["outcome"] = "ok" if waiting.verdict == "allow" else "access_denied"
        return pages.done("Done", "You can go back to your device and close this page.")
    return pages.confirm_device(
        action, session.csrf, client=client.name, user=session.user, scopes=waiting.scopes, code=waiting.user_code
    )


def _wrong(waiting: Device | None, moment: float) -> str:
    """Return what is wrong with a code, or nothing."""
    if waiting is None:
        return pages.NO_SUCH_CODE
    if waiting.verdict:
        return pages.USED_CODE
    return pages.OLD_CODE if moment >= waiting.expires else ""
