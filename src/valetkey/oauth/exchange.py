"""Token exchange (RFC 8693): one token for another, for oneself or on somebody's behalf.

The answer is read by `read_token`; its `issued_type` says what came.
What may not be here: where the subject's token comes from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from valetkey.oauth.client import Client, Form, Stamp, ask
from valetkey.values import Request, Scopes, Secret

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
REFRESH_TOKEN: Final = "urn:ietf:params:oauth:token-type:refresh_token"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


@dataclass(frozen=True, slots=True)
class TypedToken:
    """Be a token with its type (RFC 8693 section 3)."""

    token: Secret
    type: str = ACCESS_TOKEN


def exchange_request(
    client: Client,
    subject: TypedToken,
    *,
    stamp: Stamp,
    actor: TypedToken | None = None,
    requested_type: str = "",
    audience: str = "",
    resource: Iterable[str] = (),
    scopes: Iterable[str] = (),
) -> Request:
    """Ask for a token for `subject`, with `actor` acting (RFC 8693 section 2.1). Raises InvalidInput, InsecureUrl."""
    asking = client.provider.asking
    form: Form = {
        "grant_type": GRANT,
        "resource": tuple(resource),
        "audience": audience,
        asking.scope_param: Scopes(scopes).join(asking.scope_separator),
        "requested_token_type": requested_type,
        "subject_token": subject.token,
        "subject_token_type": subject.type,
        # "actor_token_type ... REQUIRED when the actor_token parameter is present ... but MUST NOT be included
        # otherwise" (section 2.1).
        "actor_token": actor.token if actor else "",
        "actor_token_type": actor.type if actor else "",
    }
    return ask(client, "token", form, stamp=stamp)
