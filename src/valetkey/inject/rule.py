"""Where a token may go, and how it is written on a request: the rule all injectors share.

Pure: a credential and a destination go in, yes or no and header lines come out.
What may not be here: HTTP clients, logs, clocks. A destination is judged by the host the client will connect to, in the
client's own parsing; there is no second parser here that could read a URL otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Container, ItemsView, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final, NamedTuple

from valetkey.errors import InvalidInput
from valetkey.values import is_loopback
from valetkey.vault.views import Credential

ENCRYPTED: Final = frozenset({"https", "wss"})
BY_PROXY: Final = " by proxy"
"""Follows a scheme that is spoken to a proxy in clear: loopback over http is trusted because it stays here."""

DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"https": 443, "wss": 443, "http": 80, "ws": 80})
"""The schemes a token may travel by (a WebSocket begins as an HTTP request), and their ports (RFC 9110 section 4.2)."""

ANY_PORT: Final = -1

REMEMBERED_PATTERNS: Final = 1024
REMEMBERED_ANSWERS: Final = 4096
"""Patterns and answers kept, so that the usual request costs one look-up; a program has far fewer destinations."""

LONGEST_NAME: Final = 253
"""Characters of a host name (RFC 1035 section 2.3.4: 255 octets on the wire)."""

_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_TCHARS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Target(NamedTuple):
    """Be where a request goes, as the client that sends it has parsed it; port None is the scheme's own."""

    scheme: str
    host: str
    port: int | None

    @property
    def shown(self) -> str:
        """Return host and port for a log line: printable, without path, query and user part."""
        host = canonical(self.host) or ascii(self.host)[:100]
        bracketed = f"[{host}]" if ":" in host else host
        usual = self.port is None or self.port == DEFAULT_PORTS.get(self.scheme)
        return bracketed if usual else f"{bracketed}:{self.port}"

    @property
    def in_clear(self) -> bool:
        """Say whether a token would go there unencrypted, and beyond this machine."""
        host = canonical(self.host)
        return self.scheme.lower() not in ENCRYPTED and not (host is not None and is_loopback(host))

    @property
    def pattern(self) -> str:
        """Return the line of a credential's hosts that allows this place and no other; empty where none does."""
        scheme, host = self.scheme.lower(), canonical(self.host)
        if host is None or scheme not in DEFAULT_PORTS or self.in_clear:
            return ""
        port = DEFAULT_PORTS[scheme] if self.port is None else self.port
        bracketed = f"[{host}]" if ":" in host else host
        return bracketed if port == DEFAULT_PORTS["https"] and not is_loopback(host) else f"{bracketed}:{port}"

    def over_tls(self) -> Target:
        """Return the same place, asked by https."""
        return Target("https", self.host, None if self.port == DEFAULT_PORTS.get(self.scheme) else self.port)


class Pattern(NamedTuple):
    """Be one line of a credential's hosts, read."""

    host: str
    port: int
    subdomains: bool


def allowed(hosts: tuple[str, ...], target: Target) -> bool:
    """Say whether a token bound to `hosts` may go to `target`.

    Always over TLS, loopback excepted. `api.example.com` is its default port only, `api.example.com:8443` that port
    only, `*.example.com` every subdomain of any depth and not example.com itself. Loopback patterns name their port
    (`127.0.0.1:9000`), or every port with `127.0.0.1:*`. A pattern that cannot be read allows nothing.
    """
    return _allowed(hosts, target.scheme.lower(), target.host, target.port)


@lru_cache(maxsize=REMEMBERED_ANSWERS)
def _allowed(hosts: tuple[str, ...], scheme: str, asked: str, port: int | None) -> bool:
    host = canonical(asked)
    if host is None or scheme not in DEFAULT_PORTS or (scheme not in ENCRYPTED and not is_loopback(host)):
        return False
    reached = DEFAULT_PORTS[scheme] if port is None else port
    patterns = (read_pattern(text) for text in hosts)
    return any(_covers(pattern, host, reached) for pattern in patterns if pattern is not None)


def _covers(pattern: Pattern, host: str, port: int) -> bool:
    if pattern.port not in {ANY_PORT, port}:
        return False
    return host.endswith(f".{pattern.host}") if pattern.subdomains else host == pattern.host


