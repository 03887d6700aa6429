"""The short way to a token: it gives what the long way would give at that moment, or nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valetkey.transport.sync import Transport
from valetkey.values import Secret
from valetkey.vault import quick
from valetkey.vault.judge import Demand, Serve, judge
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.opening import open_world
from valetkey.vault.quick import quick_token
from valetkey.vault.records import Intent, Lease, TokenSet, Trouble
from vaultkit import START, a_connection

T0 = START.timestamp()
HOUR = 3600.0
RECORD = "connection/acme/alice"


class Vault:
    """A vault with one connection, and a clock for the short way."""

    def __init__(self, folder, monkeypatch):
        self.path, self.key = folder / "vault.db", folder / "vault.key"
        self.desk, self.world = open_world(self.path, transport=Transport)
        self.moment = T0
        monkeypatch.setattr(quick.time, "time", lambda: self.moment)

    def put(self, connection):
        entry = self.world.store.load(RECORD)
        sealed = self.desk.seal_connection(connection, T0)
        assert self.world.store.swap(RECORD, entry.version if entry else 0, sealed)

    def quick(self, name="acme/alice"):
        return quick_token(name, str(self.path), str(self.key))


@pytest.fixture
def vault(tmp_path, monkeypatch):
    made = Vault(tmp_path, monkeypatch)
    yield made
    made.world.store.close()


ROWS = [
    # what the connection is, when (seconds after it was obtained), whether a token is given
    ("fresh", {}, 0, True),
    ("a millisecond before the margin", {}, HOUR - 300 - 0.001, True),
    ("at the margin", {}, HOUR - 300, False),
    ("at its expiry", {}, HOUR, False),
    ("long expired", {}, 10 * HOUR, False),
    ("no expiry told", {"expires_in": None}, 10 * 365 * 24 * HOUR, True),
    ("disconnected", {"revoked_at": T0}, 0, False),
    ("nobody consented", {"tokens": None}, 0, False),
    ("another renews ahead of time", {"lease": Lease("a", T0 + 40)}, 0, True),
    ("its own margin", {"margin": 30.0, "expires_in": 600.0}, 569.9, True),
    ("at its own margin", {"margin": 30.0, "expires_in": 600.0}, 570, False),
]


@pytest.mark.parametrize(("what", "facts", "seconds", "given_out"), ROWS, ids=[row[0] for row in ROWS])
def test_a_token_is_given_while_it_is_fresh(vault, what, facts, seconds, given_out):
    facts = dict(facts)
    made = {name: facts.pop(name) for name in ("expires_in",) if name in facts}
    vault.put(a_connection(**made, **facts))
    vault.moment = T0 + seconds
    assert vault.quick() == ("access-1" if given_out else None)


times = st.floats(T0 - 2 * HOUR, T0 + 2 * HOUR)
CONNECTIONS = st.builds(
    a_connection,
    tokens=st.none()
    | st.builds(
        TokenSet,
        access=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60).map(Secret),
        obtained_at=times,
        expires_at=st.none() | times,
        refresh=st.none() | st.just(Secret("refresh-1")),
    ),
    grant=st.sampled_from(["authorization_code", "client_credentials"]),
    lease=st.none() | st.builds(Lease, st.just("another"), times),
    intent=st.none() | st.just(Intent(attempt="a", fingerprint="f", started_at=T0)),
    trouble=st.none()
    | st.builds(
        Trouble,
        sort=st.sampled_from(["grant", "client", "weather"]),
        code=st.just("c"),
        message=st.just("m"),
        at=times,
        retry_at=times,
    ),
    revoked_at=st.sampled_from([0.0, T0]),
    margin=st.sampled_from([0.0, 1.0, 30.0, 1e6]),
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(connection=CONNECTIONS, moment=times)
def test_what_the_short_way_gives_the_long_way_would_give_too(vault, connection, moment):
    vault.put(connection)
    vault.moment = moment
    got = vault.quick()
    verdict = judge(connection, moment, Demand())
    if got is not None:
        assert isinstance(verdict, Serve)
        assert verdict.token.reveal() == got
    else:
        # And nothing that stays fresh is missed: then the short way would be of no use.
        assert not isinstance(verdict, Serve) or verdict.fresh_until <= moment


def test_an_unknown_connection_gives_nothing(vault):
    vault.put(a_connection())
    for name in ("acme/bob", "", "acme", "../keyring", "acme/alice' OR '1'='1", "acme/alic%", "acme/\0"):
        assert vault.quick(name) is None


def test_no_vault_gives_nothing_and_makes_none(tmp_path):
    assert quick_token("acme/alice", str(tmp_path / "vault.db"), str(tmp_path / "vault.key")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_a_missing_and_a_readable_key_give_nothing(vault, tmp_path):
    vault.put(a_connection())
    other = str(tmp_path / "other.key")
    KeyFile.create(other)
    assert quick_token("acme/alice", str(vault.path), other) is None
    assert quick_token("acme/alice", str(vault.path), str(tmp_path / "none.key")) is None
    vault.key.chmod(0o644)
    assert vault.quick() is None
    vault.key.chmod(0o600)
    assert vault.quick() == "access-1"


@pytest.mark.parametrize("content", [b"", b"dear diary", b"SQLite format 3\0" + b"\0" * 200])
def test_a_file_that_is_no_vault_gives_nothing(vault, tmp_path, content):
    (tmp_path / "other.db").write_bytes(content)
    assert quick_token("acme/alice", str(tmp_path / "other.db"), str(vault.key)) is None
    assert (tmp_path / "other.db").read_bytes() == content


def test_another_programs_database_gives_nothing(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE records (name TEXT, box BLOB)")
        other.execute("INSERT INTO records VALUES ('keyring', x'00'), ('connection/acme/alice', 'text')")
    other.close()
    assert quick_token("acme/alice", str(tmp_path / "other.db"), str(tmp_path / "k")) is None


def changed(vault, sql, *values):
    with sqlite3.connect(vault.path) as store:
        store.execute(sql, values)
    store.close()


def test_a_box_that_was_moved_or_changed_gives_nothing(vault):
    vault.put(a_connection())
    changed(vault, "UPDATE records SET name = 'connection/acme/bob' WHERE name = ?", RECORD)
    assert vault.quick("acme/bob") is None
    changed(vault, "UPDATE records SET name = ? WHERE name = 'connection/acme/bob'", RECORD)
    assert vault.quick() == "access-1"
    box = vault.world.store.load(RECORD).box
    changed(vault, "UPDATE records SET box = ? WHERE name = ?", box[:-1] + bytes((box[-1] ^ 1,)), RECORD)
    assert vault.quick() is None


def test_a_damaged_or_lost_keyring_gives_nothing(vault):
    vault.put(a_connection())
    changed(vault, "UPDATE records SET box = x'0102' WHERE name = 'keyring'")
    assert vault.quick() is None
    changed(vault, "DELETE FROM records WHERE name = 'keyring'")
    assert vault.quick() is None


def test_a_token_too_long_for_the_head_is_left_to_the_long_way(vault):
    long = TokenSet(access=Secret("x" * 70_000), obtained_at=T0, expires_at=T0 + HOUR)
    vault.put(a_connection(tokens=long))
    assert vault.quick() is None
    assert isinstance(judge(a_connection(tokens=long), T0, Demand()), Serve)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "%41.db", "what?.db", "a#b.db", "ä日.db"])
def test_a_path_may_hold_any_character(vault, tmp_path, name):
    vault.put(a_connection())
    vault.world.store.close()
    shutil.copy(vault.path, tmp_path / name)
    assert quick_token("acme/alice", str(tmp_path / name), str(vault.key)) == "access-1"


def test_what_was_written_a_moment_ago_is_seen(vault):
    vault.put(a_connection())
    assert vault.quick() == "access-1"
    later = TokenSet(access=Secret("access-2"), obtained_at=T0, expires_at=T0 + HOUR)
    vault.put(a_connection(tokens=later))
    assert vault.quick() == "access-2"
    vault.put(a_connection(revoked_at=T0))
    assert vault.quick() is None


def test_nothing_is_written(vault):
    vault.put(a_connection())
    vault.world.store.close()
    before = vault.path.read_bytes(), vault.path.stat().st_mtime_ns
    assert vault.quick() == "access-1"
    assert (vault.path.read_bytes(), vault.path.stat().st_mtime_ns) == before


def test_the_clock_is_the_systems(vault, monkeypatch):
    monkeypatch.undo()
    now = datetime.now(UTC).timestamp()
    for left, given_out in ((-1, None), (HOUR, "access-1")):
        tokens = TokenSet(access=Secret("access-1"), obtained_at=now - HOUR, expires_at=now + left)
        vault.put(a_connection(tokens=tokens))
        assert vault.quick() == given_out


HEAVY = ["msgspec", "click", "pathlib", "dataclasses", "json", "asyncio", "urllib3", "ssl", "socket", "logging"]


def test_importing_it_loads_nothing_that_costs():
    program = (
        "import sys; before = set(sys.modules); import valetkey.vault.quick;"
        f"print(sorted((set(sys.modules) - before) & set({HEAVY})))"
    )
    told = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
