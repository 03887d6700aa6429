"""The sandbox as a catalogue entry: what `valetkey.providers` would say of a provider with this manner.

What may not be here: anything a provider's documentation would not tell.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from valetkey.providers.schema import Answer, Api, Asking, Endpoints, Provider, Refresh
from valetkey.testing.manner import Manner

DAY: Final = 86_400


def describe(url: str, manner: Manner) -> Provider:
    """Return the description of a sandbox that listens at `url`."""
    return Provider(
        key="sandbox",
        name="valetkey sandbox",
        endpoints=Endpoints(
            token=f"{url}/token",
            authorize=f"{url}/authorize",
            issuer=url,
            device=f"{url}/device_authorization",
            revoke=f"{url}/revoke",
            introspect=f"{url}/introspect",
        ),
        grants=["authorization_code", "client_credentials", "device_code", "jwt_bearer", "token_exchange"],
        asking=Asking(
            token_auth=manner.token_auth[0],
            body="json" if manner.token_auth[0] == "client_secret_json" else "form",
            sends_iss=True,
            authorize_params={"access_type": "offline"} if manner.refresh_given == "access_type" else {},
        ),
        answer=_answer(manner),
        refresh=_refresh(manner),
        api=Api(hosts=[urlsplit(url).netloc], whoami=f"{url}/api/whoami"),
        scopes=["profile", "read"],
        offline_scopes=["offline_access"] if manner.refresh_given == "offline_access" else [],
        docs=url,
        console=url,
        notes=["A server on your own machine, for trying things out; every name and password is let in."],
    )


def _answer(manner: Manner) -> Answer:
    under = f"{manner.nested}." if manner.nested else ""
    return Answer(
        access_token=f"{under}access_token",
        refresh_token=f"{under}refresh_token",
        expires_in=f"{under}expires_in",
        expires_unit="ms" if manner.expires_in == "milliseconds" else "s",
        scope=f"{under}scope",
        token_type=f"{under}token_type",
        refresh_expires_in=f"{under}refresh_token_expires_in",
        ok="ok" if manner.errors == "ok_false" else "",
        keep=[name for name, _value in (*manner.answer_params, *manner.callback_params)],
    )


def _refresh(manner: Manner) -> Refresh:
    # A token that is never replaced cannot be used too late, so nothing is said of the old one.
    harmless = not manner.rotates or manner.old_token == "stays"
    return Refresh(
        rotates="always" if manner.rotates else "never",
        old_token=manner.old_token if manner.rotates else "stays",
        grace_seconds=int(manner.grace),
        reuse="harmless" if harmless else manner.reuse,
        absolute_days=int(manner.refresh_lifetime // DAY),
        available=manner.refresh_given != "never",
    )
