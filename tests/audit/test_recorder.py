"""The writer of the audit log: chains that hold, one commit for many, and what becomes of events when the store is down."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime

import pytest

from valetkey.audit.chain import ChainKey, Stand, chained, first, hash_of, head_purpose, link_of
from valetkey.audit.ledger import ROSTER, Query
from valetkey.audit.line import Line
from valetkey.audit.memory import MemoryLedger
from valetkey.audit.recorder import BATCH, QUEUE_MOST, Recorder
from valetkey.audit.roster import Roster
from valetkey.audit.tally import Tallies
from valetkey.audit.who import acting
from valetkey.audit.writer import read_roster
from valetkey.effects import Event
from valetkey.errors import StoreUnavailable, VaultDamaged
from valetkey.values import Secret

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))


class Ledger(MemoryLedger):
    """A ledger that counts its commits, can be down, and can lose an answer."""

    def __init__(self):
        super().__init__()
        self.commits, self.down, self.loses = 0, False, False

    def append(self, lines, head, seen):
        if self.down:
            raise StoreUnavailable("the disk is full")
        self.commits += 1
        done = super().append(lines, head, seen)
        if self.loses:
            self.loses = False
            raise StoreUnavailable("nobody knows")
        return done


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def recorder(ledger):
    made = Recorder(ledger, lambda: KEY, clock=lambda: NOON, actor="cli:me")
    yield made
    ledger.down = False
    made.close()


def kinds(ledger):
    return [line.kind for line in ledger.find(Query(), 10**6)]


def holds(ledger, writer):
    """Check a whole chain by the words of chain.py: every hash, the signature at its end, and its sealed head."""
    link, number, signature, hashed = first(KEY.vault_id, writer).link, 0, b"", b""
    for line in ledger.chain(writer, 0, 10**6):
        number += 1
        assert line.number == number
        hashed, signature = hash_of(link, line), line.signature
        assert line.hash == hashed
        link = link_of(hashed, signature)
    assert KEY.signed().holds("line", hashed, signature)
    head = ledger.head(writer)
    assert KEY.unboxed(head_purpose(writer, head.ordinal), head.box) == Stand(number, link)
    return number


def test_what_is_noted_is_there_when_the_call_returns_and_the_chain_holds(recorder, ledger):
    recorder.note(Event("app.added", "acme"))
    assert kinds(ledger) == ["audit.begun", "app.added"]
    assert holds(ledger, recorder.writer) == 2


def test_a_line_says_who_acts_for_whom_in_which_request(recorder, ledger):
    with acting("api:billing", request="r-1"):
        recorder.note(Event("app.added", "acme", detail={"fingerprint": "abc"}))
    line = ledger.find(Query(request="r-1"), 10)[-1]
    assert (line.actor, line.request, line.fingerprint) == ("api:billing", "r-1", "abc")


def test_what_cannot_be_written_is_an_error_for_who_noted_it(recorder, ledger):
    ledger.down = True
    with pytest.raises(StoreUnavailable):
        recorder.note(Event("refresh.started", "acme/a"))
    ledger.down = False
    recorder.note(Event("app.added", "acme"))
    assert kinds(ledger) == ["audit.begun", "app.added"]


def test_to_look_at_a_log_makes_no_key_for_it(ledger):
    def key():
        raise AssertionError("nothing is written")

    recorder = Recorder(ledger, key, clock=lambda: NOON, actor="cli:me")
    assert recorder.flush() is True
    assert (ledger.commits, ledger.heads()) == (0, [])


def test_what_was_told_waits_for_a_store_that_is_down(recorder, ledger):
    ledger.down = True
    recorder.tell(Event("token.handed_out", "acme/a"))
    assert recorder.flush() is False
    ledger.down = False
    assert recorder.flush() is True
    assert kinds(ledger) == ["audit.begun", "token.handed_out"]


def test_a_full_queue_counts_what_it_loses_and_says_so(recorder, ledger):
    ledger.down = True
    told = 2 * QUEUE_MOST
    for _ in range(told):
        recorder.tell(Event("token.handed_out", "acme/a"))
    ledger.down = False
    assert recorder.flush() is True
    lost = ledger.find(Query(kind="audit.lost"), 10)
    written = len(ledger.find(Query(kind="token.handed_out"), told))
    assert QUEUE_MOST <= written <= QUEUE_MOST + BATCH, "what is being committed when the queue is full comes on top"
    assert written + sum(int(line.detail["count"]) for line in lost) == told
    assert holds(ledger, recorder.writer) == 1 + written + len(lost)


def test_an_answer_that_was_lost_is_found_out_and_nothing_is_written_twice(recorder, ledger):
    recorder.note(Event("app.added", "acme"))
    recorder.tell(Event("token.handed_out", "acme/a"))
    ledger.loses = True
    assert recorder.flush() is False
    assert recorder.flush() is True
    assert kinds(ledger) == ["audit.begun", "app.added", "token.handed_out"]
    assert holds(ledger, recorder.writer) == 3


def test_threads_that_note_at_once_share_commits_and_one_chain(recorder, ledger):
    def work(number):
        for step in range(50):
            recorder.note(Event("app.added", f"a{number}-{step}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert holds(ledger, recorder.writer) == 401
    assert ledger.commits <= 400


def test_the_same_thing_again_is_counted_and_not_written_each_time(recorder, ledger):
    for _ in range(1000):
        recorder.count(Event("token.handed_out", "acme/a", detail={"fingerprint": "f"}))
    recorder.flush()
    found = ledger.find(Query(kind="token.handed_out"), 10)
    assert [line.detail.get("count", "1") for line in found] == ["1", "999"]
    assert {line.fingerprint for line in found} == {"f"}


def test_what_has_a_request_is_told_each_time(recorder, ledger):
    for number in range(3):
        with acting("api:ci", request=f"r-{number}"):
            recorder.count(Event("token.handed_out", "acme/a"))
    recorder.flush()
    assert [line.request for line in ledger.find(Query(kind="token."), 10)] == ["r-0", "r-1", "r-2"]


def test_a_store_that_was_rolled_back_gets_a_new_chain_and_keeps_the_old_one_as_it_is(recorder, ledger):
    recorder.note(Event("app.added", "acme"))
    before = ledger.head(recorder.writer)
    recorder.note(Event("app.removed", "acme"))
    old = recorder.writer
    ledger._heads[old] = before
    recorder.note(Event("app.added", "other"))
    assert recorder.writer != old
    assert holds(ledger, recorder.writer) == 2


def test_two_writers_are_counted_in_the_roster(ledger):
    recorders = [Recorder(ledger, lambda: KEY, clock=lambda: NOON, actor="a") for _ in range(3)]
    for recorder in recorders:
        recorder.note(Event("app.added", "acme"))
    assert read_roster(ledger, KEY) == (3, Roster(3))
    assert [head.ordinal for head in ledger.heads()] == [0, 1, 2, 3]


def test_a_roster_that_was_edited_is_not_written_over(recorder, ledger):
    recorder.note(Event("app.added", "acme"))
    roster = ledger.head(ROSTER)
    ledger._heads[ROSTER] = roster._replace(box=roster.box[:-1] + b"x")
    other = Recorder(ledger, lambda: KEY, clock=lambda: NOON, actor="a")
    with pytest.raises(VaultDamaged, match="roster"):
        other.note(Event("app.added", "acme"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_a_writer_of_its_own_and_leaves_the_parents_events_alone(recorder, ledger):
    recorder.note(Event("app.added", "acme"))
    recorder._queue.clear()
    recorder.forked()
    recorder.note(Event("app.added", "child"))
    assert read_roster(ledger, KEY)[1].writers == 2


def test_pruned_writers_become_ranges():
    roster = Roster(9).without([2, 3]).without([5]).without([4])
    assert roster.gone == ((2, 5),)
    assert roster.expected() == [1, 6, 7, 8, 9]


def test_what_was_not_used_for_a_whole_window_is_forgotten():
    now, told = [0.0], []
    tallies = Tallies(lambda key, count, seconds: told.append((key, count, seconds)), lambda: now[0])
    tally = tallies.begin("a")
    tally.use()
    now[0] = 60.0
    tallies.due()
    assert (told, len(tallies)) == ([("a", 1, 60.0)], 1)
    now[0] = 120.0
    tallies.due()
    assert (len(told), len(tallies)) == (1, 0)


def test_a_line_reads_back_as_it_was_written():
    made, _ = chained(KEY, "w", first(KEY.vault_id, "w"), [Line(NOON, "cli:jürgen", "a.b", "日本", detail={"x": "\n"})])
    assert Line.from_dict(made[0].to_chained_dict()) == made[0]
