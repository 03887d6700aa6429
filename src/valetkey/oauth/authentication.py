"""How a client proves itself to the token endpoint: one value for each kind (RFC 6749 section 2.3, RFC 7523).

The kind is chosen once, by `client_auth`; nobody else asks which one it is.
What may not be here: requests of a grant, keys' formats (jose/).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

import msgspec

from valetkey.errors import InvalidInput, KeyRefused
from valetkey.oauth.client import ClientAuth, Draft
from valetkey.providers.schema import TokenAuth
from valetkey.values import Secret

if TYPE_CHECKING:
    from valetkey.jose.key import Key

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

ASSERTION_LIFETIME: Final = timedelta(minutes=1)
"""The assertion is used at once; a minute bears with clocks that differ a little and leaves a thief no time."""


class Anonymous(msgspec.Struct, frozen=True):
    """Say nothing of the client: what is sent is proof enough (an assertion, a token to be revoked)."""

    def prove(self, draft: Draft) -> Draft:
        """Return the draft as it is."""
        return draft


class NoAuth(msgspec.Struct, frozen=True):
    """Be a public client: it names itself and proves nothing (RFC 6749 section 3.2.1)."""

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the client id, if there is one."""
        return draft.adding({"client_id": draft.client_id} if draft.client_id else {})


class Basic(msgspec.Struct, frozen=True):
    """Send id and secret in the Authorization header (RFC 6749 section 2.3.1)."""

    secret: Secret

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the header.

        "The client identifier is encoded using the "application/x-www-form-urlencoded" encoding algorithm ... and
        the encoded value is used as the username; the client password is encoded using the same algorithm".
        """
        pair = Secret(f"{quote_plus(draft.client_id)}:{quote_plus(self.secret.reveal())}")
        encoded = Secret(b64encode(pair.reveal().encode("ascii")).decode("ascii"))
        return draft.adding(headers={"authorization": f"Basic {encoded.reveal()}"})


class Post(msgspec.Struct, frozen=True):
    """Send id and secret among the parameters (RFC 6749 section 2.3.1)."""

    secret: Secret

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the two parameters."""
        return draft.adding({"client_id": draft.client_id, "client_secret": self.secret})


class JsonBody(msgspec.Struct, frozen=True):
    """Send id and secret among the parameters, and all of them as one JSON object (no RFC; Auth0 and others)."""

    secret: Secret

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the two parameters, to be written as JSON."""
        posted = Post(self.secret).prove(draft)
        return replace(posted, body="json")


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """Send an assertion signed by the client's key; the key tells the algorithm (RFC 7523 section 2.2)."""

    key: Key = field(repr=False)

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the assertion: issuer and subject are the client, good for a minute, once."""
        from valetkey.jose.signing import sign  # late: most clients sign nothing, and keys are slow to load

        signed = Secret(
            sign(
                self.key,
                now=draft.stamp.now.timestamp(),
                jti=draft.stamp.jti,
                issuer=draft.client_id,
                subject=draft.client_id,
                audience=draft.audience,
                lifetime=ASSERTION_LIFETIME,
                thumbprint=False,  # the provider knows the key by the name it gave it, or by none
            )
        )
        # client_id is optional beside the assertion (RFC 7521 section 4.2); Microsoft Entra wants it.
        return draft.adding(
            {"client_id": draft.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
        )


@dataclass(frozen=True, slots=True)
class SecretJwt:
    """Send an assertion keyed by the client secret (client_secret_jwt, OpenID Connect Core section 9).

    Raises InvalidInput for a secret shorter than the algorithm's hash.
    """

    secret: Secret
    alg: str = "HS256"
    _signer: PrivateKeyJwt = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from valetkey.jose.key import Key  # late: as above

        try:
            key = Key.secret(self.secret.reveal().encode(), alg=self.alg)
        except KeyRefused as refusal:
            why = refusal.message
        else:
            object.__setattr__(self, "_signer", PrivateKeyJwt(key))
            return
        # Out here, so that no traceback leads into the frames that held the secret's bytes.
        raise InvalidInput(
            f"the client secret is no key for {self.alg}",
            cause=f"{why}; RFC 7518 section 3.2 wants one as long as the hash (HS256: 32 bytes)",
            fix="let the provider make a longer secret, or choose client_secret_basic, client_secret_post "
            "or private_key_jwt",
        )

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the assertion."""
        return self._signer.prove(draft)


def client_auth(method: TokenAuth, secret: Secret | None, key: Key | None) -> ClientAuth:
    """Return the value for a method; raises InvalidInput when what it needs is not there, or is not enough."""
    maker = _MAKERS.get(method)
    if maker is None:
        raise InvalidInput(
            f"{method!r} is no way for a client to prove itself that valetkey knows",
            fix=f"one of: {', '.join(_MAKERS)}",
        )
    return maker(secret, key)


def _by_secret(
    method: TokenAuth, make: Callable[[Secret], ClientAuth]
) -> Callable[[Secret | None, object], ClientAuth]:
    def made(secret: Secret | None, _key: object) -> ClientAuth:
        if not secret:
            raise InvalidInput(
                f"{method} needs a client secret, and the app has none",
                cause="the provider's description says how its clients prove themselves",
                fix="give the app its secret, or token_auth = none if the provider registered it as a public client",
            )
        return make(secret)

    return made


def _by_key(_secret: Secret | None, key: Key | None) -> ClientAuth:
    if key is None:
        raise InvalidInput(
            "private_key_jwt needs a private key, and the app has none",
            cause="the provider's description, or the app, says that assertions are signed by a key",
            fix="give the app the private key whose public half the provider knows",
        )
    return PrivateKeyJwt(key)


_MAKERS: Final[Mapping[str, Callable[[Secret | None, Key | None], ClientAuth]]] = {
    "none": lambda _secret, _key: NoAuth(),
    "client_secret_basic": _by_secret("client_secret_basic", Basic),
    "client_secret_post": _by_secret("client_secret_post", Post),
    "client_secret_json": _by_secret("client_secret_json", JsonBody),
    "client_secret_jwt": _by_secret("client_secret_jwt", SecretJwt),
    "private_key_jwt": _by_key,
}
