"""Another data key for a vault in use: nothing is lost, whoever writes meanwhile and whenever the command is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import msgspec
import pytest

import valetkey
from keykit import a_vault, box_of, kill_points
from valetkey.audit.ledger import Query
from valetkey.errors import InvalidInput, StoreUnavailable, VaultDamaged
from valetkey.testing import Sandbox
from valetkey.transport.sync import Transport
from valetkey.values import Entry, Secret
from valetkey.vault import backup, copying, names
from valetkey.vault.keks.rewrap import Target, rewrap
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.opening import open_world
from valetkey.vault.places import Place
from valetkey.vault.records import Lease
from valetkey.vault.reseal import RETIRE_SECONDS, reseal, retire
from valetkey.vault.seal import key_id_of
from valetkey.vault.spill import SpillFolder
from vaultkit import START, a_connection, an_app, connect, expire, sandbox_app

COUNT = 40


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.network, pytest.mark.allow_hosts(["127.0.0.1"])])]
)
def place(request, tmp_path):
    return Place.of(tmp_path / "vault.db" if request.param == "sqlite" else request.getfixturevalue("postgres"))


@pytest.fixture
def opened(place):
    desk, world = open_world(place.path or place.url, transport=Transport)
    fill(desk, world)
    yield desk, world
    world.close()


def fill(desk, world, count=COUNT):
    assert world.store.swap("app/acme", 0, desk.seal_app(an_app()))
    for number in range(count):
        made = a_connection(label=f"user{number:03}", refresh=f"refresh-{number}")
        record = names.connection_record(made.name)
        assert world.store.swap(record, 0, desk.seal_connection(made, START.timestamp()))


def content(desk, world):
    """Return what every record holds, its state and when it is due."""
    found = {}
    for name in world.store.names("", "", 10_000):
        entry = world.store.load(name)
        if name not in {names.KEYRING, names.RESEAL, names.AUDIT_KEY}:
            found[name] = (desk.sealer.open(name, entry.box), entry.state, entry.due_at)
    return found


def keys_in_use(world):
    return {key_id_of(world.store.load(name).box) for name in world.store.names("", "", 10_000) if name != "keyring"}


def kinds(world):
    found = [line.kind for line in world.store.ledger.find(Query(kind="vault."), 100)]
    assert found[0] == "vault.created"
    return found[1:]


def in_an_hour(world, monkeypatch):
    later = world.clock() + timedelta(seconds=RETIRE_SECONDS + 1)
    monkeypatch.setattr(world, "clock", lambda: later)


def test_every_record_is_sealed_with_the_new_key_and_holds_what_it_held(opened):
    desk, world = opened
    before, old = content(desk, world), desk.sealer.current
    told = []
    done = reseal(desk, world, progress=lambda *said: told.append(said))
    assert (done.held, done.damaged, done.resumed) == ([], [], False)
    assert done.sealed == done.records == len(before) + 1  # and the key of the audit log
    assert keys_in_use(world) == {bytes.fromhex(done.key)}
    assert bytes.fromhex(done.key) != old
    assert content(desk, world) == before
    assert told[-1][0] == "sealing anew"
    assert told[-1][1] == done.records
    assert kinds(world) == ["vault.reseal_started", "vault.resealed"]


def test_old_keys_are_retired_an_hour_later_and_not_before(opened, monkeypatch):
    desk, world = opened
    old = desk.sealer.current
    assert retire(desk, world) == []
    reseal(desk, world)
    with pytest.raises(InvalidInput, match="in 60 minutes") as early:
        retire(desk, world)
    assert "nothing was changed" in early.value.fix
    in_an_hour(world, monkeypatch)
    assert retire(desk, world) == [old.hex()]
    assert list(world.keys.look().made) == [desk.sealer.current]
    assert len(content(desk, world)) == COUNT + 1
    assert kinds(world)[-1] == "vault.keys_retired"
    assert retire(desk, world) == []


def test_a_row_that_is_put_back_from_before_the_reseal_is_refused_once_its_key_is_retired(opened, monkeypatch):
    desk, world = opened
    name = "connection/acme/user007"
    stolen = world.store._store.load(name)
    reseal(desk, world)
    in_an_hour(world, monkeypatch)
    retire(desk, world)
    assert world.store._store.swap(name, stolen.version + 1, stolen)
    with pytest.raises(VaultDamaged, match="user007"):
        desk.connection("acme/user007", world.store.load(name))


def test_keys_are_not_retired_while_something_needs_them(opened, monkeypatch):
    desk, world = opened
    old = world.store._store.load("connection/acme/user007")
    first = desk.sealer.current
    world.keys.renew()
    with pytest.raises(InvalidInput, match="older data keys") as refusal:
        retire(desk, world)
    assert "reseal" in refusal.value.fix
    reseal(desk, world)
    in_an_hour(world, monkeypatch)
    held = world.store._store.load("connection/acme/user007")
    assert world.store._store.swap("connection/acme/user007", held.version, old)
    with pytest.raises(InvalidInput, match="1 of the older data keys still open something") as refusal:
        retire(desk, world)
    assert "acme/user007" in refusal.value.message
    assert first in world.keys.look().made


def test_keys_are_not_retired_while_a_token_that_waits_beside_the_store_needs_them(opened, monkeypatch):
    desk, world = opened
    spills = world._spills
    assert isinstance(spills, SpillFolder)
    spills.put("connection/acme/user001", world.store._store.load("connection/acme/user001"))
    reseal(desk, world)
    in_an_hour(world, monkeypatch)
    with pytest.raises(InvalidInput, match="which waits beside the store"):
        retire(desk, world)


def test_what_is_in_somebodys_hands_is_left_and_looked_at_again(opened):
    desk, world = opened
    name = "connection/acme/user003"
    held = world.store.load(name)
    moment = world.clock().timestamp()
    leased = msgspec.structs.replace(desk.connection("acme/user003", held), lease=Lease("somebody", moment + 45))
    assert world.store.swap(name, held.version, desk.seal_connection(leased, moment))
    version, waits = world.store.load(name).version, []

    def sleep(seconds):
        waits.append(seconds)
        assert world.store.load(name).version == version
        if len(waits) == 3:
            ended = msgspec.structs.replace(leased, lease=None)
            assert world.store.swap(name, version, desk.seal_connection(ended, moment))

    done = reseal(desk, world, sleep=sleep)
    assert (done.held, len(waits)) == ([], 3)
    assert keys_in_use(world) == {desk.sealer.current}


def test_a_lease_that_never_ends_is_named_and_the_reseal_is_not_called_done(opened):
    desk, world = opened
    name = "connection/acme/user003"
    held = world.store.load(name)
    moment = world.clock().timestamp()
    leased = msgspec.structs.replace(desk.connection("acme/user003", held), lease=Lease("somebody", moment + 9e9))
    assert world.store.swap(name, held.version, desk.seal_connection(leased, moment))
    done = reseal(desk, world, sleep=lambda _seconds: None)
    assert done.held == [name]
    assert world.store.load(names.RESEAL).state == "running"
    again = reseal(desk, world, sleep=lambda _seconds: None)
    assert (again.resumed, again.key) == (True, done.key)


def test_a_notice_that_may_be_under_way_is_left_to_who_carries_it(opened):
    desk, world = opened
    soon, late = world.clock() + timedelta(seconds=60), world.clock() + timedelta(hours=1)
    for name, due in (("notice/1.desk", soon), ("notice/2.desk", late)):
        assert world.store.swap(name, 0, Entry("waiting", desk.sealer.seal(name, b"a notice"), due))
    done = reseal(desk, world, sleep=lambda _seconds: None)
    assert done.held == ["notice/1.desk"]
    assert key_id_of(world.store.load("notice/2.desk").box) == desk.sealer.current


def test_a_pending_authorization_is_not_touched_and_its_end_lets_its_key_go(opened, monkeypatch):
    desk, world = opened
    name, old = "pending/abc", desk.sealer.current
    due = world.clock() + timedelta(minutes=10)
    assert world.store.swap(name, 0, Entry("pending", desk.sealer.seal(name, b"good for one write"), due))
    reseal(desk, world)
    assert key_id_of(world.store.load(name).box) == old
    in_an_hour(world, monkeypatch)
    assert retire(desk, world) == [old.hex()]


def test_a_damaged_record_is_named_and_hides_none_of_the_others(opened):
    desk, world = opened
    name = "connection/acme/user005"
    held = world.store._store.load(name)
    assert world.store._store.swap(name, held.version, Entry("active", held.box[:-1] + bytes([held.box[-1] ^ 1])))
    done = reseal(desk, world)
    assert done.damaged == [name]
    assert done.sealed == COUNT + 1
    assert world.store.load(names.RESEAL).state == "running"


def test_a_record_of_a_later_valetkey_is_left_and_hides_none_of_the_others(opened):
    desk, world = opened
    name = "connection/acme/user005"
    held = world.store.load(name)
    later = b"\xff" + desk.sealer.open(name, held.box)[1:]  # the first byte is the version of the record
    assert world.store.swap(name, held.version, Entry("active", desk.sealer.seal(name, later)))
    done = reseal(desk, world)
    assert done.damaged == [name]
    assert done.sealed == COUNT + 1


def test_a_process_that_was_open_all_along_reads_and_writes_through_a_reseal(place, opened):
    desk, world = opened
    other_desk, other = open_world(place.path or place.url, transport=Transport)
    reseal(desk, world)
    held = other.store.load("connection/acme/user001")
    connection = other_desk.connection("acme/user001", held)
    assert connection.tokens.refresh == Secret("refresh-1")
    renewed = msgspec.structs.replace(connection, generation=2)
    assert other.store.swap(
        "connection/acme/user001", held.version, other_desk.seal_connection(renewed, START.timestamp())
    )
    assert desk.connection("acme/user001", world.store.load("connection/acme/user001")).generation == 2
    other.close()


def test_two_who_reseal_at_once_leave_one_vault_that_opens(place, opened):
    desk, world = opened
    before = content(desk, world)
    other_desk, other = open_world(place.path or place.url, transport=Transport)
    ended = []

    def work(*facts):
        try:
            ended.append(reseal(*facts, sleep=lambda _seconds: None))
        except StoreUnavailable as refusal:
            ended.append(refusal)

    threads = [threading.Thread(target=work, args=facts) for facts in ((desk, world), (other_desk, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 2
    assert content(desk, world) == before
    again = reseal(desk, world)
    assert (again.held, again.damaged) == ([], [])
    assert keys_in_use(world) == {desk.sealer.current}
    other.close()


def test_a_backup_of_before_a_reseal_opens_and_is_restored_after_its_keys_are_retired(
    place, opened, tmp_path, monkeypatch
):
    desk, world = opened
    before = content(desk, world)
    backup.backup(place, tmp_path / "old.backup")
    reseal(desk, world)
    in_an_hour(world, monkeypatch)
    retire(desk, world)
    checked = backup.check(place)
    assert [(key.current, key.records) for key in checked.keys] == [(True, checked.records - 1)]
    assert checked.reseal == "done"
    world.close()
    backup.restore(tmp_path / "old.backup", place)
    again_desk, again = open_world(place.path or place.url, transport=Transport, create=False)
    assert content(again_desk, again) == before
    again.close()


def test_a_vault_is_moved_while_a_data_key_is_made(place, opened, tmp_path, monkeypatch):
    desk, world = opened
    target = Place.of(tmp_path / "moved.db")
    real, made = copying._begin, []

    def begin(*facts):
        real(*facts)
        made.append(reseal(desk, world).key)

    monkeypatch.setattr(copying, "_begin", begin)
    copying.copy(place, target)
    moved_desk, moved = open_world(target.path, transport=Transport, create=False)
    assert moved_desk.sealer.current.hex() == made[0]
    assert content(moved_desk, moved).keys() >= {f"connection/acme/user{number:03}" for number in range(COUNT)}
    moved.close()


# ── with refreshes under way ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.network
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_refreshes_go_on_while_the_vault_is_resealed_three_times(place):
    with Sandbox(manner="rotating", access_lifetime=600) as sandbox, valetkey.open(place.path or place.url) as vault:
        vault.add_app(sandbox_app(sandbox))
        people = [f"sb/user{number}" for number in range(6)]
        for name in people:
            connect(vault, sandbox, name)
        stop, failed, renewed = threading.Event(), [], []

        def busy(name):
            while not stop.is_set():
                try:
                    expire(vault, name)
                    renewed.append(vault.token(name))
                except Exception as refusal:  # noqa: BLE001  # whatever it is, it is a failure
                    failed.append(refusal)
                    return

        threads = [threading.Thread(target=busy, args=(name,)) for name in people]
        for thread in threads:
            thread.start()
        desk, world = open_world(place.path or place.url, transport=Transport)
        for _ in range(3):
            reseal(desk, world, sleep=lambda _seconds: stop.wait(0.05))
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(renewed) > len(people)
        for name in people:
            assert vault.refresh(name)
            assert vault.connection(name).state == "active"
        world.close()


# ── killed in between ────────────────────────────────────────────────────────────────────────────────────────────

CHILD = """
import os, signal, sys
steps = int(sys.argv[2])
def step(*_):
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def before_and_after(owner, name):
    real = getattr(owner, name)
    def wrapped(*a, **k):
        step()
        done = real(*a, **k)
        step()
        return done
    setattr(owner, name, wrapped)
