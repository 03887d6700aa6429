"""Small readers of what strangers wrote: texts, numbers, scopes, paths. None of them raises.

What may not be here: errors, requests, providers.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from valetkey.errors import PROVIDER_TEXT_LIMIT
from valetkey.values import Scopes, Secret

MAX_SECONDS: Final = 20 * 365 * 86_400
"""Twenty years. Longer "lifetimes" are a moment written where a duration belongs, or a slip; they say nothing."""

SCOPE_LIMIT: Final = 1_000
"""Most scopes read from one answer; the largest known grants hold a few hundred."""

NOTHING: Final = (None, "")
"""What a member holds that might as well not be there (RFC 6749 section 3.2)."""

_TOKEN_LIKE: Final = re.compile(r"[A-Za-z0-9_~+/=.-]{20,}")
"""Runs this long in a provider's sentence may be the very secret it complains of."""

_NO_WORD: Final = re.compile(r"[A-Za-z]{28,}")
"""No language an error is written in has words this long, and codes of several words part them."""

SHORTEST_SECRET: Final = 4
"""Characters. A shorter secret stands by chance in half of all sentences, and protects nothing."""

CODE_LIMIT: Final = 40
"""Most characters of an error code that we repeat. The longest known have just over thirty."""

WITHHELD: Final = "code_withheld"
"""Stands for an error code that is not repeated: too long, like a secret, or with one of ours in it."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
"""Trace and correlation ids: long, harmless, and what a provider's support asks for."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")


class Members:
    """Be the members of an answer's one object, JSON or form: whatever the provider wrote, tokens among it.

    Error reporters write down the variables of every frame, and look into mappings whatever their `repr` says. So this
    is none: objects within it are Members too, and only their number is shown.
    """

    __slots__ = ("_found",)

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        self._found = dict(pairs)

    def get(self, name: str) -> Any:
        """Return a member, None if it is not there."""
        return self._found.get(name)

    def plain(self) -> dict[str, Any]:
        """Return the members as they were written."""
        return {name: _plain(value) for name, value in self._found.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} members>"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.plain() if isinstance(value, Members) else value


def said(text: object, sent: Iterable[Secret] = ()) -> str:
    """Return a stranger's text fit to repeat: one printable line, shortened, without the secrets that were `sent`.

    What looks like a secret is masked as well.
    """
    if not isinstance(text, str):
        return ""
    line = "".join(c if c.isprintable() else " " for c in _without(text, sent)[: 8 * PROVIDER_TEXT_LIMIT])
    masked = _TOKEN_LIKE.sub(_mask, " ".join(line.split()))
    return masked if len(masked) <= PROVIDER_TEXT_LIMIT else masked[: PROVIDER_TEXT_LIMIT - 1] + "…"


def _without(text: str, sent: Iterable[Secret]) -> str:
    """Mask the secrets themselves, as they are and as a request or a web page writes them."""
    forms = {re.escape(form) for secret in sent for form in _forms(secret.reveal())}
    if not forms:
        return text
    # The longest first, for one may be the beginning of another; %2f and %2F are the same.
    return re.sub("|".join(sorted(forms, key=len, reverse=True)), "…", text, flags=re.IGNORECASE)


def _forms(value: str) -> Iterator[str]:
    if len(value) < SHORTEST_SECRET:
        return
    octets = value.encode("utf-8", "surrogatepass")  # the error that would come otherwise carries the whole string
    yield from (value, html.escape(value), quote_plus(octets), quote(octets, safe=""), quote(octets))


def _mask(run: re.Match[str]) -> str:
    text = run[0]
    words = text.isupper() or text.islower() or len(text) < 24
    words = words and not any(c.isdigit() for c in text) and not _NO_WORD.search(text)
    return text if words or _UUID.fullmatch(text) else "…"


def code(value: object, sent: Iterable[Secret] = (), *, known: Iterable[str] = ()) -> str:
    """Return a stranger's error code, the empty string for what is none, WITHHELD for one that is not repeated.

    Those that are `known` are repeated, as everybody knows them.
    """
    text = _number_text(value)
    if not _WORD.fullmatch(text):
        return ""
    fit = text in known or (len(text) <= CODE_LIMIT and said(text, sent) == text)
    return text if fit else WITHHELD


def _number_text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**9 else ""
    return value if isinstance(value, str) else ""


def word(value: object) -> str:
    """Return a stranger's code if it is one short word that hides no secret, else the empty string."""
    text = _number_text(value)
    return text if _WORD.fullmatch(text) and said(text) == text else ""


def find(members: Members, path: str) -> Any:
    """Return what stands at a dotted path, None if nothing does."""
    if path in members:
        return members.get(path)
    found: Any = members
    for step in path.split("."):
        if not isinstance(found, Members):
            return None
        found = found.get(step)
    return found


def first(members: Members, paths: str) -> Any:
    """Return what stands at the first of several paths, `a|b.c`, that holds anything; an empty text is nothing."""
    return next((found for path in paths.split("|") if (found := find(members, path)) not in NOTHING), None)


def visible(value: object) -> str | None:
    """Return a token that may stand in a header: visible ASCII, no blank, no control character; else None."""
    plain = isinstance(value, str) and bool(value) and all("!" <= c <= "~" for c in value)
    return str(value) if plain else None


def secret(value: object) -> Secret | None:
    """Return a token that may stand in a header as a Secret; None for all else."""
    token = visible(value)
    return None if token is None else Secret(token)


def number(value: object) -> float | None:
    """Return a number that was written as one, or as a plain decimal string; None for all else, infinities too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if not isinstance(value, int | float) or abs(value) > 10**18 or math.isnan(value):
        return None
    return float(value)


def scopes(value: object, separator: str) -> Scopes | None:
    """Return the scopes of a string or a list of strings; None if it is neither. Unprintable ones are left out."""
    if isinstance(value, str):
        value = Scopes.parse(value, separator)
    if not isinstance(value, list | tuple):
        return None
    return Scopes(scope for scope in value[:SCOPE_LIMIT] if visible(scope))
