"""Read curl's arguments as curl does, to know every address it will ask.

Which options take a value is asked of the curl at hand, because every release adds some. An option that cannot be
placed is refused: guessing could take an address for a value, and the token would go there.
What may not be here: tokens.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from valetkey.errors import InvalidInput

SECONDS: Final = 10.0

SAFE_REDIRECTS: Final = (7, 83)
"""Since then curl drops Authorization also when a redirect changes only port or scheme (CVE-2022-27774); since 7.58
when it changes the host (CVE-2018-1000007)."""

REFUSED: Final = {
    "config": "its file could name other addresses",
    "next": "it begins a request of its own; call `valetkey curl` once for each",
    "location-trusted": "it would send the token to whatever host a redirect names",
}
"""Options under which the token could leave the connection's hosts."""

ELSEWHERE: Final = frozenset(
    {
        "abstract-unix-socket",
        "alt-svc",
        "connect-to",
        "dns-interface",
        "dns-ipv4-addr",
        "dns-ipv6-addr",
        "dns-servers",
        "doh-url",
        "interface",
        "noproxy",  # the last one counts, and so could take ours back
        "preproxy",
        "proxy",
        "proxy1.0",
        "resolve",
        "socks4",
        "socks4a",
        "socks5",
        "socks5-hostname",
        "unix-socket",
    }
)
"""Options by which curl asks another place than the address says. Over TLS the certificate still has to be the host's;
without TLS nothing would tell, so that the token of a loopback address could leave the machine."""

TRUSTING: Final = frozenset({"insecure", "doh-insecure", "cacert", "capath"})
"""Options that change whose certificates count; together with one of ELSEWHERE they leave nothing of the binding."""

SHOWING: Final = frozenset({"verbose", "trace", "trace-ascii", "libcurl"})

WRITING: Final = frozenset({"libcurl", "stderr", "trace", "trace-ascii"})
"""Options that write what is sent into a file, which others could read (curl creates it with mode 0644)."""

STREAMS: Final = frozenset({"-", "%"})
"""Standard output and standard error, as curl names them."""

_OPTION: Final = re.compile(r"\s+(?:-(?P<short>\S), )?--(?P<long>[a-z0-9][a-z0-9.-]*)(?P<takes> [<\[])?")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:[/?#].*)?",
    re.IGNORECASE,
)
"""An address that every parser reads alike: no user part, no globs in the host, no backslashes before the path."""


@dataclass(frozen=True, slots=True)
class Curl:
    """Be the curl of this machine: where it is, its version, and which of its options take a value."""

    path: str
    version: tuple[int, int]
    takes: dict[str, bool] = field(repr=False)
    short: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class Reading:
    """Be what curl was asked: its addresses, and what matters for the token."""

    addresses: list[str] = field(default_factory=list)
    options: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)  # names in lower case

    @property
    def shows_headers(self) -> bool:
        """Say whether curl will show what it sends."""
        return bool(self.options & SHOWING)


def curl_here() -> Curl:
    """Find curl and read its help; raises InvalidInput if there is none."""
    path = shutil.which("curl")
    if path is None:
        raise InvalidInput(
            "curl is not installed", fix="install it, or use `valetkey exec` with another client, or the library"
        )
    takes: dict[str, bool] = {}
    short: dict[str, str] = {}
    for line in _said(path, "--help", "all").splitlines():
        option = _OPTION.match(line)
        if option is not None:
            takes[option["long"]] = option["takes"] is not None
            if option["short"]:
                short[option["short"]] = option["long"]
    version = re.match(r"curl (\d+)\.(\d+)", _said(path, "--version"))
    if version is None or not takes.get("url") or takes.get("location") is not False:
        raise InvalidInput(f"{path} does not explain itself as curl does", fix="put the real curl first in PATH")
    return Curl(path, (int(version[1]), int(version[2])), takes, short)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603  # found in PATH
    except (OSError, subprocess.TimeoutExpired) as refusal:
        raise InvalidInput(f"{command[0]} cannot be run: {type(refusal).__name__}", fix="check it by hand") from None
    return done.stdout.decode(errors="replace")


