"""The refresher against a real provider: each connection once, whoever looks; down and back; a clean end."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

import valetkey
from valetkey.errors import StoreUnavailable
from valetkey.testing import Sandbox
from valetkey.values import Secret
from valetkey.vault import names
from valetkey.vault import refresher as refresher_module
from valetkey.vault.notices import Listener
from valetkey.vault.pace import Kept
from valetkey.vault.records import App
from valetkey.vault.refresher import Refresher
from vaultkit import START, crowd, sandbox_app

pytestmark = pytest.mark.network

MANY = 200


def quick_app(sandbox, **refresh) -> App:
    """Return the sandbox's app, whose token endpoint takes any number of refreshes a second."""
    described = sandbox.provider()
    described = msgspec.structs.replace(
        described, refresh=msgspec.structs.replace(described.refresh, per_second=10_000.0, **refresh)
    )
    return msgspec.structs.replace(sandbox_app(sandbox), described=described)


@pytest.fixture
def sandbox():
    with Sandbox(manner="rotating", access_lifetime=600) as running:
        yield running


@pytest.fixture
def place(tmp_path):
    return tmp_path / "vault.db"


@pytest.fixture
def vault(place, sandbox):
    with valetkey.open(place) as opened:
        opened.add_app(quick_app(sandbox))
        yield opened


