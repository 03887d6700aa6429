"""Token requests of RFC 6749 that spend no code: client credentials (section 4.4) and refresh (section 6).

What may not be here: the other grants (authorize.py, device.py, assertion.py, exchange.py), answers (reading.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from valetkey.oauth.client import PROTECTED, Client, EndpointName, Form, Stamp, ask, merged
from valetkey.values import EMPTY, Request, Scopes, Secret


def client_credentials_request(
    client: Client,
    *,
    stamp: Stamp,
    scopes: Iterable[str] = (),
    audience: str = "",
    resource: Iterable[str] = (),
    extra: Mapping[str, str] = EMPTY,
) -> Request:
    """Ask for a token of the client's own (RFC 6749 section 4.4.2, RFC 8707). Raises InvalidInput, InsecureUrl.

    Without `scopes` those are asked for that the provider wants where no person is (Microsoft Entra: .default).
    """
    asking = client.provider.asking
    wanted = Scopes(scopes) or Scopes(client.provider.client_credentials_scopes)
    ours: Form = {
        "grant_type": asking.client_credentials_grant,
        asking.scope_param: wanted.join(asking.scope_separator),
        "audience": audience,
        "resource": tuple(resource),
    }
    return ask(client, "token", merged(asking.client_credentials_params, ours, extra, PROTECTED), stamp=stamp)


def refresh_request(
    client: Client,
    refresh_token: Secret,
    *,
    stamp: Stamp,
    scopes: Iterable[str] = (),
    resource: Iterable[str] = (),
    extra: Mapping[str, str] = EMPTY,
) -> Request:
    """Ask for fresh tokens (RFC 6749 section 6). Raises InvalidInput, InsecureUrl.

    `scopes` are those of the connection; they are named again only where the provider wants that.
    """
    asking = client.provider.asking
    ours: Form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        asking.scope_param: Scopes(scopes).join(asking.scope_separator) if asking.scope_on_refresh else "",
        "resource": tuple(resource),
    }
    where: EndpointName = "refresh" if client.provider.endpoints.refresh else "token"
    return ask(client, where, merged(asking.refresh_params, ours, extra, PROTECTED), stamp=stamp)
