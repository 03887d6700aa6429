"""The contract of a store, the same for every one: what each call gives, and what two callers at once may see."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from valetkey.audit.ledger import ROSTER, Head, Query
from valetkey.audit.line import Line
from valetkey.values import Entry
from valetkey.vault.stores.hashicorp import SCHEME, HashiCorpStore
from valetkey.vault.stores.ledger import LINE, written
from valetkey.vault.stores.memory import MemoryStore
from valetkey.vault.stores.postgres import PostgresStore
from valetkey.vault.stores.sqlite import SqliteStore
from vaultkit import append, lines_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOME = Entry("active", b"sealed")


def in_hashicorp(request):
    reached = request.getfixturevalue("reached")
    return HashiCorpStore.open(SCHEME + reached.folder, create=True, manager=reached.manager)


def prepared(url):
    """Make the tables; those of the oldest release are made anew for each test."""
    PostgresStore.open(url, create=True).close()


MAKERS = {
    "memory": lambda request: MemoryStore(),
    "sqlite": lambda request: SqliteStore.open(request.getfixturevalue("tmp_path") / "vault.db", create=True),
    "postgres": lambda request: PostgresStore.open(
        request.getfixturevalue("postgres_copied")(prepared)[0], create=True
    ),
    "postgres_oldest": lambda request: PostgresStore.open(request.getfixturevalue("postgres_oldest"), create=True),
    "hashicorp": in_hashicorp,
}


LOOPBACK = [pytest.param(name, marks=pytest.mark.network) if name == "hashicorp" else name for name in MAKERS]


@pytest.fixture(params=LOOPBACK)
def store(request):
    made = MAKERS[request.param](request)
    yield made
    made.close()


def fill(store, *names, state="active", due_at=None):
    for name in names:
        assert store.swap(name, 0, Entry(state, b"box of " + name.encode(), due_at))


# ── one record ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_never_put_is_not_there(store):
    assert store.load("connection/a/b") is None


def test_a_record_is_given_back_as_it_was_put(store):
    due = NOON + timedelta(milliseconds=123)
    assert store.swap("a", 0, Entry("active", bytes(range(256)), due))
    got = store.load("a")
    assert (got.state, got.box, got.due_at) == ("active", bytes(range(256)), due)
    assert got.version > 0


@pytest.mark.parametrize("moment", [NOON + timedelta(milliseconds=n) for n in (0, 1, 57, 333, 999)])
def test_a_time_is_kept_to_the_millisecond(store, moment):
    store.swap("a", 0, Entry("active", b"", moment))
    assert store.load("a").due_at == moment


def test_an_empty_box_and_a_large_one_are_kept(store):
    large = b"\0\xff" * (1 << 20)
    fill(store, "a")
    for box in (b"", large):
        assert store.swap("a", store.load("a").version, Entry("active", box))
        assert store.load("a").box == box


def test_the_version_in_an_entry_is_the_stores_to_set(store):
    store.swap("a", 0, Entry("active", b"1", None, version=99))
    first = store.load("a").version
    store.swap("a", first, Entry("active", b"2", None, version=99))
    assert store.load("a").version == first + 1


def test_a_replaced_record_has_the_next_version(store):
    fill(store, "a")
    first = store.load("a").version
    for step in range(1, 4):
        assert store.swap("a", first + step - 1, SOME)
        assert store.load("a").version == first + step


def test_what_replaces_a_record_replaces_all_of_it(store):
    store.swap("a", 0, Entry("active", b"1", NOON))
    store.swap("a", store.load("a").version, Entry("failing", b"2", None))
    got = store.load("a")
    assert (got.state, got.box, got.due_at) == ("failing", b"2", None)


@pytest.mark.parametrize("entry", [SOME, None], ids=["replace", "forget"])
@pytest.mark.parametrize("off", [-1, +1, +1000])
def test_another_version_than_the_one_seen_changes_nothing(store, entry, off):
    fill(store, "a")
    before = store.load("a")
    assert store.swap("a", before.version + off, entry) is False
    assert store.load("a") == before


def test_a_record_that_is_there_is_not_created_again(store):
    fill(store, "a")
    before = store.load("a")
    assert store.swap("a", 0, SOME) is False
    assert store.load("a") == before


@pytest.mark.parametrize("entry", [SOME, None], ids=["replace", "forget"])
def test_a_record_that_is_not_there_is_neither_replaced_nor_forgotten(store, entry):
    assert store.swap("a", 7, entry) is False
    assert store.load("a") is None


def test_forgetting_what_is_not_there_says_that_it_was_not(store):
    assert store.swap("a", 0, None) is False


def test_a_forgotten_record_is_gone(store):
    fill(store, "a", "b", due_at=NOON)
    assert store.swap("a", store.load("a").version, None)
    assert store.load("a") is None
    assert store.names("", "", 10) == ["b"]
    assert store.due("", NOON, 10) == ["b"]
    assert store.count("") == {"active": 1}


def test_a_forgotten_and_recreated_record_has_a_higher_version_than_ever(store):
    highest = 0
    for steps in (0, 3, 50, 0, 0, 1):
        fill(store, "a")
        assert store.load("a").version > highest
        for _ in range(steps):
            assert store.swap("a", store.load("a").version, SOME)
        highest = store.load("a").version
        assert store.swap("a", highest, None)
        # A late answer that still believes in the old record finds nothing to overwrite, then or later.
        assert store.swap("a", highest, SOME) is False


def test_names_are_exact(store):
    odd = ["a", "A", "a ", "á", "a%", "a_", "a/b", "a/b/c", "日本", "🔑"]
    fill(store, *odd)
    for name in odd:
        assert store.load(name).box == b"box of " + name.encode()


# ── many records ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_come_in_the_order_of_their_code_points(store):
    mixed = ["b", "a/z", "a/B", "a/b", "a-b", "a", "é", "z", "日本", "🔑"]
    fill(store, *mixed)
    assert store.names("", "", 100) == sorted(mixed)


PREFIXES = [
    # prefix, names that begin with it, names that do not and would match a careless pattern or range
    ("app/", ["app/", "app/a", "app/ä"], ["app", "app0", "App/a", "apq/a", "aqp/a"]),
    ("a%", ["a%", "a%b"], ["ab", "abc", "a", "a&b", "a$b"]),
    ("a_", ["a_", "a_b"], ["ab", "aXb", "a", "a`b", "a^b"]),
    ("a\\", ["a\\b"], ["a/b", "a]b", "a"]),
    ("é", ["é", "éa"], ["e", "ê", "è", "f"]),
    ("日", ["日", "日本"], ["旦", "旧", "本"]),
    ("🔑", ["🔑", "🔑a"], ["🔒", "🔐", "a"]),
    ("*", ["*", "**"], ["a", "+"]),
]


@pytest.mark.parametrize(("prefix", "inside", "outside"), PREFIXES, ids=[row[0] for row in PREFIXES])
def test_a_prefix_is_a_prefix_and_no_pattern(store, prefix, inside, outside):
    fill(store, *inside, *outside, due_at=NOON)
    assert store.names(prefix, "", 100) == sorted(inside)
    assert store.due(prefix, NOON, 100) == sorted(inside)
    assert store.count(prefix) == {"active": len(inside)}


def test_no_prefix_means_all(store):
    fill(store, "a", "z", "🔑", due_at=NOON)
    assert store.names("", "", 100) == ["a", "z", "🔑"]
    assert store.due("", NOON, 100) == ["a", "z", "🔑"]
    assert store.count("") == {"active": 3}


def test_pages_give_every_name_once(store):
    wanted = [f"c/{number:03}" for number in range(25)]
    fill(store, *reversed(wanted), "b/1", "d/1")
    got, after = [], ""
    while page := store.names("c/", after, 10):
        assert len(page) <= 10
        got += page
        after = page[-1]
    assert got == wanted


def test_what_lies_before_the_prefix_does_not_begin_the_page(store):
    fill(store, "a/1", "b/1", "b/2")
    assert store.names("b/", "a/1", 10) == ["b/1", "b/2"]
    assert store.names("b/", "b/1", 10) == ["b/2"]
    assert store.names("b/", "c", 10) == []


def test_a_limit_of_nothing_gives_nothing(store):
    fill(store, "a", due_at=NOON)
    append(store, Line(NOON, "cli:me", "app.added", "a"))
    assert (store.names("", "", 0), store.due("", NOON, 0), store.ledger.find(Query(), 0)) == ([], [], [])


def test_what_is_due_comes_the_longest_due_first_and_by_name_among_equals(store):
    fill(store, "late", due_at=NOON - timedelta(minutes=1))
    fill(store, "b", "a", due_at=NOON - timedelta(hours=1))
    fill(store, "longest", due_at=NOON - timedelta(days=400))
    fill(store, "never")
    assert store.due("", NOON, 10) == ["longest", "a", "b", "late"]
    assert store.due("", NOON, 2) == ["longest", "a"]


def test_due_begins_at_the_instant_and_not_a_millisecond_before(store):
    fill(store, "a", due_at=NOON)
    assert store.due("", NOON - timedelta(milliseconds=1), 10) == []
    assert store.due("", NOON, 10) == ["a"]
    assert store.due("", NOON + timedelta(milliseconds=1), 10) == ["a"]


def test_records_are_counted_by_state(store):
    fill(store, "c/1", "c/2", "c/3")
    fill(store, "c/4", state="needs_reconnect")
    fill(store, "d/1", state="app")
    assert store.count("c/") == {"active": 3, "needs_reconnect": 1}
    assert store.count("e/") == {}


# ── the audit log ────────────────────────────────────────────────────────────────────────────────────────────────


def line(number):
    return Line(NOON + timedelta(seconds=number), "cli:me", "refresh.started", f"acme/{number}", "unknown")


def test_lines_are_kept_in_the_order_they_were_written(store):
    # The order of writing, and not of the clock, which may be set back.
    for number in (3, 1, 2):
        append(store, line(number))
    assert [kept.subject for kept in lines_of(store, 10)] == ["acme/3", "acme/1", "acme/2"]


def test_the_last_lines_are_given_the_oldest_of_them_first(store):
    for number in range(5):
        append(store, line(number))
    assert [kept.subject for kept in lines_of(store, 2)] == ["acme/3", "acme/4"]


def test_a_line_is_given_back_as_it_was_written(store):
    told = Line(NOON, "cli:jürgen", "refresh.failed", "acme/a", "failed", "invalid_grant", {"attempt": "q\"'\n日本"})
    append(store, told)
    kept = lines_of(store, 1)[0]
    assert kept == replace(told, writer="w", number=1)
    assert lines_of(store, 1)[0].to_dict()["detail"] == {"attempt": "q\"'\n日本"}


def test_lines_are_found_by_app_and_by_the_kinds_that_begin_alike(store):
    odd = ["acme", "acme/a", "acme/a/b", "acme2", "acme2/a", "acmé/a", "ACME/a", "acm_/a"]
    append(store, *(Line(NOON, "cli:me", "app.added", subject) for subject in odd))
    append(store, *(Line(NOON, "cli:me", kind, "z") for kind in ("refresh.started", "refresh", "refreshed.x")))

    def subjects(**query):
        return [kept.subject for kept in store.ledger.find(Query(**query), 100)]

    assert subjects(app="acme") == ["acme", "acme/a", "acme/a/b"]
    assert subjects(app="acm_") == ["acm_/a"]
    assert subjects(app="acme/a") == ["acme/a", "acme/a/b"]
    assert [kept.kind for kept in store.ledger.find(Query(kind="refresh."), 100)] == ["refresh.started"]
    assert [kept.kind for kept in store.ledger.find(Query(kind="refresh"), 100)] == ["refresh"]


def test_lines_are_found_by_all_that_is_asked_for_at_once(store):
    def told(second, **facts):
        return Line(NOON + timedelta(seconds=second), **{"actor": "cli:me", "kind": "k", "subject": "s", **facts})

    rows = [
        told(0),
        told(1, actor="api:ci"),
        told(2, request="r-1"),
        told(3, fingerprint="f", request="r-1"),
        told(4, outcome="failed"),
    ]
    append(store, *rows)

    def seconds(**query):
        return [int((kept.at - NOON).total_seconds()) for kept in store.ledger.find(Query(**query), 100)]

    assert seconds(actor="api:ci") == [1]
    assert seconds(request="r-1") == [2, 3]
    assert seconds(request="r-1", fingerprint="f") == [3]
    assert seconds(outcome="failed", subject="s") == [4]
    assert seconds(since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=3)) == [1, 2]
    assert seconds(subject="' OR 1=1 --") == []
    after = store.ledger.find(Query(), 100)[1].id
    assert seconds(after=after) == [2, 3, 4]
    assert seconds(before=after) == [0]


def enrolled(store, *names):
    """Write chains of three lines each, which are not truly chained; return their heads."""
    ledger = store.ledger
    for ordinal, name in enumerate(names, 1):
        roster = ledger.head(ROSTER)
        seen = 0 if roster is None else roster.number
        head = Head(name, ordinal, 0, b"begin " + name.encode(), b"floor 0")
        assert ledger.enroll(head, Head(ROSTER, 0, seen + 1, b"roster %d" % (seen + 1), b""), seen)
        lines = [replace(line(number), writer=name, number=number, hash=b"h", signature=b"s") for number in (1, 2, 3)]
        assert ledger.append(lines, head._replace(number=3, box=b"end " + name.encode()), 0)
    return [ledger.head(name) for name in names]


def numbers(store, writer, after=0, limit=100):
    return [kept.number for kept in store.ledger.chain(writer, after, limit)]


def test_a_chain_is_given_in_pages_in_the_order_of_its_numbers(store):
    enrolled(store, "w1", "w2")
    assert numbers(store, "w1") == [1, 2, 3]
    assert numbers(store, "w2", 1, 1) == [2]
    assert numbers(store, "nobody") == []
    assert store.ledger.chain("w1", 0, 1)[0].hash == b"h"


def test_heads_come_in_the_order_of_their_ordinals_the_roster_first(store):
    enrolled(store, "w2", "w1")
    heads = store.ledger.heads()
    assert [(head.writer, head.ordinal) for head in heads] == [("", 0), ("w2", 1), ("w1", 2)]
    assert (heads[1].number, heads[1].box, heads[1].floor) == (3, b"end w2", b"floor 0")


def test_who_has_lines_and_is_not_known_is_a_stray(store):
    enrolled(store, "w1", "w2")
    ledger = store.ledger
    if isinstance(store, HashiCorpStore):
        for number in range(4, 110):  # lines have a secret of their own only when they are many
            head = ledger.head("w2")
            made = replace(line(number), writer="w2", number=number)
            assert ledger.append([made], head._replace(number=number), number - 1)
    assert ledger.strays(["", "w1", "w2"]) == []
    assert ledger.strays(["", "w1"]) == ["w2"]


def test_lines_are_cut_up_to_a_number_once_for_the_floor_that_was_seen(store):
    enrolled(store, "w1", "w2")
    ledger = store.ledger
    assert ledger.cut("w1", 2, b"floor 2", b"other") is False
    assert ledger.cut("nobody", 2, b"floor 2", b"floor 0") is False
    assert numbers(store, "w1") == [1, 2, 3]
    assert ledger.cut("w1", 2, b"floor 2", b"floor 0") is True
    assert (numbers(store, "w1"), numbers(store, "w2")) == ([3], [1, 2, 3])
    assert ledger.head("w1").floor == b"floor 2"
    assert ledger.cut("w1", 3, b"floor 3", b"floor 0") is False
    assert ledger.append([replace(line(4), writer="w1", number=4)], ledger.head("w1")._replace(number=4), 3)
    assert ledger.head("w1").floor == b"floor 2", "who writes leaves the floor alone"
    assert numbers(store, "w1") == [3, 4]


def test_a_writer_whose_lines_are_in_secrets_of_their_own_is_cut_too(store):
    (head,) = enrolled(store, "w1")
    ledger = store.ledger
    for number in range(4, 110):
        made = replace(line(number), writer="w1", number=number)
        assert ledger.append([made], head._replace(number=number, box=b"%d" % number), number - 1)
    assert numbers(store, "w1", 95, 10) == list(range(96, 106))
    assert ledger.cut("w1", 50, b"floor 50", b"floor 0") is True
    assert numbers(store, "w1", 0, 3) == [51, 52, 53]
    assert ledger.cut("w1", 109, b"floor 109", b"floor 50") is True
    assert numbers(store, "w1") == []
    roster = ledger.head(ROSTER)
    assert ledger.retire([ledger.head("w1")], roster._replace(number=2, box=b"gone"), 1) is True
    assert ledger.strays([""]) == []


CHANGED = [{"ordinal": 7}, {"number": 2}, {"box": b"other"}, {"floor": b"other"}, {"writer": "nobody"}]


@pytest.mark.parametrize("change", CHANGED, ids=["ordinal", "number", "box", "floor", "writer"])
def test_heads_are_forgotten_only_as_they_were_seen_and_all_or_none(store, change):
    one, two = enrolled(store, "w1", "w2")
    ledger, roster = store.ledger, store.ledger.head(ROSTER)
    new = roster._replace(number=3, box=b"w1 and w2 are gone")
    assert ledger.retire([one, two._replace(**change)], new, 2) is False
    assert ledger.retire([one, two], new, 1) is False
    assert ledger.heads() == [roster, one, two]
    assert ledger.retire([one, two], new, 2) is True
    assert ledger.heads() == [new]
    assert ledger.append([line(4)], one._replace(number=4), 3) is False, "who was forgotten begins anew"


def test_lines_from_before_chains_are_cut_by_their_time(store):
    enrolled(store, "w1")
    ledger = store.ledger
    assert ledger.unchained(None, 10) == []
    assert ledger.cut_unchained(NOON + timedelta(days=1), 10) == 0
    if not isinstance(store, HashiCorpStore):
        before_chains(store, [line(number) for number in (10, 20, 30)])
        assert [kept.subject for kept in ledger.unchained(None, 2)] == ["acme/10", "acme/20"]
        assert [kept.subject for kept in ledger.unchained(ledger.unchained(None, 2)[-1].id, 2)] == ["acme/30"]
        assert ledger.cut_unchained(NOON + timedelta(seconds=30), 1) == 1
        assert ledger.cut_unchained(NOON + timedelta(seconds=30), 10) == 1
        assert [kept.subject for kept in ledger.unchained(None, 10)] == ["acme/30"]
    assert numbers(store, "w1") == [1, 2, 3]


def before_chains(store, lines):
    """Write lines as a valetkey did before there were chains."""
    if isinstance(store, MemoryStore):
        store.ledger.put(lines)
        return
    table = "audit" if isinstance(store, SqliteStore) else "valetkey_audit"
    marks = ", ".join("?" if isinstance(store, SqliteStore) else "%s" for _ in LINE.split(","))

    def work(connection):
        for one in lines:
            connection.execute(f"INSERT INTO {table} ({LINE}) VALUES ({marks})", written(one))

    store.ledger._work(work)


# ── many callers ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_sixteen_threads_count_by_compare_and_set_and_lose_no_update(store):
    store.swap("counter", 0, Entry("n", b"0"))
    begin, failures = threading.Barrier(16), []

    def count():
        try:
            begin.wait()
            for _ in range(5):
                while True:
                    entry = store.load("counter")
                    if store.swap("counter", entry.version, Entry("n", str(int(entry.box) + 1).encode())):
                        break
        except BaseException as failure:  # noqa: BLE001  # told by the main thread
            failures.append(failure)

    first = store.load("counter").version
    threads = [threading.Thread(target=count) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.load("counter").box == b"80"
    assert store.load("counter").version == first + 80


def test_of_eight_threads_that_create_one_record_one_does(store):
    begin, done = threading.Barrier(8), []

    def create(number):
        begin.wait()
        done.append(store.swap("a", 0, Entry("active", str(number).encode())))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 7 + [True]
