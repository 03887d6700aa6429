"""Turn a provider's "no" into the right error, by one table.

What may not be here: reading bodies (body.py), judging a good answer (reading.py and its neighbours).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import valetkey.errors
from valetkey.errors import (
    AuthorizationPending,
    BadAnswer,
    ClientRefused,
    ConsentDenied,
    Fact,
    GrantRefused,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
)
from valetkey.oauth.plain import WITHHELD, Members, code, first, said
from valetkey.providers.schema import Provider
from valetkey.values import Response, Secret

RETRY_LIMIT: Final = 86_400.0
"""A day, in seconds: a provider that asks for more is asked again tomorrow all the same."""

BY_STATUS: Final = frozenset({(401, "unauthorized_client")})
"""Answers that mean invalid_client: RFC 6749 section 5.2 has 401 for a client not authenticated and 400 for all
else, and Keycloak says unauthorized_client with 401 of a wrong secret."""

WEATHER: Final = frozenset({408, 425, 429})
"""Statuses below 500 that pass by themselves: time-out, too early, too many requests (RFC 9110, 8470, 6585)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Be one line of the table: which error a code becomes, and words of its own where the class has none."""

    error: type[ProviderError]
    cause: str = ""
    fix: str = ""


_AGAIN: Final = "connect again: the connection keeps its name, so no workflow changes"
_PERSON: Final = Refusal(GrantRefused, "the provider wants the person to log in, or to consent, once more", _AGAIN)
_BUSY: Final = Refusal(ProviderUnavailable)
_OTHER: Final = Refusal(
    RequestRefused,
    "the provider refused the request under a code of its own",
    "look the code up in the provider's documentation; `valetkey provider show NAME` tells what is sent where",
)

TABLE: Final[Mapping[str, Refusal]] = {
    # RFC 6749 section 5.2
    "invalid_grant": Refusal(GrantRefused),
    "invalid_client": Refusal(ClientRefused),
    "unauthorized_client": Refusal(  # the registration is to be changed: no new consent mends it
        RequestRefused,
        "this app may not use this kind of grant, or not any more",
        "allow the grant type for the app in the provider's console, then connect again",
    ),
    "invalid_scope": Refusal(
        RequestRefused,
        "a scope is misspelt, not enabled for this app, or more than was consented to",
        "compare the scopes of the app with those enabled in the provider's console",
    ),
    "invalid_request": Refusal(
        RequestRefused,
        "the provider misses a parameter, or does not take one that was sent",
        "compare what `valetkey provider show NAME` says is sent with the provider's documentation",
    ),
    "unsupported_grant_type": Refusal(
        RequestRefused,
        "this provider, or this app at it, does not offer this kind of grant",
        "choose another way to connect, or enable the grant type in the provider's console",
    ),
    # RFC 6749 section 4.1.2.1
    "access_denied": Refusal(ConsentDenied),
    "unsupported_response_type": Refusal(
        RequestRefused,
        "the app is not allowed to use the authorization code flow",
        "enable the authorization code flow for the app in the provider's console",
    ),
    "server_error": _BUSY,
    "temporarily_unavailable": _BUSY,
    # not in an RFC, but said by Google, Salesforce and others
    "redirect_uri_mismatch": Refusal(
        RequestRefused,
        "the redirect URI that was sent is not registered for this app",
        "register exactly the redirect URI `valetkey app show NAME` prints: scheme, port, path and final slash count",
    ),
    # RFC 8628 section 3.5
    "authorization_pending": Refusal(AuthorizationPending, "the person has not finished yet", "ask again later"),
    "slow_down": Refusal(AuthorizationPending, "we ask too often", "wait five seconds longer between questions"),
    "expired_token": Refusal(
        GrantRefused, "the code was not typed in time", "start again with `valetkey connect --device`"
    ),
    # RFC 8693 section 2.2.2, RFC 8707 section 2
    "invalid_target": Refusal(
        RequestRefused,
        "the provider does not know the resource or audience, or gives this app no tokens for it",
        "check the resource and audience parameters against the provider's documentation",
    ),
    # RFC 7009 section 2.2.1
    "unsupported_token_type": Refusal(
        RequestRefused, "the provider cannot revoke tokens of this kind", "end the access in the provider's console"
    ),
    # OpenID Connect Core section 3.1.2.6; Microsoft Entra says them at the token endpoint too
    "login_required": _PERSON,
    "consent_required": _PERSON,
    "interaction_required": _PERSON,
}


OURS: Final = frozenset(vars(kind).get("code") for kind in vars(valetkey.errors).values() if isinstance(kind, type)) - {
    *TABLE,
    "insufficient_scope",
}
"""Codes that say something else where they come from us; a provider has `not_found` for an address of its own."""


def refused(provider: Provider, response: Response, members: Members, sent: Iterable[Secret] = ()) -> ProviderError:
    """Return the error for an answer that says no (RFC 6749 section 5.2); it repeats none of the secrets `sent`."""
    sent = tuple(sent)
    answer = provider.answer
    theirs = first(members, answer.error)
    meant = _meant(theirs, answer.errors, sent)
    inferred = meant not in TABLE and response.status == 401
    if inferred or (response.status, meant) in BY_STATUS:
        meant = "invalid_client"
    if not meant:
        return bad_answer(provider.name, response, "no_error_code", "neither a token nor an error code is in it")
    row = TABLE.get(meant, _OTHER)
    description = said(first(members, answer.error_description), sent)
    message = _message(provider.name, meant, description)
    meant = RequestRefused.code if meant in OURS else meant
    if row is _BUSY:
        told = _evidence("", theirs, description, sent)
        return ProviderUnavailable(
            message, sent=True, retry_after=retry_after(response), status=response.status, **told
        )
    facts: dict[str, Fact] = {**_evidence(meant, theirs, description, sent), **({"inferred": True} if inferred else {})}
    return row.error(message, code=meant, cause=row.cause, fix=row.fix, status=response.status, **facts)


def redirect_error(provider: Provider, members: Members, sent: Iterable[Secret] = ()) -> ProviderError:
    """Return the error for a redirect that says no (RFC 6749 section 4.1.2.1): ConsentDenied or RequestRefused."""
    sent = tuple(sent)
    theirs = members.get("error")
    meant = _meant(theirs, provider.answer.errors, sent)
    row = TABLE.get(meant, _OTHER)
    error = ConsentDenied if row.error is ConsentDenied else RequestRefused
    text = said(members.get("error_description"), sent)
    message = _message(provider.name, meant, text)
    meant = RequestRefused.code if meant in OURS else meant
    return error(
        message,
        code=meant,
        cause=row.cause or row.error.cause,
        fix=row.fix or row.error.fix,
        **_evidence(meant, theirs, text, sent),
    )


def turned_away(provider: Provider, response: Response) -> ProviderError | None:
    """Return the error that a status alone decides (weather, a redirect, a body cut at the limit), or None."""
    status = response.status
    if status >= 500 or status in WEATHER:
        wait = retry_after(response)
        after = f"; it asks to wait {wait:.0f} s" if wait else ""
        message = f"{provider.name} cannot answer now (HTTP {status}){after}"
        return ProviderUnavailable(message, status=status, sent=True, retry_after=wait)
    if status // 100 == 3:
        return bad_answer(
            provider.name, response, "redirected", "it sends us to another address, which is not followed"
        )
    if response.cut:
        return bad_answer(provider.name, response, "too_large", "it is larger than any token answer")
    return None


def bad_answer(name: str, response: Response, reason: str, why: str) -> BadAnswer:
    """Return the error for an answer that cannot be read; `reason` is the stable word for `why`."""
    kind = said(response.header("content-type").partition(";")[0])[:80]
    message = f"{name}'s answer (HTTP {response.status}) cannot be read: {why}"
    return BadAnswer(message, reason=reason, status=response.status, content_type=kind, size=len(response.body))


def retry_after(response: Response) -> float:
    """Return the seconds of a Retry-After header in either form, 0 if there is none (RFC 9110 section 10.2.3).

    A date is measured against the answer's own Date header, so that no clock of ours is needed, nor trusted.
    """
    text = response.header("retry-after").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:18]), RETRY_LIMIT)
    until, now = _http_date(text), _http_date(response.header("date").strip())
    if until is None or now is None:
        return 0.0
    return min(max((until - now).total_seconds(), 0.0), RETRY_LIMIT)


def _meant(theirs: object, errors: Mapping[str, str], sent: Iterable[Secret]) -> str:
    """Return RFC 6749's code for the provider's; the catalogue may translate a whole sentence as well as a code."""
    return (errors.get(theirs, "") if isinstance(theirs, str) else "") or code(theirs, sent, known=TABLE)


def _evidence(meant: str, theirs: object, description: str, sent: Iterable[Secret]) -> dict[str, str]:
    own = code(theirs, sent, known=TABLE)
    facts = {"description": description, "provider_code": own if own not in {meant, WITHHELD} else ""}
    return {name: text for name, text in facts.items() if text}


def _message(name: str, meant: str, description: str) -> str:
    said_as = "no, under a code that is not repeated here" if meant == WITHHELD else meant or "no"
    return f"{name} says {said_as}" + (f": {description}" if description else "")


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IMF_DATE: Final = re.compile(
    rf"[A-Z][a-z]{{2}}, ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) ([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}}) GMT"
)
"""IMF-fixdate, the one form RFC 9110 section 5.6.7 lets a sender write. strptime would obey the locale."""


def _http_date(text: str) -> datetime | None:
    parts = _IMF_DATE.fullmatch(text)
    if not parts:
        return None
    day, month, year, hour, minute, second = parts.groups()
    try:
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
