"""Where others can reach the pages, the operator's key is asked for; on loopback nothing is."""

from __future__ import annotations

import os
import stat

import httpx
import pytest

from valetkey.errors import VaultUnreadable
from valetkey.values import Secret
from valetkey.web.door import admitted, operator_key, proof

KEY = Secret("k" * 43)
BROWSER = Secret("b" * 43)
URL = "https://auth.example"


@pytest.fixture
def guarded(serving):
    return serving(public_url=URL, operator_key=KEY)


@pytest.fixture
def stranger(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False, headers={"host": "auth.example"}) as client:
        yield client


def bring(**cookies: str) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    """Return the cookies set; httpx keeps none that are Secure, because this is plain http behind the proxy."""
    pairs = (header.partition(";")[0].partition("=") for header in answer.headers.get_list("set-cookie"))
    return {name: value for name, _equals, value in pairs}


@pytest.mark.network
@pytest.mark.parametrize("path", ["/", "/connect?app=sandbox&label=a", "/connect/sandbox/alice"])
def test_a_stranger_is_sent_to_the_door(stranger, path):
    answer = stranger.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    assert "sandbox" not in answer.text


@pytest.mark.network
def test_a_stranger_starts_nothing(guarded, stranger):
    assert stranger.post("/connect/sandbox/alice", data={"csrf": "x"}).headers["location"] == "/enter"
    assert [line for line in guarded.vault.events() if line.kind == "connect.started"] == []


@pytest.mark.network
def test_health_is_open_and_names_nobody(guarded, stranger):
    assert stranger.get("/health").json() == {"status": "ok", "connections": {}}


@pytest.mark.network
def test_who_has_the_key_comes_in(stranger):
    page = stranger.get("/enter")
    browser = cookies_of(page)
    assert list(browser) == ["__Host-valetkey-browser"]
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    wrong = stranger.post("/enter", headers=bring(**browser), data={"csrf": token, "key": "wrong"})
    assert (wrong.status_code, cookies_of(wrong)) == (403, {})
    right = stranger.post("/enter", headers=bring(**browser), data={"csrf": token, "key": f" {KEY.reveal()}\n"})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    operator = cookies_of(right)
    assert list(operator) == ["__Host-valetkey-operator"]
    assert "Connections" in stranger.get("/", headers=bring(**browser, **operator)).text
    assert stranger.get("/", headers=bring(**operator)).headers["location"] == "/enter", "the proof is for one browser"
    assert KEY.reveal() not in page.text + wrong.text + right.text + str(operator)


@pytest.mark.parametrize(
    ("key", "browser", "shown", "may"),
    [
        (None, None, "", True),
        (KEY, BROWSER, proof(KEY, BROWSER), True),
        (KEY, BROWSER, "", False),
        (KEY, BROWSER, proof(Secret("x" * 43), BROWSER), False),
        (KEY, Secret("c" * 43), proof(KEY, BROWSER), False),
        (KEY, None, proof(KEY, BROWSER), False),
    ],
)
def test_only_the_proof_of_this_key_and_this_browser_counts(key, browser, shown, may):
    assert admitted(key, browser, {"__Host-valetkey-operator": shown}, URL) is may


def test_the_key_is_made_once_and_for_its_owner(tmp_path):
    path = tmp_path / "vault.operator"
    made = operator_key(path)
    assert len(made.reveal()) >= 43, "32 random bytes"
    assert operator_key(path) == made
    assert [file.name for file in tmp_path.iterdir()] == ["vault.operator"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("text", "mode"), [("k" * 43, 0o640), ("k" * 43, 0o604), ("short", 0o600), ("", 0o600)])
@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_that_others_can_read_or_guess_is_refused(tmp_path, text, mode):
    path = tmp_path / "vault.operator"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(VaultUnreadable) as refused:
        operator_key(path)
    assert "k" * 43 not in refused.value.explain()
