"""What a provider must hold to beyond the shape of its schema.

Every check names the wrong member by its dotted path. What may not be here: reading files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from valetkey.errors import InvalidInput, UsageError
from valetkey.providers.facts import leaves
from valetkey.providers.schema import Parameter, Provider
from valetkey.providers.templates import FILLED, check_value, names_in, neutral, pattern_fault, texts, urls
from valetkey.values import secure_url

KEY: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
LABELS: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
HOST: Final = re.compile(LABELS)
HOST_PATTERN: Final = re.compile(rf"(?P<any>\*\.)?(?P<host>{LABELS}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
MESSAGE_LIMIT: Final = 400
"""Longest message: a path and a sentence. Longer ones repeat a file that is none."""

DATE: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")


def checked(provider: Provider, where: str = "") -> Provider:
    """Return the provider if it holds to all checks; raises InvalidInput with `member` in its evidence.

    `where` says that it is as a file holds it: then its sources are judged too. Filled or changed members may be
    ones that the sources never spoke of.
    """
    for check in (*CHECKS, _sources) if where else CHECKS:
        for member, fault in check(provider):
            raise wrong(where or provider.key, member, fault)
    return provider


def wrong(where: str, member: str, fault: str, fix: str = "") -> InvalidInput:
    """Return the error for one wrong member, in one line whatever the file holds."""
    fix = fix or "correct this member; docs/providers.md lists them all"
    message = " ".join(f"{where}: {member or 'file'}: {fault}".split())
    return InvalidInput(message[:MESSAGE_LIMIT], fix=fix, where=where, member=member[:MESSAGE_LIMIT])


def host_allowed(pattern: str, host: str) -> bool:
    """Say whether a host name falls under a pattern of `api.hosts`, ports aside."""
    parts = HOST_PATTERN.fullmatch(pattern)
    if parts is None:
        return False
    wanted, host = parts["host"].lower(), host.lower()
    return host.endswith(f".{wanted}") if parts["any"] else host == wanted.strip("[]")


Faults = Iterator[tuple[str, str]]


def _names(provider: Provider) -> Faults:
    if not KEY.fullmatch(provider.key):
        yield "key", "use lower-case letters, digits and hyphens, at most 40, with a letter first"
    if not provider.name.strip():
        yield "name", "must not be empty"


def _urls(provider: Provider) -> Faults:
    for path, url in urls(provider):
        if not url:
            continue
        try:
            secure_url(neutral(url), path)
        except UsageError as error:
            yield path, error.message
            continue
        host = urlsplit(neutral(url)).hostname or ""
        if not HOST.fullmatch(host) and ":" not in host:
            yield path, f"{host!r} is not a host name"


def _hosts(provider: Provider) -> Faults:
    for pattern in provider.api.hosts:
        parts = HOST_PATTERN.fullmatch(neutral(pattern))
        if parts is None:
            yield "api.hosts", f"{pattern!r} is not a host, *.host or host:port"
        elif parts["any"] and "." not in parts["host"]:
            yield "api.hosts", f"{pattern!r} covers hosts of strangers"
        elif parts["port"] and not 0 < int(parts["port"]) < 65536:
            yield "api.hosts", f"{pattern!r} has no possible port"
    whoami = urlsplit(neutral(provider.api.whoami)).hostname
    if whoami and not any(host_allowed(neutral(pattern), whoami) for pattern in provider.api.hosts):
        yield "api.whoami", "its host is not among api.hosts, so no token may be sent there"
    for member in provider.api.hosts_from:
        if member not in provider.answer.keep:
            yield "api.hosts_from", f"{member!r} is not kept from the answer (answer.keep)"


def _templates(provider: Provider) -> Faults:
    used = set()
    for path, text in texts(provider):
        names = names_in(text)
        used.update(names)
        strange = set(names) - set(provider.parameters)
        if strange:
            yield path, f"{{{min(strange)}}} is not a parameter of this provider"
        elif re.search(r"[{}]", neutral(text)):
            yield path, "a brace is left open; a template is {name} in lower-case letters"
    for name in provider.parameters:
        if name not in used:
            yield f"parameters.{name}", "no member uses it"


def _parameters(provider: Provider) -> Faults:
    placed = {name for _path, url in urls(provider) for name in names_in(url)}
    placed.update(name for host in provider.api.hosts for name in names_in(host))
    for name, parameter in provider.parameters.items():
        fault = pattern_fault(parameter.pattern)
        if fault:
            yield f"parameters.{name}.pattern", fault
        elif parameter.default:
            yield from _default(provider.key, name, parameter, in_url=name in placed)


def _default(key: str, name: str, parameter: Parameter, *, in_url: bool) -> Faults:
    try:
        check_value(key, name, parameter, parameter.default, in_url=in_url)
    except InvalidInput as error:
        yield f"parameters.{name}.default", error.message


def _refresh(provider: Provider) -> Faults:
    refresh = provider.refresh
    for name in ("grace_seconds", "idle_days", "absolute_days", "margin_seconds"):
        if getattr(refresh, name) < 0:
            yield f"refresh.{name}", "must not be negative"
    if (refresh.old_token == "grace") != (refresh.grace_seconds > 0):
        yield "refresh.grace_seconds", 'a grace needs both: old_token = "grace" and its seconds'
    if not refresh.available and provider.offline_scopes:
        yield "offline_scopes", "the provider is said to give no refresh tokens at all"
    if provider.answer.default_expires_in < 0:
        yield "answer.default_expires_in", "must not be negative"


def _sources(provider: Provider) -> Faults:
    known = {".".join(names[:end]) for names in _paths(provider) for end in range(1, len(names) + 1)}
    for place, source in enumerate(provider.sources):
        if not DATE.fullmatch(source.date):
            yield f"sources.{place}.date", f"{source.date!r} is not an ISO date"
        if not source.where.strip():
            yield f"sources.{place}.where", "must not be empty"
        for fact in source.facts:
            if fact not in known:
                yield f"sources.{place}.facts", f"{fact!r} is no member of this provider"


def _paths(provider: Provider) -> Iterator[list[str]]:
    return (path.split(".") for path in leaves(provider, defaults=True))


CHECKS: Final[tuple[Callable[[Provider], Faults], ...]] = (
    _names, _urls, _hosts, _templates, _parameters, _refresh
)  # fmt: skip
CHANGEABLE: Final = frozenset({*FILLED, "name", "grants", "refresh"})
"""Members an app may set for itself. The rest is what the catalogue says of the provider, or says by whom."""
