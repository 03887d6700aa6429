"""What people see: nothing that drives a terminal, columns that line up, times in words."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

from valetkey.cli import show

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("nasty", ["\x1b[2J", "a\rb", "a\nb", "a\x00b", "\u202egpj.exe", "\x9b31m", "\u200b"])
def test_nothing_shown_can_drive_a_terminal(nasty):
    shown = show.clean(nasty)
    assert shown.isprintable()
    assert len(shown) == len(nasty)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(seconds=30), "in 30 s"),
        (timedelta(seconds=119), "in 119 s"),
        (timedelta(minutes=2), "in 2 min"),
        (timedelta(hours=3), "in 3 h"),
        (timedelta(days=2), "in 2 days"),
        (timedelta(0), "0 s ago"),
        (-timedelta(hours=5), "5 h ago"),
    ],
)
def test_times_are_told_as_people_compare_them(ahead, words):
    assert show.distance(NOON + ahead, now=NOON) == words


def test_no_time_is_said_in_words():
    assert (show.distance(None), show.moment(None, "not said")) == ("never", "not said")


def test_columns_line_up_and_carry_no_colour_where_the_output_is_no_terminal(capsys):
    show.table(("NAME", "STATE"), [("google/alice", "active"), ("x/y", "needs_reconnect")])
    assert capsys.readouterr().out == "NAME          STATE\ngoogle/alice  active\nx/y           needs_reconnect\n"


def test_a_terminal_gets_colour_and_no_color_is_obeyed(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show.table(("NAME", "STATE"), [("a/b", "active")])
    assert "\x1b[32mactive" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    show.table(("NAME", "STATE"), [("a/b", "active")])
    assert capsys.readouterr().out == "NAME  STATE\na/b   active\n"


def test_facts_that_are_empty_are_left_out(capsys):
    show.facts({"name": "a/b", "hosts": "", "kept": (), "count": 0})
    assert capsys.readouterr().out == "name   a/b\ncount  0\n"


def test_a_terminal_gets_lines_it_has_room_for_and_a_pipe_gets_them_whole(capsys, monkeypatch):
    row = ("acme", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen")
    show.table(("KEY", "ABOUT"), [row])
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    show.table(("KEY", "ABOUT"), [row])
    show.facts({"about": row[1], "address": f"https://acme.example/{'x' * 60}"})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 40 and "https" not in line] == []
    assert " ".join(line[6:].strip() for line in lines[1:4]) == row[1]
    assert f"https://acme.example/{'x' * 60}" in lines[-1]  # an address is never cut
