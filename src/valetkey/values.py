"""The nouns all rooms use: Request, Response, Secret, Scopes, Entry, Token.

All are immutable. None shows a secret: `repr` and `str` of a Secret, a Request or a Token are safe in a log.
What may not be here: clocks, randomness, I/O, imports of other rooms (errors excepted).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, NoReturn, Self
from urllib.parse import urlsplit

from valetkey.errors import InsecureUrl, InvalidInput

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Where plain http is accepted (RFC 8252 section 8.3). A literal list: what a name resolves to is not asked."""

LONGEST_PATH: Final = 200
"""Most characters of a file's name that are shown. Tokens and keys are longer."""

JWT_DOTS: Final = 2
"""Dots of a signed token (RFC 7515 section 7.1); an encrypted one has more."""

_FINGERPRINT: Final = hashlib.sha256(b"valetkey fingerprint\0")


class Unpicklable:
    """Refuse to be pickled: the bytes would hold a secret in the clear."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        message = f"a {type(self).__name__} is not pickled: the bytes would hold secrets in the clear"
        raise TypeError(message)


class Secret(Unpicklable):
    """Hold a string that is never shown: only `reveal()` gives it.

    `repr`, `str` and `format` give a placeholder, pickling is refused, comparison takes constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string itself; the name is meant to stand out in review."""
        return self._value

    def fingerprint(self) -> str:
        """Return the first 12 hex digits of the SHA-256, to tell secrets apart in logs without showing them.

        Only for secrets with the entropy of a token: a short password could be guessed from it.
        """
        one = _FINGERPRINT.copy()  # for every token handed out: to begin a hash takes longer than to end it
        one.update(self._bytes())
        return one.hexdigest()[:12]

    def _bytes(self) -> bytes:
        # surrogatepass: the error that would come otherwise carries the whole string.
        return self._value.encode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(("valetkey.Secret", self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __copy__(self) -> Self:
        return self  # immutable, as is what holds it: dataclasses.asdict copies deeply

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Scopes(tuple[str, ...]):
    """Hold scopes in the order given, each once (RFC 6749 section 3.3)."""

    __slots__ = ()

    def __new__(cls, scopes: Iterable[str] = ()) -> Self:  # noqa: D102  # the class says it
        if isinstance(scopes, str):
            scopes = scopes.split()
        return super().__new__(cls, dict.fromkeys(filter(None, scopes)))

    @classmethod
    def parse(cls, text: str, separator: str = " ") -> Scopes:
        """Read a provider's scope string; blanks and commas both separate, whatever the provider says it uses."""
        if separator.strip():
            text = text.replace(separator, " ")
        return cls(text.replace(",", " ").split())

    def join(self, separator: str = " ") -> str:
        """Write the scopes the way the provider wants them."""
        return separator.join(self)

    def missing(self, wanted: Iterable[str]) -> Scopes:
        """Return those of `wanted` that are not here."""
        return Scopes(scope for scope in Scopes(wanted) if scope not in self)

    def __repr__(self) -> str:
        return f"Scopes({self.join()!r})"


@dataclass(frozen=True, slots=True)
class Request(Unpicklable):
    """Be an HTTP request that somebody else sends. Header names are lower case.

    `timeout` is seconds for the whole exchange; `limit` is the most bytes read of the answer's body.
    `public_only` refuses hosts that resolve to loopback, private or link-local addresses. Redirects are never followed.
    `secrets` are those that stand in it, for whoever reads the answer: what repeats one of them is not shown.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float = 30.0
    limit: int = 1 << 20
    public_only: bool = False
    secrets: tuple[Secret, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self) -> str:
        # Query and user part may hold secrets; neither is shown. A repr must not fail, and stays on its line.
        try:
            parts = urlsplit(self.url)
            shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        except ValueError:
            shown = "(not a URL)"
        return "".join(c if c.isprintable() else "?" for c in f"<Request {self.method} {shown}>")


@dataclass(frozen=True, slots=True)
class Response(Unpicklable):
    """Be an HTTP answer, its body already read (and cut at the request's limit: then `cut` is true)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    body: bytes = field(default=b"", repr=False)
    cut: bool = False

    def header(self, name: str) -> str:
        """Return a header's value, or the empty string; names are lower case."""
        return self.headers.get(name, "")

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


@dataclass(frozen=True, slots=True)
class Entry:
    """Be one row of the store. `box` is sealed; name, state and due_at are in the clear.

    `version` is set by the store and never goes back; `due_at` is when the record wants attention (aware, UTC).
    """

    state: str
    box: bytes = field(repr=False)
    due_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """Be an access token that may be handed out. `reveal()` is the string; nothing else shows it.

    `expires_at` is None when the provider does not say; `kind` is RFC 6749's token_type.
    """

    secret: Secret
    kind: str = "Bearer"
    expires_at: datetime | None = None
    scopes: Scopes = field(default_factory=Scopes)

    def reveal(self) -> str:
        """Return the access token as a string."""
        return self.secret.reveal()

    def fingerprint(self) -> str:
        """Return a short fingerprint for logs."""
        return self.secret.fingerprint()

    def lives_until(self, moment: datetime) -> bool:
        """Say whether the token is still good at `moment`; at the instant of expiry it is not."""
        return self.expires_at is None or moment < self.expires_at


def is_loopback(host: str) -> bool:
    """Say whether a host name is one of the literal loopback names."""
    return host.lower().strip("[]") in LOOPBACK_HOSTS


def secure_url(url: str, what: str) -> str:
    """Return `url` if it is https, or http on loopback, with no user part and no fragment.

    Raises InvalidInput or InsecureUrl; `what` names it in the message ("token endpoint").
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput(f"the {what} is not a URL", fix="write it as https://host/path") from None
    if parts.scheme not in {"https", "http"} or not host or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidInput(f"the {what} is not a URL: {_shown(url)}", fix="write it as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(f"the {what} holds a user name or password", fix="leave out what stands before the @")
    if "#" in url:  # an empty fragment is one too
        raise InvalidInput(f"the {what} has a fragment (#…)", fix="leave out the # and what follows it")
    if parts.scheme == "http" and not is_loopback(host):
        raise InsecureUrl(f"the {what} is plain http: {_shown(url)}")
    return url


def _shown(url: str) -> str:
    """Return a URL without query and fragment, shortened, on one line; nothing of it if it may hold a password."""
    if "@" in url:
        return "(not shown, for it holds an @)"
    return repr(url.split("?", 1)[0].split("#", 1)[0][:120])


def lowered(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return headers with lower-case names; repeated ones are joined by a comma (RFC 9110 section 5.2)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return MappingProxyType(joined)


def chunks(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of `size`, for codes that people type."""
    return (text[i : i + size] for i in range(0, len(text), size))


def shown_path(path: str) -> str:
    """Return a file's name as an error may show it: "what was given" where it is more likely a secret than a name."""
    parts = path.replace("/", ".").split(".")  # a path may have been put in front of it
    token = len(parts) > JWT_DOTS and any(part.startswith("eyJ") for part in parts)
    secret = token or path.startswith("{") or any(mark in path for mark in ('{"', "-----BEGIN", "valetkey-key-"))
    return "what was given" if secret or len(path) > LONGEST_PATH or not path.isprintable() else path
