"""`valetkey keep`, `forecast` and `notify`: what they print, how they end, and that the news arrives."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

import valetkey as library
from clikit import WEB_SECRET
from valetkey.values import Entry, Secret
from valetkey.vault.desk import load_app
from vaultkit import crowd, expire

pytestmark = pytest.mark.network


@pytest.fixture
def crowded(valetkey, box):
    """Return the sandbox, with three connections that fall due now."""
    with library.open() as vault:
        crowd(vault, box, 3, expires_in=30, app="box")
    return box


# ── keep ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_once_does_what_is_due_says_so_and_ends(inside, crowded):
    done = inside("keep", "--once")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert sorted(line[3] for line in lines if line[2] == "renewed") == [f"box/user-{n:05}" for n in range(3)]
    assert done.err == "valetkey: 3 renewed, 1 surveyed\n"
    assert crowded.count("refresh_token", "ok") == 3
    assert inside("keep", "--once").err == "valetkey: nothing was due\n"


def test_once_says_what_is_wrong_where_nothing_is_due(inside, crowded):
    crowded.revoke("user-00001")
    assert "1 failed" in inside("keep", "--once").err
    with library.open() as vault:
        later = vault._world.clock() + timedelta(hours=1)
        for name in ("one", "two"):
            assert vault._world.store.swap(
                f"connection/box/{name}", 0, Entry("failing", b"\1" + bytes(40), due_at=later)
            )
    done = inside("keep", "--once")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "valetkey: nothing was due; of the connections, 2 failing, to be tried again when their pause is over, "
        "1 needing a person to connect again: `valetkey connection list`\n"
    )
    assert inside("keep", "--once", "--json").err == ""


def test_for_programs_each_thing_done_is_one_line_of_json(inside, crowded):
    crowded.revoke("user-00001")
    done = inside("keep", "--once", "--json")
    assert (done.code, done.err) == (4, "")
    told = [json.loads(line) for line in done.out.splitlines()]
    assert {"what": "failed", "subject": "box/user-00001", "detail": "needs_reconnect"}.items() <= next(
        line for line in told if line["what"] == "failed"
    ).items()
    assert sorted(line["subject"] for line in told if line["what"] == "renewed") == ["box/user-00000", "box/user-00002"]
    assert all(datetime.fromisoformat(line["at"]).tzinfo is not None for line in told)


def damage(_sandbox):
    with library.open() as vault:
        due = vault._world.clock() - timedelta(seconds=1)
        assert vault._world.store.swap("connection/box/broken", 0, Entry("active", b"\1" + bytes(40), due_at=due))


BROKEN = {
    "weather": lambda sandbox: sandbox.fail_next(3),
    "gone": lambda sandbox: sandbox.revoke("user-00001"),
    "client": lambda sandbox: sandbox.end_secret("sandbox-web", Secret(WEB_SECRET)),
    "damaged": damage,
}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ((), 0),
        (("weather",), 6),
        (("gone",), 4),
        (("client",), 5),
        (("damaged",), 7),
        (("gone", "damaged"), 4),
    ],
    ids=str,
)
def test_the_exit_code_of_once_says_what_failed(inside, crowded, broken, code):
    for what in broken:
        BROKEN[what](crowded)
    done = inside("keep", "--once", "--concurrency", "1")
    assert done.code == code, done.out
    assert "1 surveyed" in done.err.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_what_is_under_way_is_finished(valetkey, crowded, number):
    with valetkey.start("keep") as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert all("renewed" in line or "surveyed" in line for line in lines)
        process.send_signal(number)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.splitlines()[0] == "valetkey: keeping 3 connections fresh; Ctrl-C ends it"
    assert "3 renewed" in err.splitlines()[-1] or "2 renewed" in err.splitlines()[-1]


def test_what_falls_due_while_it_runs_is_renewed(valetkey, robot):
    with valetkey.start("keep", "--json") as process:
        assert json.loads(process.stdout.readline())["what"] == "surveyed"
        with library.open() as vault:
            expire(vault, "robot/one")
        assert json.loads(process.stdout.readline())["subject"] == "robot/one"
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize(("option", "renewed"), [("--keep", 3), ("--no-keep", 0)])
def test_the_server_keeps_beside_serving_unless_it_is_told_not_to(valetkey, crowded, option, renewed):
    pause = threading.Event()
    with valetkey.start("serve", "--port", "0", "--json", option) as process:
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        assert (
            httpx.get(told["health"], trust_env=False, verify=False).status_code == 200
        )  # so it has begun, and hears signals
        while crowded.count("refresh_token", "ok") < renewed:
            pause.wait(0.01)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert crowded.count("refresh_token") == renewed


# ── forecast ──────────────────────────────────────────────────────────────────────────────────────────────────

ADD = ("app", "add", "acme", "--client-id", "me", "--secret-stdin")
URLS = ("--token-url", "https://acme.example/token", "--authorize-url", "https://acme.example/authorize")


def test_a_client_secret_that_ends_is_forecast(inside):
    day = (datetime.now(UTC) + timedelta(days=20)).date().isoformat()
    assert inside(*ADD, *URLS, "--secret-expires", day, stdin="a-client-secret").code == 0
    shown = inside("app", "show", "acme", "--json").json
    assert shown["secret_expires_at"] == f"{day}T00:00:00+00:00"
    (found,) = inside("forecast", "--json").json
    assert (found["when"], found["subject"], found["sure"]) == (f"{day}T00:00:00+00:00", "acme", "certain")
    assert inside("forecast", "--within", "30d", "--json").json == [found]
    assert inside("forecast", "--within", "2w", "--json").json == []
    lines = inside("forecast").out.splitlines()
    assert lines[0].split()[:6] == [day, "in", "19", "days", "certain", "acme:"]
    assert lines[1].strip() == "why: the day given with the app"


def test_nothing_to_come_is_said_in_a_line(inside, robot):
    assert inside("forecast").err == "valetkey: nothing is known to end\n"
    assert inside("forecast", "--within", "12h").err == "valetkey: nothing is known to end within 12h\n"


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "30 days", "1y", "999999d", "٣d"])
def test_what_is_no_length_of_time_is_refused(inside, robot, text):
    done = inside("forecast", f"--within={text}", "--json")
    assert (done.code, done.error["code"]) == (2, "invalid_input")


@pytest.mark.parametrize("text", ["31.12.2026", "2026-13-01", "soon"])
def test_what_is_no_day_is_refused(inside, text):
    assert inside(*ADD, *URLS, "--secret-expires", text, stdin="x").code == 2


@pytest.mark.parametrize(("option", "testing"), [((), None), (("--testing",), True), (("--published",), False)])
def test_whether_an_app_is_in_testing_is_remembered(inside, option, testing):
    assert inside("app", "add", "google", "--client-id", "me", "--secret-stdin", *option, stdin="secret").code == 0
    assert inside("app", "show", "google", "--json").json["testing"] is testing


def test_what_is_to_come_stands_with_the_connection(inside, valetkey, box):
    with library.open() as vault:
        crowd(vault, box, 1, expires_in=3000, app="box")
        app = vault._run(load_app(vault._desk, "box"))
        described = msgspec.structs.replace(
            app.described, refresh=msgspec.structs.replace(app.described.refresh, absolute_days=365, rotates="never")
        )
        vault.add_app(msgspec.structs.replace(app, described=described), replace=True)
    assert inside("keep", "--once").code == 0
    inside("connection", "refresh", "box/user-00000")
    shown = inside("connection", "show", "box/user-00000")
    assert "what is to come:" in shown.out
    assert "the refresh token ends 365 days after consent" in shown.out
    assert "refresh.rotates  a refresh brought a new refresh token; the catalogue says: never" in shown.out
    told = inside("connection", "show", "box/user-00000", "--json").json
    assert [one["sure"] for one in told["forecasts"]] == ["possible"]
    assert [one["fact"] for one in told["drift"]] == ["refresh.rotates"]


# ── notify ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_told_of_a_connection_that_needs_a_person(valetkey, inside, crowded, tmp_path):
    heard = tmp_path / "heard"
    script = tmp_path / "listener"
    script.write_text(f"#!{sys.executable}\nimport sys\nopen({str(heard)!r}, 'a').write(sys.stdin.read())\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert inside("notify", "add", "desk", "--", str(script), "an argument").code == 0
    assert inside("notify", "test", "desk").out == "desk: took it (exit_0)\n"
    crowded.revoke("user-00002")
    while len(heard.read_text().splitlines()) < 2:
        assert inside("keep", "--once").code in {0, 4}  # the refusal, then the news of it
    told = json.loads(heard.read_text().splitlines()[1])
    assert told["type"] == "connection.needs_reconnect"
    assert told["data"]["connection"] == "box/user-00002"
    assert inside("notify", "rm", "desk").code == 0
    assert inside("notify", "list", "--json").json == []


def test_the_secret_of_a_webhook_is_shown_once(inside, robot):
    made = inside("notify", "add", "desk", "https://example.com/hook", "--event", "connection.failing", "--json").json
    assert made["secret"].startswith("whsec_")
    shown = inside("notify", "list", "--json")
    assert shown.json == [{"name": "desk", "url": "https://example.com/hook", "events": ["connection.failing"]}]
    assert made["secret"] not in shown.out + inside("notify", "list").out
    again = inside("notify", "add", "too", "https://example.com/hook")
    assert again.out.splitlines()[-1].strip().startswith("whsec_")


def test_a_secret_that_is_given_is_not_shown(inside, robot):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    done = inside("notify", "add", "desk", "https://example.com/hook", "--secret-stdin", stdin=secret)
    assert done.code == 0
    assert secret not in done.out + done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["desk"], "invalid_input"),
        (["desk", "https://example.com/hook", "--", "mail"], "invalid_input"),
        (["desk", "http://example.com/hook"], "insecure_url"),
        (["Desk!", "https://example.com/hook"], "invalid_input"),
        (["desk", "https://example.com/hook", "--event", "connection.dead"], "invalid_input"),
        (["desk", "--secret-stdin", "--", "mail"], "invalid_input"),
        (["desk", "https://example.com/hook", "--secret-stdin"], "invalid_input"),
    ],
)
def test_who_cannot_be_told_is_refused(inside, robot, words, code):
    left, _, right = " ".join(words).partition(" -- ")
    arguments = ["notify", "add", *left.split(), "--json", *(["--", right] if right else [])]
    done = inside(*arguments, stdin="no-webhook-secret")
    assert (done.code, done.error["code"]) == (2, code)
    assert inside("notify", "list", "--json").json == []


def test_a_listener_that_does_not_take_it_is_said_so(inside, robot):
    assert inside("notify", "add", "desk", "--", sys.executable, "-c", "raise SystemExit(7)").code == 0
    done = inside("notify", "test", "desk", "--json")
    assert (done.code, done.error["code"]) == (6, "provider_unavailable")
    assert "exit_7" in done.error["message"]
    assert inside("notify", "test", "nobody").code == 3
    assert inside("notify", "rm", "nobody").code == 3
