"""A signed assertion as the grant (RFC 7523 section 2.1): how servers log in without a person and without a secret.

Google service accounts put `scope` into the assertion; Salesforce takes none, and at most three minutes.
What may not be here: keys' formats (jose/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from valetkey.errors import InvalidInput
from valetkey.oauth.authentication import Anonymous, NoAuth
from valetkey.oauth.client import PROTECTED, Client, Form, Stamp, ask, merged
from valetkey.values import EMPTY, Request, Scopes, Secret

if TYPE_CHECKING:
    from valetkey.jose.key import Key

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

LIFETIME: Final = timedelta(minutes=3)
"""The shortest limit known (Salesforce); the assertion is used at once."""

LONGEST: Final = timedelta(hours=1)
"""The longest any provider takes (Google); a slip in the unit should not make a key to the house."""


def assertion(
    key: Key,
    *,
    issuer: str,
    subject: str,
    audience: str,
    stamp: Stamp,
    scopes: Iterable[str] = (),
    lifetime: timedelta = LIFETIME,
    claims: Mapping[str, Any] = EMPTY,
) -> Secret:
    """Return a signed assertion (RFC 7523 section 3). Raises InvalidInput for an empty claim or a long lifetime."""
    from valetkey.jose.signing import sign  # late: only this grant signs, and keys are slow to load

    for name, value in {"issuer": issuer, "subject": subject, "audience": audience}.items():
        if not value:
            raise InvalidInput(
                f"an assertion needs its {name}",
                fix="issuer: the client id or service account; subject: for whom it acts; audience: the provider",
            )
    if not timedelta() < lifetime <= LONGEST:
        raise InvalidInput("an assertion lives more than nothing and at most an hour", fix="leave the lifetime out")
    signed = sign(
        key,
        now=stamp.now.timestamp(),
        jti=stamp.jti,
        issuer=issuer,
        subject=subject,
        audience=audience,
        lifetime=lifetime,
        scope=Scopes(scopes) or None,
        claims=claims,
        thumbprint=False,  # the provider knows the key by the name it gave it, or by none
    )
    return Secret(signed)


def jwt_bearer_request(
    client: Client,
    signed: Secret,
    *,
    stamp: Stamp,
    scopes: Iterable[str] = (),
    resource: Iterable[str] = (),
    extra: Mapping[str, str] = EMPTY,
) -> Request:
    """Ask for a token for an assertion (RFC 7523 section 2.1). Raises InvalidInput, InsecureUrl.

    `scopes` are named beside the assertion; leave them out where they stand in it.
    """
    asking = client.provider.asking
    ours: Form = {
        "grant_type": GRANT,
        "assertion": signed,
        asking.scope_param: Scopes(scopes).join(asking.scope_separator),
        "resource": tuple(resource),
    }
    # "Authentication of the client is optional ... and, consequently, the "client_id" is only needed when a form of
    # client authentication that relies on the parameter is used" (RFC 7521 section 4.1).
    auth = Anonymous() if isinstance(client.auth, NoAuth) else client.auth
    return ask(client, "token", merged(EMPTY, ours, extra, PROTECTED), stamp=stamp, auth=auth)
