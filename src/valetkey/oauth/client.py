"""Who asks: the client, the stamp of the moment, and the one place where a token request is put together.

What may not be here: grants (each has its file), kinds of client authentication (authentication.py), answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, Protocol, TypeAlias
from urllib.parse import urlencode

import msgspec

from valetkey.errors import InvalidInput
from valetkey.providers.schema import Provider
from valetkey.values import EMPTY, Request, Secret, Unpicklable, secure_url

TIMEOUT: Final = 20.0
"""Seconds for one question. Shorter than the lease of a refresh, longer than the slowest token endpoints answer."""

LIMIT: Final = 1 << 20
"""Most bytes of an answer. Token answers are a few KiB; golang/oauth2 reads up to the same MiB."""

EndpointName: TypeAlias = Literal["token", "authorize", "refresh", "device", "revoke", "introspect"]

WHAT: Final[Mapping[EndpointName, str]] = {
    "token": "token endpoint",
    "authorize": "authorization endpoint",
    "refresh": "refresh endpoint",
    "device": "device authorization endpoint",
    "revoke": "revocation endpoint",
    "introspect": "introspection endpoint",
}

BY_OPTION: Final = frozenset({"token", "authorize", "device", "revoke", "introspect"})
"""Endpoints that `valetkey app add` takes from a person, as --token-url and so on."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Be the moment (aware) and the luck (a fresh random id) that a signed assertion needs."""

    now: datetime
    jti: str


PROTECTED: Final = frozenset(
    {"assertion", "client_assertion", "client_assertion_type", "client_id", "client_secret", "code", "grant_type"}
)
"""What `extra` may never set in a token request: the grant itself, and the proof of the client."""

Value: TypeAlias = str | Secret | tuple[str, ...]

Form: TypeAlias = Mapping[str, Value]
"""Parameters of a request. Several values stand only where an RFC allows them: `resource` (RFC 8707 section 2).

What is secret stays one until the body is written: a traceback with variables shows forms.
"""


@dataclass(frozen=True, slots=True)
class Draft(Unpicklable):
    """Be a request before the client has proven itself: parameters, headers, and how the body is written.

    `client_id`, `audience` (whom an assertion is for, RFC 7523 section 3) and `stamp` are what a proof is made of.
    """

    client_id: str
    audience: str
    stamp: Stamp
    form: Form = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    body: Literal["form", "json"] = "form"

    def adding(self, form: Form = EMPTY, headers: Mapping[str, str] = EMPTY) -> Draft:
        """Return the draft with more parameters and headers."""
        return replace(self, form={**self.form, **form}, headers={**self.headers, **headers})


class ClientAuth(Protocol):
    """Prove the client; the kinds are in authentication.py."""

    def prove(self, draft: Draft) -> Draft:
        """Return the draft with the proof in it."""


@dataclass(frozen=True, slots=True, repr=False)
class Client:
    """Be a registration at a provider, ready to ask. `client_id` is empty where there is none (assertion grants).

    Raises InvalidInput for a client id outside RFC 6749 appendix A.1.
    """

    provider: Provider
    client_id: str
    auth: ClientAuth

    def __post_init__(self) -> None:
        if not all(" " <= c <= "~" for c in self.client_id):
            raise InvalidInput(
                "the client id holds a character that cannot be sent",
                cause="RFC 6749 allows printable ASCII only; a line break or a typographic dash was pasted with it",
                fix="copy the client id from the provider's console again",
            )

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return what its authentication keeps secret, so that no error repeats it."""
        return held(self.auth)

    def __repr__(self) -> str:
        return f"<Client {self.client_id!r} at {self.provider.key}, {self.auth!r}>"


def held(auth: ClientAuth) -> tuple[Secret, ...]:
    """Return the secrets a kind of authentication holds."""
    values = (getattr(auth, name, None) for name in getattr(auth, "__slots__", ()))
    return tuple(value for value in values if isinstance(value, Secret))


def endpoint(provider: Provider, name: EndpointName) -> str:
    """Return one of the provider's URLs, checked; raises InvalidInput or InsecureUrl."""
    url = str(getattr(provider.endpoints, name))
    what = f"{provider.name}'s {WHAT[name]}"
    if not url:
        raise InvalidInput(
            f"{provider.name} has no {WHAT[name]}",
            cause="the provider does not offer this, or its description leaves the URL out",
            fix=f"choose another way to connect; or give its URL: `valetkey app add APP --replace --{name}-url URL`"
            if name in BY_OPTION
            else "choose another way to connect",
        )
    if "{" in url:
        raise InvalidInput(f"{what} still has an open place: {url!r}", fix="give the app the provider's parameters")
    return secure_url(url, what)


def ask(
    client: Client,
    where: EndpointName,
    form: Form,
    *,
    stamp: Stamp,
    auth: ClientAuth | None = None,
) -> Request:
    """Return the POST of `form` to an endpoint, the client proven by its own authentication or by `auth`.

    Parameters without a value are left out (RFC 6749 section 3.2). Raises InvalidInput, InsecureUrl.
    """
    provider = client.provider
    url = endpoint(provider, where)
    headers = {"accept": "application/json", **{name.lower(): text for name, text in provider.asking.headers.items()}}
    draft = Draft(
        client_id=client.client_id,
        audience=provider.endpoints.issuer or provider.endpoints.token,
        stamp=stamp,
        form={name: value for name, value in form.items() if value},
        headers=headers,
        body=provider.asking.body,
    )
    request = _written(auth or client.auth, draft, url, public_only=provider.asking.public_only)
    if request is None:
        raise InvalidInput("a parameter of the request is not Unicode text", fix="type it again in UTF-8")
    return request


def _written(auth: ClientAuth, draft: Draft, url: str, *, public_only: bool) -> Request | None:
    """Return the request with the client's proof; None if a text has no octets, as the error would carry that text."""
    try:
        proven = auth.prove(draft)
        form = {name: revealed(value) for name, value in proven.form.items()}
        body = msgspec.json.encode(form) if proven.body == "json" else urlencode(form, doseq=True).encode()
    except UnicodeEncodeError:
        return None
    return Request(
        "POST",
        url,
        headers={**proven.headers, "content-type": _KINDS[proven.body]},
        body=body,
        timeout=TIMEOUT,
        limit=LIMIT,
        public_only=public_only,
        secrets=(*held(auth), *(value for value in proven.form.values() if isinstance(value, Secret))),
    )


_KINDS: Final = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


def revealed(value: Value) -> str | tuple[str, ...]:
    """Return a parameter as it is sent."""
    return value.reveal() if isinstance(value, Secret) else value


def merged(
    usual: Mapping[str, str], ours: Form, extra: Mapping[str, str], protected: Iterable[str] = ()
) -> dict[str, Value]:
    """Return the provider's usual parameters, replaced by ours where we have a value, then by the caller's `extra`.

    An empty value in `extra` leaves a usual parameter out. Raises InvalidInput where `extra` would replace a
    parameter of ours or a `protected` one.
    """
    set_by_us = {name: value for name, value in ours.items() if value}
    clash = sorted(set(extra) & {*protected, *set_by_us})
    if clash:
        raise InvalidInput(
            f"the extra parameter {clash[0]!r} cannot be set by hand",
            cause="valetkey sets it itself, and with another value the login would not be safe or would not work",
            fix="leave it out",
        )
    return {**usual, **set_by_us, **extra}
