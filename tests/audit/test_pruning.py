"""Forgetting writers in a ledger whose heads and roster are not written together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from valetkey.audit import pruning
from valetkey.audit.chain import ChainKey, first, floor_purpose, head_purpose
from valetkey.audit.ledger import Head
from valetkey.audit.memory import MemoryLedger
from valetkey.audit.recorder import Recorder
from valetkey.audit.verifying import Known, examine
from valetkey.effects import Event
from valetkey.values import Secret

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))


def filled():
    ledger = MemoryLedger()
    recorder = Recorder(ledger, lambda: KEY, clock=lambda: NOON, actor="cli:me")
    recorder.note(Event("app.added", "new"))
    return ledger


def without_a_line(name, ordinal):
    start = first(KEY.vault_id, name)
    box, floor = (KEY.boxed(purpose(name, ordinal), start) for purpose in (head_purpose, floor_purpose))
    return Head(name, ordinal, 0, box, floor)


def test_a_head_that_a_crash_left_does_not_take_the_writer_with_its_ordinal_along():
    ledger = filled()
    for orphan in (without_a_line("same", 1), without_a_line("next", 2)):
        ledger._heads[orphan.writer] = orphan
    assert pruning.retire(ledger, KEY) == 0
    assert examine(ledger, Known(KEY, begun=True)).findings == ()


def test_a_roster_that_others_change_all_the_time_is_left_to_the_next_prune():
    class Contested(MemoryLedger):
        """A ledger in which somebody else is always faster."""

        def retire(self, heads, roster, seen):
            return False

    ledger = filled()
    ledger.__class__ = Contested
    plan = list(pruning.planned(ledger, KEY, NOON + timedelta(seconds=1)))
    assert pruning.cut(ledger, KEY, plan) == 2
    assert pruning.retire(ledger, KEY) == 0
    assert pruning.retirable(ledger, KEY)
    assert examine(ledger, Known(KEY, begun=True)).findings == ()
