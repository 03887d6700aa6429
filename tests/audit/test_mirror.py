"""The copy of the audit log in a file: whole lines, for its owner alone, rotated by others, and never in the way."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from valetkey.audit import mirror
from valetkey.audit.chain import ChainKey
from valetkey.audit.ledger import Query
from valetkey.audit.line import Line
from valetkey.audit.memory import MemoryLedger
from valetkey.audit.mirror import Mirror, mirror_to
from valetkey.audit.recorder import Recorder
from valetkey.effects import Event
from valetkey.errors import InvalidInput
from valetkey.values import Secret

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = ChainKey(b"a-vault!", Secret("11" * 32), Secret("22" * 32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def recording(to, ledger=None):
    recorder = Recorder(ledger or MemoryLedger(), lambda: KEY, clock=lambda: NOON, actor="cli:me")
    recorder.mirror(mirror_to(to))
    return recorder


def kinds(path):
    return [json.loads(line)["kind"] for line in path.read_text().splitlines()]


def a_line(number=1):
    return Line(NOON, "cli:me", "app.added", f"acme-{number}")


def test_every_line_is_in_the_file_as_it_is_in_the_chain_and_the_file_is_its_owners(path):
    ledger = MemoryLedger()
    before = os.umask(0)
    try:
        recorder = recording(path, ledger)
    finally:
        os.umask(before)
    recorder.note(Event("app.added", "acme", detail={"provider": "ä\n日"}))
    recorder.tell(Event("token.handed_out", "acme/a", detail={"fingerprint": "f"}))
    recorder.close()
    read = [Line.from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line.kind for line in read] == ["audit.begun", "app.added", "token.handed_out"]
    assert read == ledger.find(Query(), 10)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"


def test_a_line_that_was_not_committed_is_not_in_the_file(path):
    class Down(MemoryLedger):
        def append(self, *_):
            return False

    recorder = recording(path, Down())
    with pytest.raises(Exception, match="replaced"):
        recorder.note(Event("app.added", "acme"))
    assert path.read_text() == ""


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be renamed elsewhere")
def test_a_file_that_was_renamed_or_removed_is_left_and_a_new_one_is_made(path):
    recorder = recording(path)
    recorder.note(Event("app.added", "one"))
    path.rename(path.with_suffix(".1"))
    recorder.note(Event("app.removed", "one"))
    assert kinds(path.with_suffix(".1")) == ["audit.begun", "app.added"]
    assert kinds(path) == ["app.removed"]
    path.unlink()
    recorder.note(Event("app.added", "two"))
    assert kinds(path) == ["app.added"]


def test_a_full_disk_fails_nobody_and_is_said_once_with_a_count(path, caplog):
    copy, full = mirror_to(path), True

    def write(data, write=copy._write):
        if full:
            raise OSError(28, "No space left on device")
        write(data)

    copy._write = write
    for number in range(3):
        copy([a_line(number), a_line(number)], KEY)
    assert copy.missing == 6
    full = False
    copy([a_line(9)], KEY)
    assert copy.missing == 0
    said = [record.getMessage() for record in caplog.records if record.name == "valetkey.audit"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "No space left on device" in said[0]
    assert "6 lines are missing" in said[1]
    assert len(kinds(path)) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_the_disk_that_is_always_full_fails_nobody(caplog):
    with os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0) as full:
        copy = Mirror("there", lambda data: full.write(data) and None)
        copy([a_line()], KEY)
    assert copy.missing == 1
    assert "No space left on device" in caplog.text


def test_a_line_that_was_cut_is_not_glued_to_the_next(path):
    path.write_bytes(b'{"kind":"app.ad')
    mirror_to(path)([a_line()], KEY)
    cut, whole = path.read_text().splitlines()
    assert (cut, json.loads(whole)["kind"]) == ('{"kind":"app.ad', "app.added")


def test_a_write_that_was_cut_short_is_counted(path, monkeypatch):
    copy = mirror_to(path)
    write = os.write
    with monkeypatch.context() as short:
        short.setattr(mirror.os, "write", lambda file, data: write(file, data[:10]))
        copy([a_line()], KEY)
    assert copy.missing == 1
    copy([a_line()], KEY)
    assert [line[:1] for line in path.read_text().splitlines()] == ["{", "{"]
    assert kinds_of_whole(path) == ["app.added"]


def kinds_of_whole(path):
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line)["kind"])
        except ValueError:
            continue
    return found


def test_many_who_share_a_file_cut_no_line(path):
    def work(number):
        copy = mirror_to(path)
        for _ in range(40):
            copy([a_line(number)] * 25, KEY)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kinds(path)) == 4 * 40 * 25


@pytest.mark.parametrize("what", ["a folder", "no such folder", "a pipe", "not ours to write"])
def test_where_nothing_can_be_appended_is_refused_at_once(tmp_path, what):
    place = tmp_path / "place"
    if what == "a folder":
        place.mkdir()
    elif what == "no such folder":
        place = place / "audit.jsonl"
    elif what == "a pipe":
        os.mkfifo(place)
    else:
        if os.geteuid() == 0:
            pytest.skip("root writes everywhere")
        place.touch(0o400)
    with pytest.raises(InvalidInput, match="cannot be copied"):
        mirror_to(place)


def test_the_variable_names_it_where_nobody_says(path, monkeypatch):
    assert mirror_to(None) is None
    monkeypatch.setenv("VALETKEY_AUDIT_LOG", str(path))
    assert mirror_to(None).where == str(path)
    assert mirror_to(path.with_name("other")).where == str(path.with_name("other"))


PROGRAM = """
import sys
from datetime import UTC, datetime
from valetkey.audit.chain import ChainKey
from valetkey.audit.line import Line
from valetkey.audit.mirror import mirror_to
copy = mirror_to("-")
print("before", end="\\n")
copy([Line(datetime.now(UTC), "cli:me", "app.added", "acme")], None)
sys.stdout.close() if "close" in sys.argv else None
copy([Line(datetime.now(UTC), "cli:me", "app.added", "acme")], None)
sys.stderr.write(str(copy.missing))
"""


def test_standard_output_is_written_in_order(path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    first, *lines = done.stdout.splitlines()
    assert (first, [json.loads(line)["kind"] for line in lines]) == ("before", ["app.added"] * 2)
    assert done.stderr == "0"


def test_standard_output_that_is_closed_fails_nobody():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "close"], capture_output=True, text=True, check=True, timeout=60
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.endswith("1")
