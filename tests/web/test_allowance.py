"""What is begun is counted: nobody fills the vault with logins that nobody finishes."""

from __future__ import annotations

import pytest

from valetkey.vault.connect import PENDING_SECONDS
from valetkey.web import allowance
from valetkey.web.allowance import BEGUN_MOST, BEGUN_OF_ONE, SCOPES_LONGEST, Allowance


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_browser_has_its_share_and_gets_it_back_in_time(clock):
    kept = Allowance(clock)
    assert [kept.take("one") for _ in range(BEGUN_OF_ONE)] == [0] * BEGUN_OF_ONE
    assert kept.take("another") == 0
    clock.now += PENDING_SECONDS - 1
    assert kept.take("one") == 2, "the first of it ends in a second"
    clock.now += 1
    assert kept.take("one") == 0


def test_all_browsers_together_have_one_too(clock):
    kept = Allowance(clock)
    assert not any(kept.take(f"browser {number}") for number in range(BEGUN_MOST))
    clock.now += 100
    assert kept.take("one more") == PENDING_SECONDS - 100 + 1
    clock.now += PENDING_SECONDS
    assert kept.take("one more") == 0


@pytest.mark.network
def test_who_has_begun_too_much_is_told_when_to_come_back(running, person, monkeypatch):
    monkeypatch.setattr(allowance, "BEGUN_OF_ONE", 2)
    form = person.form("/connect/sandbox/alice")
    for _ in range(2):
        assert person.post("/connect/sandbox/alice", data=form).status_code == 303
    page = person.post("/connect/sandbox/alice", data=form)
    assert (page.status_code, "too_many_begun" in page.text) == (429, True)
    assert 0 < int(page.headers["retry-after"]) <= PENDING_SECONDS + 1
    assert sum(line.kind == "connect.started" for line in running.vault.events()) == 2
    assert person.press("/connect/sandbox-machine/nightly").headers["location"] == "/done", "no person, nothing pending"


@pytest.mark.network
def test_a_list_of_scopes_that_nobody_means_is_refused(person):
    path, scopes = "/connect/sandbox/alice", "a" * (SCOPES_LONGEST + 1)
    page = person.get(path, params={"scope": scopes})
    assert (page.status_code, "too long" in page.text, "aaaa" in page.text) == (400, True, False)
    assert person.post(path, data={**person.form(path), "scope": scopes}).status_code == 400
    assert person.get(path, params={"scope": scopes[:-1]}).status_code == 200
