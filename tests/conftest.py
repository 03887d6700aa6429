"""What all tests share: no network, a home of their own, and canaries.

The network is refused everywhere (pytest-socket, see `addopts`); tests marked `network` or `peer` may speak to
loopback, and nothing may look up a name. Event loops work everywhere: they need only a pair of unix sockets.
What may not be here: fixtures that only one room needs; they stand in that room's own conftest.py.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

pytest_plugins = ("logkit", "managerkit", "postgreskit")
"""Loud logs; secret managers; a real PostgreSQL, for the store's contract and for the peers."""

LOOPBACK = ["127.0.0.1", "::1", "localhost"]

HOMES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")

CHANGES_BEHAVIOUR = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "no_color", "force_color", "browser"}


MEMORY = "/dev/shm"
"""Where Linux has files in memory."""

ROOM_NEEDED = 4 << 30
"""Bytes; a run writes a few hundred megabytes."""


def _in_memory() -> bool:
    """Say whether what tests write has room in memory, in a place from which programs can be started."""
    with suppress(OSError):
        usable = os.access(MEMORY, os.W_OK | os.X_OK) and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        return usable and shutil.disk_usage(MEMORY).free >= ROOM_NEEDED
    return False


if "TMPDIR" not in os.environ and _in_memory():
    # Every commit of a vault waits for the disk. Nothing here cuts the power, so no test sees the difference;
    # TMPDIR=/var/tmp takes the disk.
    os.environ["TMPDIR"], tempfile.tempdir = MEMORY, None

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start what is to run in the background deaf to Ctrl-C, and programs inherit that: tests send it to some.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Take one worker more than there are cores: many tests wait, for a child, a server or a clock."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the marked tests speak to loopback; pytest-socket refuses everything to all others."""
    for item in items:
        if item.get_closest_marker("network") or item.get_closest_marker("peer"):
            item.add_marker(pytest.mark.allow_hosts(LOOPBACK))


@pytest.fixture(autouse=True)
def _no_names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to look up any name but loopback, so that no test waits for, or depends on, a resolver."""
    if not request.node.get_closest_marker("allow_hosts"):
        return  # pytest-socket refuses every lookup already
    real = socket.getaddrinfo

    def loopback_only(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", *LOOPBACK) and not _is_address(name):
            raise socket.gaierror(socket.EAI_NONAME, f"tests look up no names, and {name!r} is one")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", loopback_only)


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name.split("%", 1)[0])
        except OSError:
            continue
        return True
    return False


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Number the homes ourselves: pytest reads the whole folder for each number, half a minute in thousands of tests."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty home directory of its own, so that none sees or touches the user's vault."""
    path = next(_homes)
    path.mkdir(mode=0o700)
    for name in list(os.environ):
        if name.startswith(("VALETKEY", "VAULT_", "AWS_")) or name.lower() in CHANGES_BEHAVIOUR:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # there is no machine of AWS to ask for a role
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(path))
    for name in HOMES:
        place = path / name.removeprefix("XDG_").removesuffix("_HOME").lower()
        place.mkdir(mode=0o700)
        monkeypatch.setenv(name, str(place))
    return path


class Canary:
    """Make secrets that can be searched for, and say where they turn up.

    secret = canary.make("client_secret")
    ...
    canary.assert_absent(caplog.text, repr(error), vault_file, directory)
    """

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def make(self, name: str = "secret") -> str:
        """Return a new random secret; `name` is what a failure calls it."""
        value = f"canary-{secrets.token_urlsafe(24)}"
        self.secrets[value] = name
        return value

    def watch(self, name: str, value: str) -> str:
        """Search also for a secret that somebody else made, such as a token a provider gave."""
        assert len(value) >= 16, "a short value would be found by chance"
        self.secrets[value] = name
        return value

    def found_in(self, place: str | bytes | Path) -> list[str]:
        """Return the names of the secrets in a text, in bytes, in a file, or in any file under a directory.

        Each is searched for as it is, percent-encoded, in hex, and inside base64 at every alignment.
        """
        return sorted(
            {name for value, name in self.secrets.items() for data in _contents(place) if _holds(data, value)}
        )

    def assert_absent(self, *places: str | bytes | Path) -> None:
        """Fail if any secret made so far is in any of the places."""
        assert self.secrets, "no canary was made, so this would prove nothing"
        for place in places:
            found = self.found_in(place)
            assert not found, (
                f"{', '.join(found)} stands in {place if isinstance(place, Path) else type(place).__name__}"
            )


def _contents(place: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(place, str):
        yield place.encode("utf-8", "surrogatepass")
    elif isinstance(place, bytes):
        yield place
    elif place.is_dir():
        yield from (file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file())
    else:
        yield place.read_bytes()


def _holds(data: bytes, value: str) -> bool:
    raw = value.encode()
    forms = {
        raw,
        quote(value, safe="").encode(),
        quote_plus(value).encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The first and last characters depend on the neighbours; what stands between does not.
            forms.add(encode(b"\0" * shift + raw)[4:-4])
    return any(form in data for form in forms)


@pytest.fixture
def canary() -> Canary:
    """Return a maker of secrets that finds them again where they should not be."""
    return Canary()
