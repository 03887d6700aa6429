"""Looking at a log in memory: what was there before chains, and what others do between two looks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from valetkey.audit.chain import ChainKey, first
from valetkey.audit.ledger import ROSTER
from valetkey.audit.line import Line
from valetkey.audit.memory import MemoryLedger
from valetkey.audit.recorder import Recorder
from valetkey.audit.report import REASONS, Report
from valetkey.audit.roster import Roster
from valetkey.audit.verifying import Known, examine
from valetkey.audit.walk import Walk
from valetkey.effects import Event
from valetkey.values import Secret

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))
OLD = Line(NOON, "cli:me", "app.added", "old")


def recorder(ledger):
    return Recorder(ledger, lambda: KEY, clock=lambda: NOON, actor="cli:me")


def reasons(report):
    return [finding.reason for finding in report.findings]


def test_lines_from_before_chains_are_counted_and_not_proven():
    ledger = MemoryLedger()
    ledger.put([OLD, OLD])
    recorder(ledger).note(Event("app.added", "new"))
    report = examine(ledger, Known(KEY, begun=True))
    assert (report.findings, report.unchained, report.lines) == ((), 2, 2)
    assert reasons(examine(ledger, Known(KEY, begun=True, chained_only=True))) == ["unchained"]


def test_a_line_without_a_chain_that_came_after_chains_is_named():
    ledger = MemoryLedger()
    ledger.put([OLD])
    recorder(ledger).note(Event("app.added", "new"))
    ledger.put([OLD])
    report = examine(ledger, Known(KEY, begun=True))
    assert (reasons(report), report.unchained) == (["unchained"], 1)


def test_a_log_without_lines_and_without_a_key_is_whole():
    assert examine(MemoryLedger(), Known(None)) == Report()


def test_who_begins_and_who_goes_on_in_mid_look_raises_no_alarm():
    writers = []

    class Busy(MemoryLedger):
        """A ledger in which each look at a chain is followed by another line, and one by another writer."""

        def chain(self, writer, after, limit):
            found = super().chain(writer, after, limit)
            if len(writers) < 6:
                writers.append(recorder(self))
                for one in writers:
                    one.note(Event("app.added", "meanwhile"))
            return found

        def heads(self):
            found = super().heads()
            one = recorder(self)
            one.note(Event("app.added", "between heads and chains"))
            return found

    ledger = Busy()
    recorder(ledger).note(Event("app.added", "new"))
    report = examine(ledger, Known(KEY, begun=True))
    assert report.findings == ()
    assert len(report.chains) > 1


def test_who_was_enrolled_between_two_reads_of_one_listing_raises_no_alarm():
    class Apart(MemoryLedger):
        """A ledger that reads the roster before the heads, and lets a writer begin in between, once."""

        early = False

        def heads(self):
            if self.early:
                return super().heads()
            self.early = True
            roster = self.head(ROSTER)
            recorder(self).note(Event("app.added", "new"))
            return [roster, *[head for head in super().heads() if head.writer != ROSTER]]

    ledger = Apart()
    recorder(ledger).note(Event("app.added", "new"))
    assert examine(ledger, Known(KEY, begun=True)).findings == ()


def test_a_writer_without_a_line_proves_nothing_and_harms_nothing():
    ledger = MemoryLedger()
    one = recorder(ledger)
    one.note(Event("app.added", "new"))
    head = ledger.head(one.writer)
    ledger._heads["orphan"] = head._replace(
        writer="orphan",
        number=0,
        box=KEY.boxed("head 1 orphan", (0, b"x" * 32)),
        floor=KEY.boxed("floor 1 orphan", (0, b"x" * 32)),
    )
    assert examine(ledger, Known(KEY, begun=True)).findings == ()


def test_whether_a_writer_is_gone_is_known_by_its_ordinal():
    roster = Roster(9, ((2, 3), (5, 5)))
    assert [number for number in range(1, 10) if roster.is_gone(number)] == [2, 3, 5]


def test_a_walk_stays_before_what_does_not_hold():
    ledger = MemoryLedger()
    one = recorder(ledger)
    for name in "abc":
        one.note(Event("app.added", name))
    lines = ledger.chain(one.writer, 0, 10)
    walk = Walk(one.writer, 1, first(KEY.vault_id, one.writer), KEY.signed())
    assert walk.along(lines[:2]) is None
    assert walk.along([lines[3]]).reason == "removed"
    assert walk.stand.number == 2
    assert walk.along(lines[2:]) is None


@pytest.mark.parametrize("word", REASONS)
def test_every_reason_stands_in_the_page(word, docs_text):
    assert f"`{word}`" in docs_text


@pytest.fixture
def docs_text(pytestconfig):
    return (pytestconfig.rootpath / "docs" / "audit.md").read_text(encoding="utf-8")
