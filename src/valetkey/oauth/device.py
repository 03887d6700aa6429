"""The device authorization grant (RFC 8628): for machines without a browser.

The answer to the last request is read by `read_token`; authorization_pending and slow_down are AuthorizationPending.
What may not be here: the waiting between questions (a plan's).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.oauth.authorize import scopes_to_ask
from valetkey.oauth.body import good_members
from valetkey.oauth.client import PROTECTED, Client, Form, Stamp, ask, merged
from valetkey.oauth.plain import Members, first, number, secret, visible
from valetkey.oauth.refusal import bad_answer
from valetkey.values import EMPTY, Request, Response, Secret, secure_url

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

DEFAULT_INTERVAL: Final = 5.0
""""If no value is provided, clients MUST use 5 as the default" (RFC 8628 section 3.2). Seconds."""

LONGEST_INTERVAL: Final = 300.0
"""Seconds. A server that wants longer pauses would let its own codes lapse between two questions."""

DEFAULT_LIFETIME: Final = 600.0
"""Seconds a code is taken to live where the answer does not say, against RFC 8628 section 3.2."""

LONGEST_LIFETIME: Final = 86_400.0
"""Seconds. Nobody types a code of yesterday."""

SLOW_DOWN: Final = 5.0
"""Seconds to add: "the interval MUST be increased by 5 seconds for this and all subsequent requests" (section 3.5)."""

USER_CODE_LIMIT: Final = 64
"""Most characters of a code that a person types."""


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """Be what a person is shown, and the code we ask with. `expires_in` and `interval` are seconds."""

    device_code: Secret
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str = field(default="", repr=False)
    expires_in: float = DEFAULT_LIFETIME
    interval: float = DEFAULT_INTERVAL


def device_request(
    client: Client, *, stamp: Stamp, scopes: Iterable[str] = (), extra: Mapping[str, str] = EMPTY
) -> Request:
    """Ask for a device code and a user code (RFC 8628 section 3.1). Raises InvalidInput, InsecureUrl.

    Scopes are those of `scopes_to_ask`, for here too a person consents.
    """
    asking = client.provider.asking
    # "client_id REQUIRED if the client is not authenticating with the authorization server", and harmless if it is.
    wanted = scopes_to_ask(client, scopes).join(asking.scope_separator)
    ours = {asking.scope_param: wanted, "client_id": client.client_id}
    return ask(client, "device", merged(asking.device_params, ours, extra, PROTECTED), stamp=stamp)


def read_device(client: Client, response: Response, *, sent: Iterable[Secret] = ()) -> DeviceAuthorization:
    """Return what to show the person (RFC 8628 section 3.2); no error repeats one of the secrets that were `sent`.

    Raises ClientRefused, RequestRefused, ProviderUnavailable, BadAnswer.
    """
    provider = client.provider
    members = good_members(provider, response, proof="device_code", sent=(*client.secrets, *sent))
    code, typed = secret(members.get("device_code")), _user_code(members)
    if code is None:
        raise bad_answer(provider.name, response, "no_device_code", "there is no usable device_code in it")
    if typed is None:
        raise bad_answer(provider.name, response, "no_user_code", "there is no user_code in it that could be typed")
    # Google wrote `verification_url` before the RFC settled on `verification_uri`.
    page = _page(first(members, "verification_uri|verification_url"))
    if not page:
        raise bad_answer(provider.name, response, "no_verification_uri", "there is no safe verification_uri in it")
    return DeviceAuthorization(
        code,
        typed.reveal(),
        page,
        _page(first(members, "verification_uri_complete|verification_url_complete")),
        _between(members.get("expires_in"), 1.0, LONGEST_LIFETIME, default=DEFAULT_LIFETIME),
        _between(members.get("interval"), 1.0, LONGEST_INTERVAL, default=DEFAULT_INTERVAL),
    )


def device_token_request(client: Client, device_code: Secret, *, stamp: Stamp) -> Request:
    """Ask whether the person has finished (RFC 8628 section 3.4). Raises InvalidInput, InsecureUrl."""
    ours: Form = {"grant_type": GRANT, "device_code": device_code, "client_id": client.client_id}
    return ask(client, "token", ours, stamp=stamp)


def _user_code(members: Members) -> Secret | None:
    typed = members.get("user_code")
    fit = isinstance(typed, str) and typed and typed.isprintable() and len(typed) <= USER_CODE_LIMIT
    return Secret(typed) if fit else None


def _page(value: Any) -> str:
    """Return a URL that may be shown and opened, or the empty string."""
    try:
        return secure_url(value, "verification URI") if visible(value) else ""
    except (InvalidInput, InsecureUrl):
        return ""


def _between(value: Any, least: float, most: float, *, default: float) -> float:
    read = number(value)
    return default if read is None or read <= 0 else min(max(read, least), most)
