"""Read a token answer (RFC 6749 section 5.1), as strict with the token as it is patient with all the rest.

A token that was issued is never lost to an oddity beside it: a nonsensical `expires_in` or `scope` is reported in
`oddities`, and the caller saves the token before judging anything.
What may not be here: clocks. Lifetimes are seconds from the answer; the caller knows when it asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from valetkey.oauth.body import good_members
from valetkey.oauth.client import Client
from valetkey.oauth.plain import MAX_SECONDS, NOTHING, Members, find, first, number, scopes, secret, word
from valetkey.oauth.refusal import bad_answer
from valetkey.providers.schema import Provider
from valetkey.values import Response, Scopes, Secret

KEPT_LIMIT: Final = 4_096
"""Most characters of a kept member; the longest known, an identity URL of Salesforce, has about a hundred."""

_UNITS: Final = {"s": 1.0, "ms": 1000.0}


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """Be what a token endpoint gave. Lifetimes are seconds from the answer, None when it does not say.

    `scopes` is None when the answer does not name them (then they are those asked for, RFC 6749 section 5.1);
    `missing` are those asked for and not granted. `issued_type` is RFC 8693's issued_token_type. `kept` are the
    members the catalogue calls worth keeping, by their paths. `parts` are other tokens of the same answer.
    `oddities` names members that could not be read.
    """

    access_token: Secret
    refresh_token: Secret | None = None
    kind: str = "Bearer"
    expires_in: float | None = None
    refresh_expires_in: float | None = None
    scopes: Scopes | None = None
    missing: Scopes = field(default_factory=Scopes)
    id_token: Secret | None = None
    issued_type: str = ""
    kept: dict[str, str] = field(default_factory=dict, repr=False)
    parts: dict[str, TokenAnswer] = field(default_factory=dict)
    oddities: tuple[str, ...] = ()


def read_token(
    client: Client, response: Response, *, asked: Iterable[str] = (), sent: Iterable[Secret] = ()
) -> TokenAnswer:
    """Return what the token endpoint gave; `asked` are the scopes that were asked for.

    `sent` are the request's secrets (`Request.secrets`): where the provider repeats one, no error does.

    Raises GrantRefused, ConsentDenied, ClientRefused, RequestRefused, AuthorizationPending, ProviderUnavailable,
    BadAnswer. RFC 6749 sections 5.1 and 5.2, RFC 8628 section 3.5, RFC 8693 section 2.2.
    """
    provider = client.provider
    answer = provider.answer
    members = good_members(provider, response, proof=answer.access_token, sent=(*client.secrets, *sent))
    reader = _Reader(members, answer.access_token)
    access = _access_token(provider, response, members)
    granted = reader.scopes(answer.scope, answer.scope_separator or provider.asking.scope_separator)
    # Offline scopes ask for a refresh token and often are not echoed (Microsoft Entra).
    lacking = () if granted is None else granted.missing(asked)
    return TokenAnswer(
        access_token=access,
        refresh_token=reader.secret(answer.refresh_token),
        kind=_kind(reader.at(answer.token_type)),
        expires_in=_lifetime(provider, reader),
        refresh_expires_in=reader.seconds(answer.refresh_expires_in) or None,
        scopes=granted,
        missing=Scopes(scope for scope in lacking if scope not in provider.offline_scopes),
        id_token=reader.secret("id_token"),
        issued_type=word(members.get("issued_token_type")),
        kept={path: text for path in answer.keep if (text := reader.text(path))},
        parts=_parts(provider, members, access),
        oddities=tuple(reader.oddities),
    )


def _parts(provider: Provider, members: Members, main: Secret) -> dict[str, TokenAnswer]:
    """Return the other tokens of an answer, each an object with members of RFC 6749's names."""
    found: dict[str, TokenAnswer] = {}
    for name, path in provider.answer.parts.items():
        inner = find(members, path)
        token = secret(inner.get("access_token")) if isinstance(inner, Members) else None
        if token is None or token == main:  # compared: by Secret itself, in constant time
            continue
        reader = _Reader(inner, "access_token")
        found[name] = TokenAnswer(
            access_token=token,
            refresh_token=reader.secret("refresh_token"),
            kind=_kind(reader.at("token_type")),
            expires_in=reader.seconds("expires_in") or None,
            scopes=reader.scopes("scope", provider.answer.scope_separator or provider.asking.scope_separator),
            oddities=tuple(reader.oddities),
        )
    return found


class _Reader:
    """Read the members beside the token; what cannot be read is noted in `oddities` and taken as not said.

    Where two tokens may come in one answer (Slack's bot and user), paths have as many alternatives as the access
    token's, and are read at the alternative it stood at: a refresh token must not be paired with the other one.
    """

    def __init__(self, members: Members, access_paths: str) -> None:
        alternatives = access_paths.split("|")
        self._members = members
        self._count = len(alternatives)
        self._place = next((i for i, path in enumerate(alternatives) if find(members, path) not in NOTHING), 0)
        self.oddities: list[str] = []

    def at(self, paths: str) -> Any:
        """Return what stands at a path or the right one of its alternatives, None if nothing does."""
        alternatives = paths.split("|")
        return first(self._members, alternatives[self._place] if len(alternatives) == self._count else paths)

    def _odd(self, paths: str) -> None:
        self.oddities.append(paths)

    def text(self, paths: str) -> str:
        """Return a printable text, also for a number or truth value; the empty string for all else."""
        value = self.at(paths)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, str | int | float) and text.isprintable() and len(text) <= KEPT_LIMIT:
            return text
        if value is not None:
            self._odd(paths)
        return ""

    def secret(self, paths: str) -> Secret | None:
        """Return a token that goes into bodies only, so a blank in it is nobody's harm."""
        value = self.at(paths)
        if isinstance(value, str) and value.isprintable():
            return Secret(value)
        if value is not None:
            self._odd(paths)
        return None

    def seconds(self, paths: str, unit: float = 1.0) -> float | None:
        """Return a duration in seconds; None if it is not said, or is no duration."""
        value = self.at(paths)
        read = number(value)
        if read is not None and 0 <= read / unit <= MAX_SECONDS:
            return read / unit
        if value is not None:
            self._odd(paths)
        return None

    def scopes(self, paths: str, separator: str) -> Scopes | None:
        """Return the scopes, none at all for an empty text (GitHub), None if the answer does not name them."""
        value = find(self._members, paths) if "|" not in paths else self.at(paths)
        if value is None:
            return None
        read = scopes(value, separator)
        if read is None:
            self._odd(paths)
        return read


def _access_token(provider: Provider, response: Response, members: Members) -> Secret:
    path = provider.answer.access_token
    if first(members, path) is None:
        raise bad_answer(provider.name, response, "no_token", f"there is no {path} in it")
    token = secret(first(members, path))
    if token is None:
        # Sent on in a header, a line break in it would be a header of the attacker's making.
        raise bad_answer(provider.name, response, "bad_token", "its access token is not one run of visible ASCII")
    return token


def _kind(value: object) -> str:
    """Return the token type; "Value is case insensitive" (RFC 6749 section 5.1), and Bearer where it is not said."""
    kind = word(value)
    return kind if kind and kind.lower() != "bearer" else "Bearer"


def _lifetime(provider: Provider, reader: _Reader) -> float | None:
    answer = provider.answer
    seconds = reader.seconds(answer.expires_in, _UNITS[answer.expires_unit])
    if seconds == 0:
        return 0.0 if answer.zero_means == "expired" else None
    return seconds if seconds is not None else float(answer.default_expires_in) or None
