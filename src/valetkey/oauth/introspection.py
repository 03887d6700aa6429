"""Token introspection (RFC 7662): ask the provider what it knows of a token.

What may not be here: what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from valetkey.oauth.body import good_members
from valetkey.oauth.client import Client, Stamp, ask
from valetkey.oauth.plain import number, scopes, word
from valetkey.oauth.refusal import bad_answer
from valetkey.oauth.revocation import TokenHint
from valetkey.values import Request, Response, Scopes, Secret


@dataclass(frozen=True, slots=True)
class Introspection:
    """Be what the provider says of a token. `expires_at` is seconds since 1970, None when it does not say.

    `members` is the whole answer, as the provider wrote it: not for logs.
    """

    active: bool
    scopes: Scopes | None = None
    expires_at: float | None = None
    client_id: str = ""
    subject: str = field(default="", repr=False)
    kind: str = ""
    members: dict[str, Any] = field(default_factory=dict, repr=False)


def introspection_request(client: Client, token: Secret, *, stamp: Stamp, hint: TokenHint | None = None) -> Request:
    """Ask about a token (RFC 7662 section 2.1). Raises InvalidInput, InsecureUrl."""
    return ask(client, "introspect", {"token": token, "token_type_hint": hint or ""}, stamp=stamp)


def read_introspection(client: Client, response: Response, *, sent: Iterable[Secret] = ()) -> Introspection:
    """Return what the provider says (RFC 7662 section 2.2); only a plain `true` is active.

    No error repeats one of the secrets that were `sent`.

    Raises ClientRefused, RequestRefused, ProviderUnavailable, BadAnswer.
    """
    provider = client.provider
    members = good_members(provider, response, proof="active", sent=(*client.secrets, *sent))
    if not isinstance(members.get("active"), bool):
        raise bad_answer(provider.name, response, "no_active", "there is no truth value `active` in it")
    if not members.get("active"):
        return Introspection(active=False)
    return Introspection(
        active=True,
        scopes=scopes(members.get("scope"), " "),
        expires_at=number(members.get("exp")),
        client_id=_name(members.get("client_id")),
        subject=_name(members.get("sub")),
        kind=word(members.get("token_type")),
        members=members.plain(),
    )


def _name(value: object) -> str:
    """Return an identifier as it was written, or the empty string for what is none."""
    return value if isinstance(value, str) and value.isprintable() else ""