from valetkey.vault.stores.sqlite import SqliteStore
from valetkey.audit.recorder import Recorder
before_and_after(SqliteStore, "swap")
before_and_after(Recorder, "note")
from valetkey.testing import Sandbox
from valetkey.transport.sync import Transport
from valetkey.vault import reseal
from valetkey.vault.opening import open_world
reseal.WORKERS = 1
desk, world = open_world(sys.argv[1], transport=Transport)
if sys.argv[3] == "retire":
    reseal.RETIRE_SECONDS = 0.0
    reseal.retire(desk, world)
else:
    reseal.reseal(desk, world)
world.close()
"""


def killed_at(step, place, what):
    command = [sys.executable, "-c", CHILD, str(place.path), str(step), what]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, check=False, capture_output=True, timeout=60)
    assert done.returncode in {0, -9}, done.stderr.decode()
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("what", ["reseal", "retire"])
def test_killed_at_any_step_everything_opens_and_the_same_command_goes_on(tmp_path, what):
    place = a_vault(tmp_path / "vault.db")
    desk, world = open_world(place.path, transport=Transport)
    for number in range(3):
        made = a_connection(label=f"user{number:03}", refresh=f"refresh-{number}")
        assert world.store.swap(names.connection_record(made.name), 0, desk.seal_connection(made, START.timestamp()))
    before = content(desk, world)
    killed = 0
    for step in range(200) if what == "retire" else kill_points():  # to retire takes fewer steps than are left out
        if what == "retire":
            world.keys.renew()
            reseal(desk, world)
        code = killed_at(step, place, what)
        found_desk, found = open_world(place.path, transport=Transport)
        after = content(found_desk, found)
        assert {name: after[name] for name in before} == before
        if code == 0 and what == "retire":
            assert len(found.keys.look().made) == 1
        found.close()
        killed += code == -9
        if code == 0:
            break
    else:
        pytest.fail("the command never came to its end")
    assert killed
    world.close()


def test_a_killed_reseal_goes_on_with_the_key_it_made(tmp_path):
    place = a_vault(tmp_path / "vault.db")
    assert killed_at(9, place, "reseal") == -9
    keys = len(Keyring.unwrapped(box_of(place), KeyFile.read(str(place.key_path(b"")))).made)
    desk, world = open_world(place.path, transport=Transport)
    done = reseal(desk, world)
    assert (done.resumed, keys, len(world.keys.look().made)) == (True, 2, 2)
    world.close()


def test_a_reseal_goes_on_after_a_rewrap(tmp_path):
    place = a_vault(tmp_path / "vault.db")
    assert killed_at(9, place, "reseal") == -9
    rewrap(place, Target.of(f"file:{tmp_path / 'other.key'}"))
    desk, world = open_world(place.path, transport=Transport, key_file=tmp_path / "other.key")
    assert reseal(desk, world).resumed
    world.close()