@lru_cache(maxsize=REMEMBERED_PATTERNS)
def read_pattern(text: str) -> Pattern | None:
    """Return a line of a credential's hosts as a Pattern, None if it is not one."""
    subdomains = text.startswith("*.")
    name, port_text = _split_port(text.removeprefix("*."))
    host, port = canonical(name), _port(port_text)
    if host is None or port is None:
        return None
    if subdomains and (host.count(".") < 1 or _is_address(host)):
        return None  # *.com would be half the world, and addresses have no subdomains
    if is_loopback(host):
        # Every program of this machine has a port here; a pattern without one would be none of them or all.
        return Pattern(host, port, subdomains=False) if port_text else None
    return Pattern(host, port, subdomains) if port != ANY_PORT else None


def _split_port(text: str) -> tuple[str, str | None]:
    """Return host and port text; None where there is no colon for a port."""
    if text.startswith("["):
        host, _bracket, rest = text.partition("]")
        if rest and not rest.startswith(":"):
            return "", None
        return f"{host}]", rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None  # an IPv6 address without brackets, so without a port
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str | None) -> int | None:
    if text is None:
        return DEFAULT_PORTS["https"]
    if text == "*":
        return ANY_PORT
    number = int(text) if _PORT.fullmatch(text) else 0
    return number if 0 < number <= 0xFFFF else None


def canonical(host: str) -> str | None:
    """Return the one spelling of a host: lower case, A-labels, IPv6 compressed and bare; None if it is no host."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            return None
    if ":" in host:
        try:
            return IPv6Address(host).compressed
        except ValueError:
            return None
    written = (host if host.isascii() else _to_ascii(host)).lower()
    name = written.removesuffix(".")
    if name != written and (is_loopback(name) or _is_address(name)):
        return None  # "localhost." and "127.0.0.1." are names that resolvers ask DNS for, so they may lead anywhere
    return name if len(name) <= LONGEST_NAME and _NAME.fullmatch(name) else None


def _to_ascii(host: str) -> str:
    """Return a name in A-labels as httpx, requests and aiohttp write it (IDNA 2008), or an empty text.

    They have the package `idna` with them. The standard library's IDNA 2003 reads some names (straße.example) as those
    of another owner, so without the package a name that is not ASCII is bound to nothing.
    """
    try:
        import idna  # only those who bind such a name need it
    except ImportError:
        return ""
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return ""


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


class HeaderLines:
    """Be header lines, a token among them; shown by their names only.

    Error reporters write down the variables of every frame, and look into mappings whatever their `repr` says. So this
    is none, and no frame here holds a token by itself while something can fail.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: Mapping[str, str]) -> None:
        self._lines = MappingProxyType(dict(lines))

    def items(self) -> ItemsView[str, str]:
        """Return names and values."""
        return self._lines.items()

    def without(self, own: Container[str]) -> HeaderLines:
        """Return the lines whose names are not in `own`."""
        return HeaderLines({name: value for name, value in self._lines.items() if name not in own})

    def __getitem__(self, name: str) -> str:
        return self._lines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"<HeaderLines {', '.join(self._lines)}>"


def headers(credential: Credential) -> HeaderLines:
    """Return the header lines a request carries: Authorization, and the provider's own.

    Raises InvalidInput for a line that would be more than one.
    """
    scheme = credential.scheme
    if not credential.token.secret or (scheme and not _TCHARS.fullmatch(scheme)):
        raise InvalidInput(
            "the token or its scheme word cannot be written into an Authorization header",
            cause="the provider gave an empty token, or `api.scheme` of its description is more than one word",
            fix="compare `valetkey provider show NAME` with the provider's documentation",
        )
    word = f"{scheme} " if scheme else ""
    lines = HeaderLines({**credential.headers, "Authorization": f"{word}{credential.token.reveal()}"})
    wrong = next((name for name, value in lines.items() if not _is_line(name, value)), None)
    if wrong is not None:
        raise InvalidInput(
            f"the header {ascii(wrong)[:60]} cannot be written",
            cause="its value holds a line break or another character that no header may have",
            fix="compare `valetkey provider show NAME` with the provider's documentation",
        )
    return lines


def _is_line(name: str, value: str) -> bool:
    return value.isascii() and value.isprintable() and _TCHARS.fullmatch(name) is not None


def missing(lines: HeaderLines, own: Container[str]) -> HeaderLines:
    """Return the lines whose names the caller has not set; `own` says, whatever the case, which those are."""
    return lines.without(own)
