"""Small readers of what strangers wrote: texts, numbers, scopes, paths. None of them raises.

What may not be here: errors, requests, providers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from valetkey.errors import PROVIDER_TEXT_LIMIT
from valetkey.values import Scopes

Members: TypeAlias = dict[str, Any]
"""The members of an answer's one object, JSON or form; whatever the provider wrote."""

MAX_SECONDS: Final = 20 * 365 * 86_400
"""Twenty years. Longer "lifetimes" are a moment written where a duration belongs, or a slip; they say nothing."""

SCOPE_LIMIT: Final = 1_000
"""Most scopes read from one answer; the largest known grants hold a few hundred."""

NOTHING: Final = (None, "")
"""What a member holds that might as well not be there (RFC 6749 section 3.2)."""

_TOKEN_LIKE: Final = re.compile(r"[A-Za-z0-9_~+/=-]{20,}")
"""Runs this long in a provider's sentence may be the very secret it complains of."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
"""Trace and correlation ids: long, harmless, and what a provider's support asks for."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")


def said(text: object) -> str:
    """Return a stranger's text fit to repeat: one printable line, shortened, what looks like a secret masked."""
    if not isinstance(text, str):
        return ""
    line = "".join(c if c.isprintable() else " " for c in text[: 8 * PROVIDER_TEXT_LIMIT])
    masked = _TOKEN_LIKE.sub(_mask, " ".join(line.split()))
    return masked if len(masked) <= PROVIDER_TEXT_LIMIT else masked[: PROVIDER_TEXT_LIMIT - 1] + "…"


def _mask(run: re.Match[str]) -> str:
    text = run[0]
    words = text.isupper() or text.islower() or len(text) < 24
    words = words and not any(c.isdigit() for c in text)
    return text if words or _UUID.fullmatch(text) else "…"


def word(value: object) -> str:
    """Return a stranger's code if it is one short word that hides no secret, else the empty string."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**9 else ""
    return value if isinstance(value, str) and _WORD.fullmatch(value) and said(value) == value else ""


def find(members: Members, path: str) -> Any:
    """Return what stands at a dotted path, None if nothing does."""
    if path in members:
        return members[path]
    found: Any = members
    for step in path.split("."):
        if not isinstance(found, Mapping):
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
