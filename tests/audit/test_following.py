"""Following a log: each line once, late ones too, and what is remembered of those that were seen does not grow."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from valetkey.audit import following
from valetkey.audit.following import OVERLAP_SECONDS, Window
from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.audit.memory import MemoryLedger

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def line(number):
    return Line(NOON, "cli:me", "app.added", f"s{number}", writer="w", number=number)


def subjects(window, ledger):
    return [found.subject for found in window.fresh(ledger)]


def test_each_line_is_given_once_in_pages_of_any_size(monkeypatch):
    monkeypatch.setattr(following, "PAGE", 2)
    ledger = MemoryLedger()
    window = Window()
    for first, last in ((1, 5), (6, 6), (7, 10)):
        ledger.put([line(number) for number in range(first, last + 1)])
        assert subjects(window, ledger) == [f"s{number}" for number in range(first, last + 1)]
    assert subjects(window, ledger) == []


def test_what_was_shown_is_not_given_again():
    ledger = MemoryLedger()
    ledger.put([line(number) for number in range(1, 6)])
    window = Window(ledger.find(Query(), 2))
    assert subjects(window, ledger) == []
    ledger.put([line(6)])
    assert subjects(window, ledger) == ["s6"]


def test_a_line_that_is_late_is_given_within_the_overlap_and_what_is_older_is_forgotten():
    now = [0.0]
    ledger = MemoryLedger()
    ledger.put([line(1)])
    window = Window(ledger.find(Query(), 1), lambda: now[0])
    ledger._lines = [replace(line(number), id=number) for number in (1, 5)]
    assert subjects(window, ledger) == ["s5"]
    now[0] = OVERLAP_SECONDS - 1
    ledger._lines.insert(1, replace(line(3), id=3))
    assert subjects(window, ledger) == ["s3"]
    now[0] = 2 * OVERLAP_SECONDS
    assert subjects(window, ledger) == []
    assert window._seen == {}
    ledger._lines.append(replace(line(6), id=6))
    assert subjects(window, ledger) == ["s6"]
