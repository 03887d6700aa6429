"""Only the operator sees the pages, on loopback too: by the key, by a link that is good once, then by a session."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess

import httpx
import pytest

from valetkey.errors import VaultUnreadable
from valetkey.values import Secret
from valetkey.web.door import LINK_SECONDS, SESSION_SECONDS, Door, operator_key
from valetkey.web.pages import ENTER_SCRIPT

KEY = Secret("k" * 43)
BROWSER = Secret("b" * 43)
URL = "https://auth.example"


@pytest.fixture
def guarded(serving):
    return serving(public_url=URL)


@pytest.fixture
def stranger(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False, verify=False, headers={"host": "auth.example"}) as client:
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
@pytest.mark.parametrize("path", ["/", "/connect?app=sandbox&label=a", "/connect/sandbox/alice"])
def test_loopback_is_no_exception(running, person_at, path):
    answer = person_at(running, inside=False).get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    assert "sandbox" not in answer.text


@pytest.mark.network
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_another_user_of_this_machine_gets_no_further_than_the_door(running, person, tmp_path):
    person.lands(person.sent_back())
    before = running.vault.connection("sandbox/alice")

    def as_nobody(*words: str) -> str:
        command = ["curl", "-q", "-s", "-i", "--noproxy", "*", *words]
        return subprocess.run(
            command, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=30, check=True
        ).stdout

    started = len(running.vault.events())
    for path in ("/", "/connect/sandbox/alice", "/connect?app=sandbox&label=alice"):
        said = as_nobody(f"{running.url}{path}")
        assert ("303 See Other" in said, "location: /enter" in said, "alice" in said) == (True, True, False), said
    begun = as_nobody("-d", "csrf=x&scope=read", f"{running.url}/connect/sandbox-machine/nightly")
    assert "location: /enter" in begun
    assert "403 Forbidden" in as_nobody("-d", "csrf=x&key=guess", f"{running.url}/enter")
    assert "200 OK" in as_nobody(f"{running.url}/health")
    assert len(running.vault.events()) == started
    assert running.vault.connection("sandbox/alice") == before


@pytest.mark.network
def test_an_answer_of_the_provider_is_taken_when_the_session_has_ended_meanwhile(running, person):
    address = person.sent_back()
    person.client.cookies.delete(next(name for name in person.client.cookies if "operator" in name))
    assert person.lands(address).status_code == 200
    assert person.get("/").headers["location"] == "/enter"


@pytest.mark.network
def test_an_entry_link_opens_the_door_once(running, person_at):
    link = running.door.link().reveal()
    first, second = person_at(running, inside=False), person_at(running, inside=False)
    came = first.post("/enter", data={**first.form("/enter"), "link": link})
    assert (came.status_code, came.headers["location"]) == (303, "/")
    assert "Connections" in first.get("/").text
    again = second.post("/enter", data={**second.form("/enter"), "link": link})
    assert (again.status_code, "the link was used already" in again.text) == (403, True)
    assert first.get("/enter").headers["location"] == "/#", "what stood behind the # of the link goes no further"


@pytest.mark.network
def test_the_door_may_run_our_own_script_and_no_other_page_any(running, person_at, person):
    page = person_at(running, inside=False).get("/enter")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert page.text.count("<script") == page.text.count('<script src="/enter.js" defer></script>') == 1
    script = person.get("/enter.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "script-src" not in person.get("/").headers["content-security-policy"]


@pytest.mark.network
def test_a_stranger_starts_nothing(guarded, stranger):
    assert stranger.post("/connect/sandbox/alice", data={"csrf": "x"}).headers["location"] == "/enter"
    assert [line for line in guarded.vault.events() if line.kind == "connect.started"] == []


@pytest.mark.network
def test_health_is_open_and_names_nobody(guarded, stranger):
    assert stranger.get("/health").json() == {"status": "ok", "connections": {}}


@pytest.mark.network
def test_who_has_the_key_comes_in(stranger, guarded):
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
    refused, entered = [line for line in guarded.vault.events() if line.kind.startswith("operator.")]
    assert (refused.kind, refused.outcome, refused.reason) == ("operator.refused", "refused", "wrong_key")
    assert (entered.kind, entered.outcome, entered.detail) == ("operator.entered", "ok", {"way": "key"})
    assert [refused.request, entered.request] == [wrong.headers["x-request-id"], right.headers["x-request-id"]]
    assert KEY.reveal() not in repr([refused, entered])


PAGE_OF_NODE = """
const done = [], link = {{ value: "" }};
globalThis.location = {{ hash: {hash}, pathname: "/enter" }};
globalThis.history = {{ replaceState: (state, title, url) => done.push(`now at ${{url}}`) }};
const form = {{ elements: {{ link }}, submit: () => done.push(`posted ${{link.value}}`) }};
globalThis.document = {{ getElementById: (id) => (id === "enter" ? form : null) }};
(0, eval)(require("fs").readFileSync(0, "utf8"));
console.log(done.join("; "));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize(("hash_", "done"), [("#abc-_1", "now at /enter; posted abc-_1"), ("", ""), ("#", "")])
def test_the_script_posts_what_stands_behind_the_hash_and_takes_it_off_the_address(hash_, done):
    page = PAGE_OF_NODE.format(hash=json.dumps(hash_))
    ran = subprocess.run(["node", "-e", page], input=ENTER_SCRIPT, capture_output=True, timeout=30, check=True)
    assert ran.stdout.decode().strip() == done


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_session_is_for_one_browser_and_one_key_and_a_working_day(clock):
    door = Door(KEY, clock)
    session = door.session(BROWSER)
    assert door.session(BROWSER) != session, "each has a random id"
    assert door.admitted(BROWSER, session)
    assert Door(KEY, clock).admitted(BROWSER, session), "also after a restart"
    assert not Door(Secret("x" * 43), clock).admitted(BROWSER, session)
    assert not door.admitted(Secret("c" * 43), session)
    assert not door.admitted(None, session)
    end, rest = session.split(".", 1)
    for forged in ("", ".", "..", session[:-1], f"{int(end) + 1}.{rest}", f"{end}.x.{rest.split('.')[1]}", "9e9.x.y"):
        assert not door.admitted(BROWSER, forged), forged
    clock.now += SESSION_SECONDS - 1
    assert door.admitted(BROWSER, session)
    clock.now += 1
    assert not door.admitted(BROWSER, session)


@pytest.mark.parametrize(("later", "opens"), [(0.0, True), (LINK_SECONDS - 1, True), (LINK_SECONDS, False)])
def test_a_link_is_good_for_a_while_and_once(clock, later, opens):
    door = Door(KEY, clock)
    link = door.link()
    clock.now += later
    assert door.opens(link.reveal()) is opens
    assert not door.opens(link.reveal())
    assert door.opens(f" {KEY.reveal()}\n"), "the key stays good"
    assert not door.opens("")


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
