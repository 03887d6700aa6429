"""The PostgreSQL store where the server matters: lost answers, restarts, killed sessions, forks, other processes, words."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime
from urllib.parse import quote

import psycopg
import pytest

from postgreskit import Between, named
from valetkey.audit.line import Line
from valetkey.effects import Event
from valetkey.errors import InvalidInput, StoreUnavailable, ValetkeyError, VaultMissing, VaultUnreadable
from valetkey.installing import to_add
from valetkey.values import Entry
from valetkey.vault.places import Place, holds_password, spoken
from valetkey.vault.stores import postgres as module
from valetkey.vault.stores.postgres import MOST_CONNECTIONS, PostgresStore
from valetkey.vault.stores.postgres_schema import SCHEMA_VERSION
from valetkey.vault.stores.postgres_words import LOCK_SECONDS, STATEMENT_SECONDS
from vaultkit import a_recorder, append, lines_of
from vaultprocs import count_up, forked, make_store, together

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOME = Entry("active", b"sealed")
LINE = Line(NOON, "cli:me", "refresh.started", "acme/a")


@pytest.fixture
def store(postgres):
    made = PostgresStore.open(postgres, create=True)
    yield made
    made.close()


@pytest.fixture
def between(postgres):
    """Give a store that is reached through something that loses questions and answers when it is told to."""
    with Between(postgres) as wire:
        made = PostgresStore.open(wire.url, create=True)
        made.load("a")  # the pool has a connection, which is the one that will break
        yield made, wire
        made.close()


def sql(url, statement, *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


# ── an answer that is lost ───────────────────────────────────────────────────────────────────────────────────────

LOST = pytest.mark.parametrize("lost", ["question", "answer"])


@LOST
def test_a_replacement_whose_outcome_nobody_told_is_found_out(between, lost):
    store, wire = between
    store.swap("a", 0, Entry("active", b"first"))
    seen = store.load("a").version
    wire.lose(lost)
    assert store.swap("a", seen, Entry("active", b"second")) is True
    assert wire.lost == 1
    assert (store.load("a").box, store.load("a").version) == (b"second", seen + 1), "it happened, and once"


@LOST
def test_a_creation_whose_outcome_nobody_told_is_found_out(between, lost):
    store, wire = between
    wire.lose(lost)
    assert store.swap("a", 0, SOME) is True
    assert (wire.lost, store.load("a").box) == (1, b"sealed")


@LOST
def test_a_deletion_whose_outcome_nobody_told_is_found_out(between, lost):
    store, wire = between
    store.swap("a", 0, SOME)
    wire.lose(lost)
    assert store.swap("a", store.load("a").version, None) is True
    assert (wire.lost, store.load("a")) == (1, None)


@LOST
def test_a_refusal_whose_answer_is_lost_stays_a_refusal(between, lost):
    store, wire = between
    store.swap("a", 0, Entry("active", b"theirs"))
    seen = store.load("a").version
    for change in (lambda: store.swap("a", seen + 1, SOME), lambda: store.swap("a", 0, SOME)):
        wire.lose(lost)
        assert change() is False
    wire.lose(lost)
    assert store.swap("a", seen + 1, None) is False
    assert (wire.lost, store.load("a").box) == (3, b"theirs")


@pytest.mark.parametrize("ours", [Entry("active", b"ours"), None], ids=["replace", "forget"])
def test_a_change_that_others_made_meanwhile_is_not_taken_for_ours(between, postgres, ours):
    """Our question never arrives; before we ask again, somebody else does the same."""
    store, wire = between
    store.swap("a", 0, SOME)
    seen = store.load("a").version
    other = PostgresStore.open(postgres, create=False)
    wire.lose("question", meanwhile=lambda: other.swap("a", seen, None if ours is None else Entry("active", b"theirs")))
    assert store.swap("a", seen, ours) is False
    other.close()


@LOST
def test_a_line_of_the_audit_log_is_written_once(between, lost):
    store, wire = between
    recorder = a_recorder(store)
    wire.lose(lost)
    recorder.note(Event("app.added", "acme"))  # where the writer enrolls
    wire.lose(lost)
    recorder.note(Event("refresh.started", "acme/a"))
    recorder.note(Event("refresh.finished", "acme/a"))
    assert (wire.lost, [line.kind for line in lines_of(store)]) == (
        2,
        ["app.added", "refresh.started", "refresh.finished"],
    )


@LOST
def test_a_question_that_changes_nothing_is_asked_again(between, lost):
    store, wire = between
    store.swap("a", 0, SOME)
    wire.lose(lost)
    assert store.load("a").box == b"sealed"
    assert wire.lost == 1


def test_where_the_outcome_cannot_be_found_out_the_error_says_so(between, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    store, wire = between
    store.swap("a", 0, SOME)
    seen = store.load("a").version
    store.close()
    store.load("a")
    wire.lose("answer", then="nothing")
    with pytest.raises(StoreUnavailable, match="not known yet") as refused:
        store.swap("a", seen, Entry("active", b"second"))
    assert refused.value.fix
    wire.mend()
    assert store.load("a").box == b"second"


# ── a server that goes and comes ─────────────────────────────────────────────────────────────────────────────────


class Load:
    """Change records from eight threads, each its own, and keep count of what was said to be saved and what is."""

    def __init__(self, store):
        self.store, self.stop, self.changed = store, threading.Event(), threading.Condition()
        self.acknowledged = self.refused = self.found = 0
        self.strange = []
        self.threads = [threading.Thread(target=self._run, args=(f"count/{n}",)) for n in range(8)]
        for n in range(8):
            store.swap(f"count/{n}", 0, Entry("n", b"0"))
        self.first = self.versions()

    def versions(self):
        return sum(self.store.load(name).version for name in self.store.names("count/", "", 10))

    def _run(self, name):
        try:
            held = self._load(name)
            while not self.stop.is_set():
                box = os.urandom(16)
                try:
                    assert self.store.swap(name, held.version, Entry("n", box)), "nobody else changes it"
                    self._count("acknowledged")
                except StoreUnavailable:
                    self._count("refused")
                    held = self._load(name)
                    if held.box == box:
                        self._count("found")
                    continue
                held = self._load(name)
                assert held.box == box, "what was acknowledged is there"
        except BaseException:  # noqa: BLE001  # told by the main thread
            self.strange.append(traceback.format_exc())

    def _load(self, name):
        while True:
            try:
                return self.store.load(name)
            except StoreUnavailable:
                self._count("refused")

    def _count(self, what):
        with self.changed:
            setattr(self, what, getattr(self, what) + 1)
            self.changed.notify_all()

    def until(self, what, more):
        with self.changed:
            wanted = getattr(self, what) + more
            assert self.changed.wait_for(lambda: getattr(self, what) >= wanted or self.strange, 60)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.strange, self.strange[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "killed"])
def test_a_server_stopped_and_started_under_load_loses_nothing(postgres_own, monkeypatch, how):
    monkeypatch.setattr(module, "PATIENCE", 3.0)
    store = PostgresStore.open(postgres_own.url, create=True)
    with Load(store) as load:
        load.until("acknowledged", 100)
        postgres_own.stop(how)
        postgres_own.start()
        load.until("acknowledged", 100)
        postgres_own.stop(how)
        load.until("refused", 4)  # and this time it stays away until callers are told
        postgres_own.start()
        load.until("acknowledged", 100)
    assert load.versions() - load.first == load.acknowledged + load.found
    store.close()


@pytest.mark.slow
def test_sessions_killed_in_mid_change_are_noticed_by_nobody(store, postgres):
    with psycopg.connect(postgres, autocommit=True) as admin, Load(store) as load:
        killed = 0
        while killed < 60:
            load.until("acknowledged", 3)
            killed += len(
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                ).fetchall()
            )
    assert load.refused == 0
    assert load.versions() - load.first == load.acknowledged


def test_a_server_that_is_away_is_said_to_be(postgres_own, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    store = PostgresStore.open(postgres_own.url, create=True)
    store.swap("a", 0, SOME)
    postgres_own.stop()
    for ask in (lambda: store.load("a"), lambda: store.swap("b", 0, SOME), store.ledger.heads):
        with pytest.raises(StoreUnavailable, match="nobody answers there") as refused:
            ask()
        assert refused.value.fix
    with pytest.raises(StoreUnavailable, match="nobody answers there"):
        PostgresStore.open(postgres_own.url, create=False)
    postgres_own.start()
    assert store.load("a").box == b"sealed"
    store.close()


def test_a_record_that_another_transaction_holds_is_waited_for_and_not_for_ever(store, postgres, monkeypatch):
    monkeypatch.setattr(module, "_SESSION", ("SET lock_timeout = '100ms'",))
    store.swap("a", 0, SOME)
    seen = store.load("a").version
    store.close()
    with psycopg.connect(postgres) as other:
        other.execute("SELECT 1 FROM valetkey_records WHERE name = 'a' FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="held a lock too long") as refused:
            store.swap("a", seen, SOME)
        assert refused.value.evidence == {"sqlstate": "55P03"}
    assert store.swap("a", seen, SOME)


def test_a_commit_is_on_disk_before_it_is_answered(postgres):
    sql(postgres, f'ALTER DATABASE "{postgres.partition("?")[0].rpartition("/")[2]}" SET synchronous_commit = off')
    store = PostgresStore.open(postgres, create=True)
    assert store._rows("SHOW synchronous_commit", ()) == [("on",)]
    store.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", f"{STATEMENT_SECONDS}s"),
        ("lock_timeout", f"{LOCK_SECONDS}s"),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_sort", "off"),
        ("enable_seqscan", "off"),
    ],
)
def test_each_session_has_our_settings(store, setting, value):
    assert store._rows(f"SHOW {setting}", ()) == [(value,)]


def test_a_session_is_set_up_in_one_statement(store):
    """Poolers refuse several at once, and each is a way to the server and back."""
    with store.apart() as connection:
        assert len(module._SESSION) == 1
        connection.execute(module._SESSION[0], prepare=True)  # a prepared statement is never more than one


def test_there_are_never_more_connections_than_said(store, postgres):
    begin = threading.Barrier(40)

    def ask(number):
        begin.wait()
        for _ in range(5):
            store.swap(f"n/{number}", 0, SOME)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    open_now = sql(postgres, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'valetkey'")[0][0]
    assert 1 <= open_now <= MOST_CONNECTIONS
    assert len(store.names("n/", "", 100)) == 40


def test_creating_and_forgetting_one_name_at_once_stops_nobody_and_raises_versions(store, postgres):
    """Both lock the same row of valetkey_forgotten; in the wrong order they would wait for each other."""
    begin, made, failures = threading.Barrier(8), [], []

    def meddle():
        try:
            begin.wait()
            for _ in range(30):
                store.swap("a", 0, SOME)
                held = store.load("a")
                if held is not None and store.swap("a", held.version, None):
                    made.append(held.version)
        except BaseException as failure:  # noqa: BLE001  # told by the main thread
            failures.append(failure)

    threads = [threading.Thread(target=meddle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(made) == len(set(made)) >= 30, "no version was ever given twice"
    store.close()
    while sql(postgres, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'valetkey'"):
        pass  # sessions count what happened to them when they end
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert sql(postgres, asked) == [(0,)], "nobody waited for somebody who waited for him"


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────


def test_four_processes_count_by_compare_and_set_and_lose_no_update(store, postgres):
    store.swap("counter", 0, Entry("n", b"0"))
    first = store.load("counter").version
    together(4, count_up, postgres, 25)
    assert store.load("counter").box == b"100"
    assert store.load("counter").version == first + 100


def test_six_processes_that_make_the_tables_at_once_end_up_with_one_vault(postgres):
    assert together(6, make_store, postgres) == [True] * 6
    store = PostgresStore.open(postgres, create=False)
    assert store.names("made/", "", 10) == [f"made/{number}" for number in range(6)]
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_child_and_parent_both_go_on(store):
    store.swap("a", 0, SOME)
    inherited = store._own.pool

    def child():
        assert store.load("a").box == b"sealed"
        assert store._own.pool is not inherited
        assert store.swap("from the child", 0, SOME)
        store.close()

    forked(child)
    assert store.load("from the child").box == b"sealed"
    assert store.swap("from the parent", 0, SOME)
    assert store._own.pool is inherited
    forked(store.close)
    assert store.load("from the parent").box == b"sealed"


def test_a_closed_store_can_be_used_again(store):
    store.swap("a", 0, SOME)
    store.close()
    store.close()
    assert store.load("a").box == b"sealed"


# ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_without_a_vault_is_left_as_it_is_unless_one_is_wanted(postgres):
    with pytest.raises(VaultMissing):
        PostgresStore.open(postgres, create=False)
    assert sql(postgres, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_tables_of_a_later_valetkey_are_refused(store, postgres):
    sql(postgres, "UPDATE valetkey_meta SET version = %s", SCHEMA_VERSION + 1)
    with pytest.raises(VaultUnreadable, match="later valetkey"):
        PostgresStore.open(postgres, create=True)


def test_a_migration_that_ended_half_way_is_finished_by_the_next_start(postgres):
    PostgresStore.open(postgres, create=True).close()
    sql(postgres, "DROP TABLE valetkey_audit")
    sql(postgres, "UPDATE valetkey_meta SET version = 0")
    store = PostgresStore.open(postgres, create=True)
    append(store, LINE)
    assert [line.kind for line in lines_of(store)] == [LINE.kind]
    store.close()


def test_a_failed_migration_changes_nothing(postgres, monkeypatch):
    broken = (*module.prepare.__globals__["MIGRATIONS"][0], "SELECT no_such_thing")
    monkeypatch.setitem(module.prepare.__globals__, "MIGRATIONS", (broken,))
    with pytest.raises(ValetkeyError):
        PostgresStore.open(postgres, create=True)
    assert sql(postgres, "SELECT version FROM valetkey_meta") == [(0,)]
    assert sql(postgres, "SELECT count(*) FROM pg_tables WHERE tablename = 'valetkey_records'") == [(0,)]


def test_names_sort_by_their_bytes_whatever_language_the_database_is_for(store, postgres):
    asked = "SELECT collation_name FROM information_schema.columns WHERE table_name = 'valetkey_records'"
    assert sql(postgres, f"{asked} AND column_name = 'name'") == [("C",)]


def test_a_user_without_rights_is_told_which_are_missing(postgres, canary):
    role = f"weak_{os.getpid()}"
    sql(postgres, f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(VaultUnreadable, match="may not do that") as refused:
            PostgresStore.open(postgres.replace("user=postgres", f"user={role}"), create=True)
        assert "CREATE" in refused.value.fix
    finally:
        sql(postgres, f"DROP ROLE {role}")


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_driver_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    with pytest.raises(InvalidInput) as refused:
        PostgresStore.open("postgresql://db.test/x", create=True)
    assert refused.value.fix == to_add("postgres")


def test_a_database_that_is_not_there_is_said_to_be(postgres):
    with pytest.raises(VaultUnreadable, match="no such database"):
        PostgresStore.open(named(postgres, "nowhere_at_all"), create=True)


def refusal(work) -> ValetkeyError:
    with pytest.raises(ValetkeyError) as refused:
        work()
    return refused.value


def test_a_password_shows_nowhere(postgres_own, canary, caplog, capfd, monkeypatch):
    """Not in an error, a repr or a log of ours, nor in what psycopg's pool says, nor in the server's log."""
    caplog.set_level(logging.DEBUG)
    password = canary.make("database password")
    sql(postgres_own.url, "CREATE ROLE asked_for_password NOLOGIN")
    sql(postgres_own.url, "CREATE ROLE alice LOGIN IN ROLE asked_for_password")
    sql(postgres_own.url, "CREATE DATABASE hers OWNER alice")
    with psycopg.connect(postgres_own.url, autocommit=True) as admin:
        admin.execute("SET log_statement = 'none'")
        admin.execute(f"ALTER ROLE alice PASSWORD '{password}'")
    host = quote(str(postgres_own.folder), safe="")

    def url(user, secret, database="hers"):
        return f"postgresql://{user}:{secret}@/{database}?host={host}"

    store = PostgresStore.open(url("alice", password), create=True)
    shown = [repr(store), repr(vars(store)), repr(store._address), Place.of(url("alice", password)).shown]
    shown += [repr(Place.of(url("alice", password)))]
    assert store.swap("a", 0, SOME)
    postgres_own.stop()
    with monkeypatch.context() as impatient:
        impatient.setattr(module, "PATIENCE", 0.3)
        errors = [refusal(lambda: store.load("a"))]
    postgres_own.start()
    store.close()
    wrong = [
        url("bob", password),
        url("alice", password + "x"),
        url("alice", password, "nowhere"),
        f"postgresql://alice:{password}@h@{host}/hers",
        f"postgresql://alice:{password}/x@{host}/hers",
        f"postgresql://alice:{password}%zz@{host}/hers",
        f"postgresql://alice:{password}?x@{host}/hers",
        f"postgresql://alice:{password}",
        f"postgresql://alice@/hers?host={host}&password={password}&no_such_setting=1",
    ]
    errors += [refusal(lambda address=address: PostgresStore.open(address, create=True)) for address in wrong]
    for error in errors:
        assert error.fix
        shown += [error.explain(), repr(error), repr(error.to_dict()), "".join(traceback.format_exception(error))]
    canary.assert_absent(*shown, caplog.text, "".join(capfd.readouterr()), postgres_own.log)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("postgresql://alice:x@db/v", True),
        ("postgres://alice:x@db/v", True),
        ("postgresql://alice@db/v?password=x", True),
        ("postgresql://alice@db/v?sslmode=require&password=x", True),
        ("postgresql://alice@db:5432/v?sslmode=require", False),
        ("postgresql:///v", False),
        ("/var/lib/a:b@c.db", False),
    ],
)
def test_a_password_on_the_command_line_is_refused(url, holds):
    assert holds_password(url) is holds
    if holds:
        with pytest.raises(InvalidInput, match="arguments") as refused:
            spoken(url)
        assert "PGPASSFILE" in refused.value.fix
    else:
        assert spoken(url) == url


def test_passwords_in_a_file_are_found_by_libpq(postgres_own, tmp_path, monkeypatch):
    sql(postgres_own.url, "CREATE ROLE asked_for_password NOLOGIN")
    sql(postgres_own.url, "CREATE ROLE carol LOGIN IN ROLE asked_for_password PASSWORD 'not on the command line'")
    sql(postgres_own.url, "CREATE DATABASE hers OWNER carol")
    file = tmp_path / "pgpass"
    file.write_text("*:*:hers:carol:not on the command line\n")
    file.chmod(0o600)
    address = f"postgresql://carol@/hers?host={quote(str(postgres_own.folder), safe='')}"
    with pytest.raises(StoreUnavailable, match="password"):
        PostgresStore.open(address, create=True)
    monkeypatch.setenv("PGPASSFILE", str(file))
    PostgresStore.open(address, create=True).close()