def read_arguments(given: Sequence[str], curl: Curl) -> Reading:
    """Return what curl will do with these arguments; raises InvalidInput for what cannot be judged or is not safe."""
    reading = Reading()
    left = list(given)
    while left:
        word = left.pop(0)
        if word == "--":
            reading.addresses += left
            break
        if word.startswith("--"):
            _long(word[2:], left, reading, curl)
        elif word.startswith("-"):
            _cluster(word[1:], left, reading, curl)
        else:
            reading.addresses.append(word)
    _judge(reading, curl)
    return reading


def _long(name: str, left: list[str], reading: Reading, curl: Curl) -> None:
    if name in curl.takes:
        _option(name, left, reading, curl)
    elif curl.takes.get(name.removeprefix("no-"), True) and curl.takes.get(f"no-{name}", True):
        # Abbreviations too: which option they stand for changes from release to release.
        raise InvalidInput(
            f"this curl lists no option --{name[:40]}", fix="write its name in full, as `curl --help all`"
        )


def _cluster(letters: str, left: list[str], reading: Reading, curl: Curl) -> None:
    """Read `-sSXPOST`: letters until one takes a value, which is the rest or the next word."""
    for place, letter in enumerate(letters):
        name = curl.short.get(letter)
        if name is None:
            raise InvalidInput(f"this curl lists no option -{letter}", fix="see `curl --help all`")
        rest = letters[place + 1 :]
        if curl.takes[name] and rest:
            left.insert(0, rest)
        _option(name, left, reading, curl)
        if curl.takes[name]:
            return
    if not letters:
        raise InvalidInput("a lone - is no address", fix="write the address as https://host/path")


def _option(name: str, left: list[str], reading: Reading, curl: Curl) -> None:
    if name in REFUSED:
        raise InvalidInput(f"curl's --{name} cannot be used here", cause=REFUSED[name], fix="leave it out")
    reading.options.add(name)
    value = left.pop(0) if curl.takes[name] and left else ""
    if name in WRITING and value not in STREAMS:
        raise InvalidInput(
            f"curl's --{name} would write the token into a file",
            cause="curl creates it readable by every user of this machine",
            fix=f"--{name} - writes to standard output; send that where only you can read",
        )
    if name == "url":
        reading.addresses.append(value)
    elif name == "header" and not value.startswith("@"):
        reading.headers.add(value.partition(":")[0].partition(";")[0].strip().lower())


def _judge(reading: Reading, curl: Curl) -> None:
    if not reading.addresses:
        raise InvalidInput("curl was given no address", fix="valetkey curl APP/LABEL -- https://host/path")
    if "authorization" in reading.headers:
        raise InvalidInput("curl was given an Authorization header of its own", fix="leave it out, or call curl itself")
    if "location" in reading.options and curl.version < SAFE_REDIRECTS:
        raise InvalidInput(
            f"curl {curl.version[0]}.{curl.version[1]} could send the token on when it follows a redirect",
            fix="leave out --location, or use curl 7.83 or newer",
        )


def judge_ways(reading: Reading, *, plain: bool, encrypted: bool) -> None:
    """Refuse options by which the token would go elsewhere than to the host of the address; raises InvalidInput.

    `plain` says that an address is asked over plain http, `encrypted` that one is asked over TLS.
    """
    ways, trust = sorted(reading.options & ELSEWHERE), sorted(reading.options & TRUSTING)
    if plain and ways:
        raise InvalidInput(
            f"curl's --{ways[0]} cannot be used with plain http",
            cause="it can lead the request elsewhere, and without TLS nothing would tell",
            fix="leave it out, or ask by https",
        )
    if encrypted and ways and trust:
        raise InvalidInput(
            f"curl's --{ways[0]} and --{trust[0]} cannot be used together",
            cause="the request could go elsewhere, and the certificate would not tell",
            fix="leave one of them out",
        )


def destination(address: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of an address; raises InvalidInput unless everybody reads it alike."""
    parts = _URL.fullmatch(address)
    if parts is None:
        raise InvalidInput(
            f"this is no plain address: {address.partition('?')[0][:120]!r}",
            fix="write it as https://host/path, the host in ASCII and without user name",
        )
    return parts["scheme"].lower(), parts["host"], int(parts["port"]) if parts["port"] else None
