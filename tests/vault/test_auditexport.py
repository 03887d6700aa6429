"""Exports of the audit log: proven with the vault's key or the public key alone, and what an older one shows of a vault."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta

import pytest

import valetkey
from auditkit import Log, log_of
from valetkey.audit import exporting
from valetkey.audit.chain import link_of
from valetkey.audit.files import examine_file
from valetkey.effects import Event
from valetkey.errors import AlreadyExists, AuditBroken, InvalidInput, StoreUnavailable

HOW = ["vault", "public"]


@pytest.fixture(params=["sqlite", "postgres"])
def log(request):
    return log_of(request, Log.filled)


class Export:
    """Be an export in a file, with a hand that edits it."""

    def __init__(self, log, file):
        self.log, self.file = log, file
        with valetkey.open(log.where, create=False) as vault:
            self.written = vault.audit.export(file)
            self.public = bytes.fromhex(vault.audit.public_key())
        self.records = [json.loads(line) for line in file.read_text().splitlines()]

    def write(self):
        self.file.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in self.records))

    def place(self, number, writer=1):
        """Return where a line of a writer is in the file."""
        name = self.log.writers[writer]
        return next(
            place for place, one in enumerate(self.records) if one.get("writer") == name and one["number"] == number
        )

    def head(self, writer=1):
        return next(place for place, one in enumerate(self.records) if one.get("head") == self.log.writers[writer])

    def report(self, how):
        with self.file.open("rb") as records:
            if how == "public":
                return examine_file(records, public=self.public)
            with valetkey.open(self.log.where, create=False) as vault:
                return vault.audit.examine_file(records)

    def found(self, how):
        known = dict(zip(self.log.writers, "abc", strict=False))
        return [(one.reason, known.get(one.writer, one.writer), one.number) for one in self.report(how).findings]


@pytest.fixture
def export(log, tmp_path):
    return Export(log, tmp_path / "log.jsonl")


@pytest.fixture
def kept(tmp_path):
    """Return an export of a log on disk: what is in a file does not depend on where it came from."""
    return Export(Log(tmp_path / "vault.db").filled(), tmp_path / "log.jsonl")


@pytest.mark.parametrize("how", HOW)
def test_an_export_is_proven(export, how):
    report = export.report(how)
    assert report.findings == ()
    assert [(chain.ordinal, chain.lines) for chain in report.chains] == [(1, 3), (2, 7), (3, 4)]
    assert report.lines == export.written.lines
    assert stat.S_IMODE(export.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("how", HOW)
def test_a_pruned_log_is_exported_and_proven(log, tmp_path, how):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "old"))
        audit._clock = lambda: datetime.now(UTC)
        audit.note(Event("app.added", "new"))
    with valetkey.open(log.where) as vault:
        assert vault.audit.prune(datetime.now(UTC) - timedelta(days=50)).lines == 2
    report = Export(log, tmp_path / "log.jsonl").report(how)
    assert report.findings == ()
    assert sum(chain.pruned for chain in report.chains) == 2


def test_pages_of_two_lines_are_the_same_export(export, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "PAGE", 2)
    again = Export(export.log, tmp_path / "again.jsonl")
    assert again.records[1:-1] == export.records[1:-1]


def test_a_file_that_is_there_is_left_alone(export):
    before = export.file.read_bytes()
    with pytest.raises(AlreadyExists):
        Export(export.log, export.file)
    assert export.file.read_bytes() == before


# ── somebody edits the file ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", "2026-01-01T00:00:00.000+00:00"),
        ("actor", "cli:mallory"),
        ("subject", "x"),
        ("detail", {"n": "5"}),
        ("hash", "00" * 32),
        ("hash", "no hexadecimal"),
        ("number", "4"),
        ("fingerprint", "f"),
    ],
)
def test_a_line_that_was_edited_is_named(kept, how, name, value):
    kept.records[kept.place(4)][name] = value
    kept.write()
    assert kept.found(how)[0] == ("edited", "b", 4)
    assert kept.found(how)[-1][0] == "export_changed"


@pytest.mark.parametrize("how", HOW)
def test_lines_that_were_removed_swapped_or_put_in_are_named(kept, how):
    records = list(kept.records)

    def found():
        kept.write()
        named, kept.records = kept.found(how), list(records)
        return named

    del kept.records[kept.place(4)]
    assert found()[0] == ("removed", "b", 4)
    del kept.records[kept.place(7)]
    assert found()[0] == ("tail_cut", "b", 7)
    one, other = kept.place(3), kept.place(5)
    kept.records[one], kept.records[other] = (
        {**kept.records[other], "number": 3},
        {**kept.records[one], "number": 5},
    )
    assert found()[0] == ("reordered", "b", 3)
    kept.records.insert(kept.place(7) + 1, {**kept.records[kept.place(7)], "number": 8})
    assert found()[0] == ("inserted", "b", 8)
    kept.records.insert(kept.place(7) + 1, {**kept.records[kept.place(2, 2)]})
    assert found()[0] == ("stray", "c", 2)
    kept.records.insert(
        kept.place(7) + 1,
        {"at": "2026-01-01T00:00:00+00:00", "kind": "k", "subject": "s", "outcome": "ok", "actor": "a"},
    )
    assert found() == [("export_changed", "", 0)]


@pytest.mark.parametrize("how", HOW)
def test_a_writer_that_is_gone_is_missed(kept, how):
    del kept.records[kept.head() : kept.head(2)]
    kept.write()
    first = kept.report(how).findings[0]
    assert (first.reason, first.ordinal) == ("writer_missing", 2)


def test_an_end_that_was_cut_with_its_head_is_seen_by_both(kept):
    del kept.records[kept.place(7)]
    head = kept.records[kept.head()]
    last = kept.records[kept.place(6)]
    link = link_of(bytes.fromhex(last["hash"]), bytes.fromhex(last["signature"]))
    head["number"], head["box"] = 6, (6).to_bytes(8, "big").hex() + link.hex() + head["box"][80:]
    kept.write()
    assert kept.found("vault")[0] == ("head_forged", "b", 6)
    assert kept.found("public") == [("export_changed", "", 0)], "the closing line is what holds the ends"


@pytest.mark.parametrize("how", HOW)
def test_a_closing_line_that_is_gone_or_another_one_is_named(kept, how):
    records = list(kept.records)
    closing = kept.records.pop()
    kept.write()
    assert kept.found(how) == [("export_cut", "", 0)]
    kept.records = [*records, closing]
    kept.write()
    assert kept.found(how) == [("export_changed", "", 0)]
    kept.records = [*records[:-1], {**closing, "signature": records[kept.place(7)]["signature"]}]
    kept.write()
    assert kept.found(how) == [("export_changed", "", 0)]
    kept.records = [*records[:-1], {**closing, "closing": "00" * 32}]
    kept.write()
    assert kept.found(how) == [("export_changed", "", 0)]
    kept.records = [*records[:-1], {"closing": closing["closing"]}]
    kept.write()
    assert kept.found(how) == [("export_unsigned", "", 0)]


@pytest.mark.parametrize("how", HOW)
def test_a_roster_that_was_edited_is_named(kept, how):
    del kept.records[1]
    kept.write()
    assert ("roster_missing", "", 0) in kept.found(how)


def test_an_export_is_not_taken_by_another_key_or_for_another_vault(kept, tmp_path):
    other = Export(Log(tmp_path / "other.db").filled(), tmp_path / "other.jsonl")
    with kept.file.open("rb") as records:
        assert examine_file(records, public=other.public).findings[0].reason == "edited"
    with (
        valetkey.open(other.log.where) as vault,
        kept.file.open("rb") as records,
        pytest.raises(InvalidInput, match="another vault"),
    ):
        vault.audit.examine_file(records)
    for key in (b"", b"x", b"x" * 31):
        with pytest.raises(InvalidInput, match="public key"):
            examine_file([json.dumps(kept.records[0]).encode()], public=key)


@pytest.mark.parametrize("head", [b"", b"{}", b"[]", b"\xff", b'{"valetkey":"audit export","version":2,"vault":"00"}'])
def test_what_is_no_export_is_refused(head):
    with pytest.raises(InvalidInput):
        examine_file([head], public=b"x" * 32)


# ── a log that does not hold, or changes ─────────────────────────────────────────────────────────────────────────


def test_a_log_that_does_not_hold_is_written_down_and_not_signed(log, tmp_path):
    log.sql(f"UPDATE {{t}}audit SET subject = 'x' WHERE writer = '{log.writers[1]}' AND number = 4")
    export = Export(log, tmp_path / "log.jsonl")
    assert [one.reason for one in export.written.findings] == ["edited"]
    assert export.found("public") == [("edited", "b", 4), ("export_unsigned", "", 0)]
    assert len([one for one in export.records if one.get("subject") == "x"]) == 1


def test_a_log_that_is_pruned_in_mid_export_is_not_half_exported(log, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "PAGE", 2)
    with valetkey.open(log.where) as vault:
        report, records = vault.audit.records()
        given = [next(records) for _ in range(4)]
        store = log.store()
        head = store.ledger.head(log.writers[0])
        assert store.ledger.cut(head.writer, 3, b"floor", head.floor)
        store.close()
        with pytest.raises(StoreUnavailable, match="pruned"):
            given += list(records)
    assert report.findings == ()


# ── an older export shows that the vault was put back ────────────────────────────────────────────────────────────


def against(log, export):
    known = dict(zip(log.writers, "abcd", strict=False))
    with valetkey.open(log.where, create=False) as vault:
        found = vault.audit.examine_against(export.file).findings
    return [(one.reason, known.get(one.writer, one.writer), one.number) for one in found]


def test_a_log_that_went_on_and_was_pruned_goes_on_from_its_export(log, tmp_path):
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "d2"))
        earlier = Export(log, tmp_path / "log.jsonl")
        audit._clock = lambda: datetime.now(UTC)
        audit.note(Event("app.added", "d3"))
    with log.writer(days_ago=100) as audit:
        audit.note(Event("app.added", "e2"))
    export = Export(log, tmp_path / "later.jsonl")
    assert against(log, export) == []
    with valetkey.open(log.where) as vault:
        assert vault.audit.prune(datetime.now(UTC) - timedelta(days=50)).writers == 1
    assert against(log, export) == []
    assert against(log, earlier) == []


def test_a_writer_that_was_put_back_to_an_older_end_is_seen_by_an_export_alone(log, tmp_path):
    with log.writer() as audit:
        audit.note(Event("app.added", "d2"))
        older = log.sql("SELECT number, box FROM {t}audit_heads WHERE writer = ?", audit.writer)[0]
        audit.note(Event("app.added", "d3"))
        export = Export(log, tmp_path / "log.jsonl")
    mine = f"WHERE writer = '{log.writers[3]}'"
    log.sql(f"DELETE FROM {{t}}audit {mine} AND number > 2")
    log.sql(f"UPDATE {{t}}audit_heads SET number = ?, box = ? {mine}", *older)
    assert log.found() == [], "docs/audit.md says so: from inside it is an older log that holds"
    assert against(log, export) == [("rolled_back", "d", 3)]


def test_writers_that_are_gone_with_a_roster_of_before_are_seen_by_an_export_alone(log, tmp_path):
    roster = log.sql("SELECT number, box FROM {t}audit_heads WHERE writer = ''")[0]
    with log.writer() as audit:
        audit.note(Event("app.added", "d2"))
    export = Export(log, tmp_path / "log.jsonl")
    for table in ("audit", "audit_heads"):
        log.sql(f"DELETE FROM {{t}}{table} WHERE writer = '{log.writers[3]}'")
    log.sql("UPDATE {t}audit_heads SET number = ?, box = ? WHERE writer = ''", *roster)
    assert log.found() == []
    assert against(log, export) == [("rolled_back", "d", 1)]


def test_an_export_that_does_not_hold_proves_nothing_against_a_log(kept):
    kept.records[kept.place(4)]["subject"] = "x"
    kept.write()
    with pytest.raises(AuditBroken):
        against(kept.log, kept)
