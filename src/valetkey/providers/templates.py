"""Fill the {braces} of a provider with the parameters an app gives, without letting a value leave its place.

A value that stands in a URL or host may hold letters, digits and `.` `_` `~` `-` and nothing else, whatever the
pattern of its parameter allows: no value can add a path, a query, a port or a user part, or end a host name.
What may not be here: reading files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from valetkey.errors import InvalidInput
from valetkey.providers.schema import Parameter, Provider

TEMPLATE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
IN_URL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]*[A-Za-z0-9])?")
ANYWHERE: Final = re.compile(r"[\x21-\x7e]+")
VALUE_LIMIT: Final = 253
"""Longest value of a parameter: the longest host name (RFC 1035 section 2.3.4)."""

PATTERN_LIMIT: Final = 200
REPEATS_MOST: Final = 3
"""Most repeats of a variable number in one pattern.

Python's matcher tries every way to share a value out among them: three are a matter of milliseconds for the longest
value, while one repeat inside another would take years.
"""

_PIECE: Final = re.compile(
    r"(?:\\[dwsDWS]|\\[^A-Za-z0-9\s]|\[\^?(?:\\.|[^\\\[\]])+\]|[^\\\[\](){}*+?|^$\s])"
    r"(?P<repeat>[*+?]|\{[0-9]{1,3}(?P<open>,[0-9]{0,3})?\})?|\|"
)
"""One character, escaped character or class, with a repeat or none; or the bar between alternatives."""

FILLED: Final[tuple[str, ...]] = (
    "endpoints",
    "asking",
    "answer",
    "api",
    "scopes",
    "client_credentials_scopes",
    "offline_scopes",
)
NEUTRAL: Final = "x"
"""Stands for every value where a template itself is judged."""


def names_in(text: str) -> list[str]:
    """Return the names of the {braces} in a text."""
    return TEMPLATE.findall(text)


def neutral(text: str) -> str:
    """Return a template with a harmless word in every place."""
    return TEMPLATE.sub(NEUTRAL, text)


def texts(provider: Provider) -> Iterator[tuple[str, str]]:
    """Return every text that may hold {braces}, with its dotted path."""
    for name in FILLED:
        yield from _texts(name, msgspec.to_builtins(getattr(provider, name)))


def urls(provider: Provider) -> Iterator[tuple[str, str]]:
    """Return every URL that is not empty, with its dotted path."""
    for name, url in msgspec.structs.asdict(provider.endpoints).items():
        yield f"endpoints.{name}", url
    yield "asking.jwt_bearer_audience", provider.asking.jwt_bearer_audience
    yield "api.whoami", provider.api.whoami


def values_for(provider: Provider, given: Mapping[str, str]) -> dict[str, str]:
    """Return the value of every parameter: what is given, else its default.

    Raises InvalidInput for parameters that are unknown, missing, or do not fit.
    """
    known = provider.parameters
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidInput(
            f"{provider.key} has no parameter {unknown[0]!r}",
            fix=f"it takes: {', '.join(known)}" if known else "leave it out: this provider takes none",
            parameter=unknown[0],
        )
    values = {name: given.get(name, "") or parameter.default for name, parameter in known.items()}
    missing = [name for name, value in values.items() if not value]
    if missing:
        told = "; ".join(f"{name}: {known[name].about}" for name in missing)
        raise InvalidInput(f"{provider.key} needs {' and '.join(missing)}", fix=f"give {told}", parameter=missing[0])
    placed = {name for _path, text in _places(provider) for name in names_in(text)}
    for name, value in values.items():
        check_value(provider.key, name, known[name], value, in_url=name in placed)
    return values


def pattern_fault(pattern: str) -> str:
    """Return what is wrong with the pattern of a parameter, the empty string if it is one that is quick to match."""
    if len(pattern) > PATTERN_LIMIT:
        return f"is longer than {PATTERN_LIMIT} characters"
    place = variable = 0
    while place < len(pattern):
        piece = _PIECE.match(pattern, place)
        if piece is None:
            return "may hold characters, [classes], a repeat (* + ? {2,5}) after each, and | between alternatives"
        variable += bool(piece["repeat"] and (piece["open"] or piece["repeat"][0] != "{"))
        place = piece.end()
    if variable > REPEATS_MOST:
        return f"repeats more than {REPEATS_MOST} things an open number of times"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is not a regular expression: {error}"
    return ""


def check_value(key: str, name: str, parameter: Parameter, value: str, *, in_url: bool) -> None:
    """Refuse a value that does not fit its pattern as a whole, or could leave its place; raises InvalidInput."""
    fits = len(value) <= VALUE_LIMIT and bool(ANYWHERE.fullmatch(value) and re.fullmatch(parameter.pattern, value))
    if in_url:
        fits = fits and bool(IN_URL.fullmatch(value)) and ".." not in value
    if not fits:
        raise InvalidInput(
            f"the parameter {name!r} of {key} cannot be {value[:60]!r}",
            cause=f"a value must match {parameter.pattern} as a whole"
            + (", and stays within its place in the URL" if in_url else ""),
            fix=f"give {name}: {parameter.about}",
            parameter=name,
        )


def substituted(provider: Provider, values: Mapping[str, str]) -> Provider:
    """Return the provider with all values in place, and no parameters left to give."""

    def fill(text: str) -> str:
        return TEMPLATE.sub(lambda found: values[found[1]], text)

    tree: dict[str, Any] = msgspec.to_builtins(provider)
    filled = {name: _mapped(tree[name], fill) for name in FILLED if name in tree}
    done: dict[str, Any] = {**tree, **filled, "parameters": {}}
    return msgspec.convert(done, Provider)


def _places(provider: Provider) -> Iterator[tuple[str, str]]:
    yield from urls(provider)
    yield from (("api.hosts", host) for host in provider.api.hosts)


def _texts(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _texts(f"{path}.{name}", member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(path, member)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(member, change) for name, member in value.items()}
    if isinstance(value, list):
        return [_mapped(member, change) for member in value]
    return value