def wait_for(condition) -> None:
    """Wait until something is so; the test's own time-out bounds it."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.005)


def generations(vault) -> Counter[int]:
    return Counter(info.refreshes for info in vault.connections())


def test_everything_that_is_due_is_renewed_once_and_nothing_else(vault, sandbox):
    crowd(vault, sandbox, MANY, expires_in=30)
    tally = vault.keep(once=True)
    assert tally.counts["renewed"] == MANY
    assert sandbox.count("refresh_token") == sandbox.count("refresh_token", "ok") == MANY
    assert generations(vault) == {1: MANY}
    assert vault.keep(once=True).counts == {}
    assert sandbox.count("refresh_token") == MANY


def kept_by_two(vault, sandbox, place) -> None:
    crowd(vault, sandbox, MANY, expires_in=30)
    start = threading.Barrier(2)
    tallies = []

    def run(opened):
        start.wait()
        tallies.append(opened.keep(once=True))

    with valetkey.open(place) as second:
        threads = [threading.Thread(target=run, args=(one,)) for one in (vault, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(tally.counts["renewed"] for tally in tallies) == MANY
    assert all(tally.counts["renewed"] > MANY // 20 for tally in tallies)  # they shared the work
    assert sandbox.count("refresh_token") == MANY
    assert generations(vault) == {1: MANY}


def test_two_refreshers_on_one_file_renew_each_connection_once(vault, sandbox, place):
    kept_by_two(vault, sandbox, place)


def test_two_refreshers_on_one_postgresql_renew_each_connection_once(sandbox, postgres):
    with valetkey.open(postgres) as vault:
        vault.add_app(quick_app(sandbox))
        kept_by_two(vault, sandbox, postgres)


def test_callers_and_the_refresher_together_renew_each_connection_once(vault, sandbox):
    made = crowd(vault, sandbox, 60, expires_in=30)
    stop = threading.Event()
    keeping = threading.Thread(target=vault.keep, args=(stop,))
    keeping.start()
    for name in made:
        vault.token(name)
    wait_for(lambda: generations(vault) == {1: 60})
    stop.set()
    keeping.join()
    assert sandbox.count("refresh_token") == 60


def test_it_ends_when_it_is_told_to_and_finishes_what_is_under_way(vault, sandbox):
    crowd(vault, sandbox, MANY, expires_in=30)
    stop = threading.Event()
    sandbox.slow_next(0.3, n=MANY)

    def first_is_under_way():
        wait_for(lambda: sandbox.count("refresh_token"))
        stop.set()

    watcher = threading.Thread(target=first_is_under_way)
    watcher.start()
    tally = vault.keep(stop, concurrency=4)
    watcher.join()
    asked = sandbox.count("refresh_token")
    assert 1 <= asked <= 4
    assert tally.counts["renewed"] == asked
    assert generations(vault) == {0: MANY - asked, 1: asked}
    assert vault.states() == {"active": MANY}  # no lease and no intent is left behind


def test_a_provider_that_is_down_is_tried_carefully_and_is_back_at_work_afterwards(vault, sandbox):
    crowd(vault, sandbox, 40, expires_in=30)
    sandbox.fail_next(1000, status=503)
    tally = vault.keep(once=True, concurrency=4)
    assert tally.counts["renewed"] == 0
    assert 1 <= tally.counts["failed"] <= 4  # those that were under way; the rest waits for the host to be back
    sandbox.clear_faults()
    wait_for(lambda: vault.keep(once=True) and generations(vault) == {1: 40})
    assert generations(vault) == {1: 40}


def test_a_host_that_hangs_leaves_room_for_the_others(vault, sandbox):
    with Sandbox(access_lifetime=600) as other:
        described = quick_app(other)
        vault.add_app(msgspec.structs.replace(described, name="fine"))
        crowd(vault, sandbox, 6, expires_in=30)
        crowd(vault, other, 30, expires_in=30, app="fine")
        sandbox.slow_next(1.0, n=6)  # long beside what the others take, on a busy machine too
        order: list[str] = []
        vault.keep(once=True, concurrency=4, report=lambda kept: order.append(kept.subject.split("/")[0]))
    assert Counter(order)["fine"] == 30
    assert order[:20].count("fine") >= 15
    assert order[-1] == "sb"  # the host that hangs held nobody up but itself


def test_the_rate_of_a_host_is_kept(vault, sandbox):
    vault.add_app(
        msgspec.structs.replace(
            sandbox_app(sandbox),
            described=msgspec.structs.replace(
                sandbox.provider(), refresh=msgspec.structs.replace(sandbox.provider().refresh, per_second=20.0)
            ),
        ),
        replace=True,
    )
    crowd(vault, sandbox, 8, expires_in=30)
    vault.keep(once=True)
    times = sorted(asking.at for asking in sandbox.log if asking.grant == "refresh_token")
    assert times[-1] - times[0] >= timedelta(seconds=6 / 20.0)  # 7 gaps of a twentieth, and some clock to spare


def test_a_record_that_cannot_be_worked_on_hides_no_other(vault, sandbox, caplog):
    made = crowd(vault, sandbox, 5, expires_in=30)
    store, record = vault._world.store, names.connection_record(made[0])
    entry = store.load(record)
    broken = replace(entry, box=entry.box[:-1] + bytes([entry.box[-1] ^ 1]))
    assert store.swap(record, entry.version, broken)
    reported: list[Kept] = []
    with caplog.at_level(logging.WARNING, "valetkey.keep"):
        tally = vault.keep(once=True, report=reported.append)
    assert tally.counts["renewed"] == 4
    assert [(kept.what, kept.subject, kept.detail) for kept in reported if kept.what == "stuck"] == [
        ("stuck", made[0], "vault_damaged")
    ]
    assert "vault_damaged" in caplog.text


def test_a_store_that_is_down_is_tried_again(vault, sandbox, monkeypatch, caplog):
    crowd(vault, sandbox, 3, expires_in=30)
    real, failures = vault._world.store.due, iter([True, True])

    def due(*args):
        if next(failures, False):
            raise StoreUnavailable("the disk does not answer")
        return real(*args)

    monkeypatch.setattr(vault._world.store, "due", due)
    monkeypatch.setattr(refresher_module, "SHUN_FIRST", 0.01)
    stop = threading.Event()

    def enough(kept):
        if kept.what == "renewed":
            done.append(kept)
        if len(done) == 3:
            stop.set()

    done: list[Kept] = []
    vault.keep(stop, report=enough)
    assert len(done) == 3
    assert "the disk does not answer" in caplog.text


def test_old_links_are_swept(vault, sandbox):
    vault.begin("sb/alice", redirect_uri="http://127.0.0.1:7777/callback", binding=Secret("binding"))
    store = vault._world.store
    (record,) = store.names(names.PENDING, "", 9)
    vault.keep(once=True)
    entry = store.load(record)
    assert store.swap(record, entry.version, replace(entry, due_at=vault._world.clock()))
    vault.keep(once=True)
    assert store.names(names.PENDING, "", 9) == []


def test_news_is_carried_to_a_command_and_a_forecast_is_told_once(vault, sandbox, tmp_path):
    heard = tmp_path / "heard"
    vault.add_listener(Listener(name="desk", created_at=0, command=("sh", "-c", f"cat >> {heard}")))
    made = crowd(vault, sandbox, 2, expires_in=30)
    sandbox.revoke("user-00001")
    wait_for(lambda: vault.keep(once=True).counts["delivered"])  # the news may come after the first round has looked
    (told,) = [json.loads(line) for line in heard.read_text().splitlines()]
    assert (told["type"], told["data"]["connection"]) == ("connection.needs_reconnect", made[1])
    app = msgspec.structs.replace(quick_app(sandbox), secret_expires_at=vault._world.clock().timestamp() + 86_400.0 * 3)
    vault.add_app(app, replace=True)
    vault.remove_listener("desk")
    vault.add_listener(Listener(name="other", created_at=0, command=("sh", "-c", f"cat >> {heard}")))
    for _ in range(3):
        vault.keep(once=True)
    assert [json.loads(line)["type"] for line in heard.read_text().splitlines()[1:]] == ["app.forecast"]


def test_beside_a_block_it_keeps_and_ends_with_the_block(vault, sandbox):
    crowd(vault, sandbox, 5, expires_in=30)
    with vault.keeping():
        wait_for(lambda: sandbox.count("refresh_token", "ok") == 5)
        assert any(thread.name == "valetkey-keep" for thread in threading.enumerate())
    assert not any(thread.name == "valetkey-keep" for thread in threading.enumerate())
    assert generations(vault) == {1: 5}


async def test_for_asyncio_it_runs_until_its_task_is_cancelled(vault, sandbox):
    crowd(vault, sandbox, 5, expires_in=30)
    keeping = asyncio.create_task(valetkey.AsyncVault(vault).keep())
    await asyncio.to_thread(wait_for, lambda: sandbox.count("refresh_token", "ok") == 5)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    vault._flights.wait()
    assert generations(vault) == {1: 5}


# ── what it asks of the store ─────────────────────────────────────────────────────────────────────────────────


class Counted:
    """A store that counts the questions it is asked."""

    def __init__(self, inner):
        self.inner, self.asked = inner, Counter()

    def __getattr__(self, name):
        def asked(*args):
            self.asked[name] += 1
            return getattr(self.inner, name)(*args)

        return asked


@pytest.mark.parametrize("size", [10, 1000])
def test_a_look_at_a_vault_where_nothing_is_due_costs_the_same_whatever_its_size(vault, sandbox, size):
    crowd(vault, sandbox, size, expires_in=7200, lifetime=7200)
    vault.keep(once=True)  # the survey, which is made once a day, is done
    counted = Counted(vault._world.store)
    vault._world.store = counted
    refresher = Refresher(vault._desk, vault._world, vault._flights)
    refresher._look_if_it_is_time()
    assert counted.asked == {"due": 7}


def test_it_sleeps_until_the_next_is_due_and_not_longer_than_the_tick(vault, sandbox, monkeypatch):
    monkeypatch.setattr(vault._world, "clock", lambda: START)
    (name,) = crowd(vault, sandbox, 1, expires_in=600)
    refresher = Refresher(vault._desk, vault._world, vault._flights)
    assert refresher_module.TICK_SECONDS * 0.8 <= refresher._until_next() <= refresher_module.TICK_SECONDS
    due = vault._world.store.load(names.connection_record(name)).due_at
    monkeypatch.setattr(vault._world, "clock", lambda: due - timedelta(seconds=1.5))
    assert refresher._until_next() == pytest.approx(1.5, abs=0.01)
