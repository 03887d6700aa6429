"""What the pages show, and the policy under which they are shown."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest

from valetkey.errors import (
    AlreadyExists,
    BadAnswer,
    CallbackRefused,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    InvalidInput,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    StoreUnavailable,
    ValetkeyError,
)
from valetkey.web.answers import KEPT_MOST, Outcome, Outcomes, outcome_of, status_of
from valetkey.web.pages import TEMPLATES, outcome_page, policy


@pytest.mark.network
def test_the_policy_lets_in_the_style_that_the_page_has(person):
    page = person.get("/")
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!127\.0\.0\.1)', page.text), "nothing comes from elsewhere"
    assert person.get("/icon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("leads_to", "behind"),
    [
        ("", "form-action 'self';"),
        ("http://127.0.0.1:8401/authorize?x=1", "form-action 'self' http://127.0.0.1:8401;"),
        ("https://login.example/authorize", "form-action 'self' https:;"),
    ],
)
def test_a_form_ends_only_where_it_leads(leads_to, behind):
    assert behind in policy(leads_to)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CallbackRefused("x", code="state_missing"), 400),
        (CallbackRefused("x", code="state_unknown"), 400),
        (CallbackRefused("x", code="state_not_yours"), 403),
        (CallbackRefused("x", code="state_used"), 409),
        (CallbackRefused("x", code="state_expired"), 410),
        (CallbackRefused("x", code="form_not_ours"), 403),
        (InvalidInput("x", code="too_many_begun"), 429),
        (ConsentDenied("x"), 403),
        (NotFound("x"), 404),
        (AlreadyExists("x"), 409),
        (InvalidInput("x"), 400),
        (GrantRefused("x"), 502),
        (ClientRefused("x"), 502),
        (BadAnswer("x"), 502),
        (ProviderUnavailable("x"), 503),
        (ProviderTimeout("x"), 504),
        (StoreUnavailable("x"), 503),
        (ValetkeyError("x"), 500),
    ],
)
def test_each_error_has_its_status(error, status):
    assert status_of(error) == status


def test_an_error_is_shown_with_cause_and_fix_and_nothing_runs():
    error = InvalidInput("what happened <b>", cause="why & how", fix="say `valetkey connect x` <now>")
    text = outcome_page(outcome_of(error, "Title <i>"), "http://127.0.0.1:8400").content
    assert "<p>What happened &lt;b&gt;</p>" in text
    assert "<dd>Why &amp; how</dd>" in text
    assert "<dd>Say <code>valetkey connect x</code> &lt;now&gt;</dd>" in text
    assert "Title &lt;i&gt;" in text
    assert "<code>invalid_input</code>" in text


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(seconds=90), "for 89 seconds"),
        (timedelta(minutes=3), "for 2 minutes"),
        (timedelta(hours=5), "for 4 hours"),
        (timedelta(days=-3, minutes=-1), "expired 3 days ago"),
        (timedelta(seconds=-5), "expired 5 seconds ago"),
    ],
)
def test_an_expiry_is_said_in_words(ahead, said):
    # Of the time until the page is made a moment is gone already, so the next smaller number is shown.
    assert TEMPLATES.filters["away"](datetime.now(UTC) + ahead) == said


def test_no_expiry_is_said_too():
    assert TEMPLATES.filters["away"](None) == "no expiry told"


def test_old_results_make_room_for_new_ones():
    kept = Outcomes()
    for number in range(KEPT_MOST + 1):
        kept.put(str(number), Outcome(str(number)))
    assert kept.get("0") is None
    assert kept.get("1").title == "1"
    assert kept.get(str(KEPT_MOST)).title == str(KEPT_MOST)


@pytest.mark.network
def test_a_dead_connection_shows_why_and_how_to_go_on(running, person):
    person.lands(person.sent_back())
    running.sandbox.revoke("alice")
    with pytest.raises(ValetkeyError):
        running.vault.refresh("sandbox/alice")
    page = person.get("/").text
    assert "1 needs reconnect" in page
    assert "invalid_grant" in page
    assert 'href="/connect/sandbox/alice"' in page


@pytest.mark.network
def test_health_fails_when_the_vault_cannot_be_read(running, person, monkeypatch):
    def unreadable():
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(running.vault, "states", unreadable)
    answer = person.get("/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "code": "store_unavailable"})
    assert person.get("/").status_code == 503
