"""After whole flows through the pages, no secret stands in a page, a header, a log, or a file of the vault."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.network


def test_no_secret_is_shown_logged_or_kept_in_the_clear(running, person, person_at, canary, everything_logged):
    begun = person.press("/connect/sandbox/alice")
    there = begun.headers["location"]
    address = running.sandbox.login(there)
    canary.watch("state", parse_qs(urlsplit(there).query)["state"][0])
    canary.watch("code", parse_qs(urlsplit(address).query)["code"][0])
    canary.watch("client secret", running.sandbox.clients["sandbox-web"].secret.reveal())
    canary.watch("machine's secret", running.sandbox.clients["sandbox-machine"].secret.reveal())
    for cookie in person.client.cookies.jar:
        canary.watch(f"cookie {cookie.name}", cookie.value)
    canary.watch("operator's key", running.key.reveal())
    canary.watch("entry link", link := running.door.link().reveal())
    late = person_at(running, inside=False)
    late.post("/enter", data={**late.form("/enter"), "link": link})
    other = person_at(running)
    other.lands(address)  # refused
    person.lands(address)
    person.lands(address)  # refused
    person.press("/connect/sandbox-machine/nightly")
    person.get("/done")
    person.get("/")
    for name in ("sandbox/alice", "sandbox-machine/nightly"):
        canary.watch(f"token of {name}", running.vault.token(name).reveal())
        canary.watch(f"renewed token of {name}", running.vault.refresh(name).reveal())
    running.stop()
    answers = [*person.answers, *other.answers, *late.answers]
    assert len(answers) > 10
    # The way to the provider carries the state, and the cookie is the browser's secret: those two are their places.
    headers = [
        f"{name}: {value}"
        for answer in answers
        for name, value in answer.headers.multi_items()
        if name != "set-cookie" and not (name == "location" and value == there)
    ]
    assert "GET /callback 303" in everything_logged()
    canary.assert_absent(
        *(answer.text or "empty" for answer in answers), "\n".join(headers), everything_logged(), running.folder
    )


def test_no_page_may_be_kept_framed_or_refer(person):
    person.lands(person.sent_back())
    for path in ("/", "/connect/sandbox/alice", "/done", "/callback?state=x", "/health", "/nowhere"):
        headers = person.get(path).headers
        assert headers["cache-control"] == "no-store", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers["x-frame-options"] == "DENY", path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert "server" not in headers, path


def test_the_cookies_are_out_of_reach_for_scripts_and_other_sites(person):
    cookies = [cookie for answer in person.answers for cookie in answer.headers.get_list("set-cookie")]
    assert [cookie.partition("_")[2].partition("_")[0] for cookie in cookies] == ["browser", "operator"]
    for cookie in cookies:
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert person.get("/connect/sandbox/alice").headers.get_list("set-cookie") == [], "it is set once"


def test_an_unexpected_failure_shows_and_logs_no_values(running, person, monkeypatch, everything_logged, canary):
    secret = canary.make("value in an exception")

    def fail(*_args):
        raise RuntimeError(secret)

    monkeypatch.setattr(running.vault, "states", fail)
    page = person.get("/")
    assert (page.status_code, "unexpected" in page.text) == (500, True)
    assert "unexpected RuntimeError" in everything_logged()
    canary.assert_absent(page.text, everything_logged())
