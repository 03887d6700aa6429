"""Token revocation (RFC 7009): tell the provider that a token is not needed any more.

What may not be here: what becomes of the connection (vault/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from valetkey.errors import GrantRefused, InvalidInput, RequestRefused
from valetkey.oauth.authentication import Anonymous
from valetkey.oauth.body import good_members
from valetkey.oauth.client import Client, ClientAuth, Draft, Stamp, ask
from valetkey.oauth.plain import visible
from valetkey.providers.schema import Provider
from valetkey.values import EMPTY, Request, Response, Secret

TokenHint: TypeAlias = Literal["access_token", "refresh_token"]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Send the token to be revoked as the credential of the request (Slack), and not in the body."""

    token: Secret

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the token in its header; raises InvalidInput if it cannot stand in one."""
        if visible(self.token.reveal()) is None:
            raise InvalidInput("the token holds a character that cannot stand in a header", fix="revoke it by hand")
        return replace(draft, form=EMPTY, headers={**draft.headers, "authorization": f"Bearer {self.token.reveal()}"})


GONE: Final = frozenset({"invalid_token", "invalid_grant"})
"""What servers say of a token that was revoked or has expired before."""

_PROOFS: Final[Mapping[str, Callable[[Client, Secret], ClientAuth]]] = {
    "client": lambda client, _token: client.auth,
    "none": lambda _client, _token: Anonymous(),
    "bearer": lambda _client, token: Bearer(token),
}


def revokes(provider: Provider, kind: TokenHint) -> bool:
    """Say whether the provider takes tokens of this kind at a revocation endpoint."""
    return bool(provider.endpoints.revoke) and provider.asking.revokes in {"either", kind.removesuffix("_token")}


def revocation_request(client: Client, token: Secret, *, stamp: Stamp, hint: TokenHint | None = None) -> Request:
    """Ask the provider to forget a token (RFC 7009 section 2.1). Raises InvalidInput, InsecureUrl."""
    provider = client.provider
    form = {provider.asking.revoke_param: token, "token_type_hint": hint or ""}
    proof = _PROOFS[provider.asking.revoke_auth](client, token)
    return ask(client, "revoke", form, stamp=stamp, auth=proof)


def read_revocation(client: Client, response: Response, *, sent: Iterable[Secret] = ()) -> None:
    """Return if the token is gone; raises the ProviderError that says why it is not.

    "Invalid tokens do not cause an error response" (RFC 7009 section 2.2), but some servers send one all the same
    (Google, for a token revoked before): that token is gone too. No error repeats one of the secrets that were `sent`.
    """
    if response.status in {200, 204} and not _is_json(response):
        return
    try:
        good_members(client.provider, response, sent=(*client.secrets, *sent))
    except (GrantRefused, RequestRefused) as refusal:
        if refusal.code not in GONE:
            raise


def _is_json(response: Response) -> bool:
    """Say whether there is something to read: "the content of the response body is ignored" but for errors in 200."""
    return response.body.lstrip()[:1] == b"{"
