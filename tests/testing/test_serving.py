"""The server around it all: starting, stopping, many at once, and bodies that are too much."""

import http.client
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests

from valetkey.errors import InvalidInput
from valetkey.testing import Sandbox, SandboxClient

pytestmark = pytest.mark.network

STORY = """
import urllib3
from valetkey.testing import Sandbox
for _time in range(3):
    with Sandbox() as sandbox, urllib3.PoolManager() as http:
        for path in ("/health", "/", "/api/whoami"):
            http.request("GET", sandbox.url + path)   # the connection is still open when the sandbox stops
        sandbox.slow_next(600, at="health")
        try:
            http.request("GET", sandbox.url + "/health", timeout=0.2, retries=False)
        except urllib3.exceptions.ReadTimeoutError:
            pass
        try:
            sandbox.login(sandbox.url + "/authorize")
        except Exception as error:
            assert error.code == "invalid_client", error
import gc, threading
gc.collect()
assert threading.active_count() == 1, threading.enumerate()
"""


def test_it_leaves_no_thread_no_socket_and_no_word_behind():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", STORY],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_needs_nothing_but_the_core():
    """`valetkey demo` works from a plain `pip install valetkey`."""
    forbidden = ["aiohttp", "litestar", "jinja2", "uvicorn", "httpx", "requests", "rich", "structlog"]
    blocked = f"import sys\nfor name in {forbidden}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + STORY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_after_a_stop_nobody_answers_and_after_a_start_all_is_as_before(hand):
    token, sandbox, port = hand.connect()["access_token"], hand.sandbox, hand.sandbox.port
    sandbox.stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    sandbox.start()
    assert sandbox.port == port
    assert hand.whoami(token).status == 200


def test_start_and_stop_may_be_said_twice():
    sandbox = Sandbox()
    sandbox.stop()
    assert sandbox.start() is sandbox.start()
    sandbox.stop()
    sandbox.stop()


def test_before_the_first_start_there_is_no_address():
    sandbox = Sandbox()
    with pytest.raises(InvalidInput):
        _ = sandbox.url
    assert repr(sandbox) == "<Sandbox stopped>"


def test_a_port_can_be_given(hand):
    port = hand.sandbox.port
    hand.sandbox.stop()
    with Sandbox(port=port) as other:
        assert other.url == f"http://127.0.0.1:{port}"


def test_it_listens_on_loopback_only(hand):
    assert hand.sandbox._driver.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("lifetime", [0, -1])
def test_a_lifetime_must_be_positive(lifetime):
    with pytest.raises(InvalidInput):
        Sandbox(access_lifetime=lifetime)


def test_your_own_clients_are_registered_beside_the_three(opened):
    mine = SandboxClient(
        id="mine", name="Mine", grants=("authorization_code",), redirect_uris=("https://a.example/cb",)
    )
    hand = opened(clients=[mine])
    assert set(hand.sandbox.clients) == {"sandbox-web", "sandbox-cli", "sandbox-machine", "mine"}
    # With one redirect URI registered it may be left out (RFC 6749 section 3.1.2.3).
    back = hand.sandbox.login(hand.authorization_url(client_id="mine", redirect_uri=""))
    assert back.startswith("https://a.example/cb?code=")
    code = httpx.URL(back).params["code"]
    answer = hand.redeem(code, "mine", redirect_uri="").json
    assert "refresh_token" not in answer


def test_a_client_without_the_grant_is_sent_back_with_unauthorized_client(opened):
    robot = SandboxClient(id="robot", name="Robot", grants=(), redirect_uris=("https://a.example/cb",))
    hand = opened(clients=[robot])
    back = hand.sandbox.login(hand.authorization_url(client_id="robot", redirect_uri="https://a.example/cb"))
    assert httpx.URL(back).params["error"] == "unauthorized_client"


def test_of_many_who_redeem_one_code_at_once_exactly_one_succeeds(hand):
    code = hand.code()
    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(lambda _n: hand.redeem(code).status, range(16)))
    assert statuses == [200] + [400] * 15


def test_of_many_who_spend_one_refresh_token_at_once_exactly_one_succeeds(opened):
    hand = opened("rotating_refused")
    token = hand.connect()["refresh_token"]
    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(lambda _n: hand.refresh(token).status, range(16)))
    assert statuses == [200] + [400] * 15
    assert hand.sandbox.count("refresh_token") == 16


def test_a_connection_is_kept_for_many_requests(hand):
    connection = http.client.HTTPConnection("127.0.0.1", hand.sandbox.port, timeout=20)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
        first = connection.sock
        for _time in range(5):
            connection.request("HEAD", "/health")
            connection.getresponse().read()
        assert connection.sock is first is not None
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 65537", 413),
        ("Content-Length: 99999999999999999999", 413),
        ("Content-Length: -1", 411),
        ("Content-Length: +5", 411),
        ("Content-Length: 1_0", 411),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_a_body_without_an_honest_bounded_length_is_refused_and_the_connection_ends(hand, head, status):
    with socket.create_connection(("127.0.0.1", hand.sandbox.port), timeout=20) as raw:
        raw.sendall(f"POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_that_leaves_in_the_middle_of_a_body_does_no_harm(hand, capfd):
    with socket.create_connection(("127.0.0.1", hand.sandbox.port), timeout=20) as raw:
        raw.sendall(b"POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ngrant_type=")
    assert hand.ask("GET", "/health").status == 200
    hand.sandbox.stop()
    assert capfd.readouterr().err == ""


def test_an_absolute_or_starred_target_leads_nowhere(hand):
    for target in (b"http://evil.example/health", b"*"):
        with socket.create_connection(("127.0.0.1", hand.sandbox.port), timeout=20) as raw:
            raw.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert b"".join(iter(lambda: raw.recv(4096), b"")).startswith(b"HTTP/1.1 404 ")


def test_httpx_goes_the_whole_way(hand):
    with httpx.Client(base_url=hand.sandbox.url, auth=("sandbox-web", hand.secret("sandbox-web"))) as client:
        fields = {"grant_type": "authorization_code", "code": hand.code(), "code_verifier": hand.verifier}
        answer = client.post("/token", data={**fields, "redirect_uri": hand.callback}).raise_for_status().json()
        answer = (
            client.post("/token", data={"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]})
            .raise_for_status()
            .json()
        )
        bearer = {"authorization": f"Bearer {answer['access_token']}"}
        assert client.get("/api/whoami", headers=bearer, auth=None).json()["user"] == "alice"


def test_requests_walks_through_the_pages(hand):
    """An independent cookie jar and redirect follower, up to the door of the client."""
    with requests.Session() as browser:
        page = browser.get(hand.authorization_url(), timeout=20)
        for fields in ({"login": "carol", "password": "x"}, {"decision": "allow"}):
            action = re.search(r'action="([^"]+)"', page.text).group(1).replace("&amp;", "&")
            csrf = re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
            page = browser.post(
                hand.sandbox.url + action, data={"csrf": csrf, **fields}, timeout=20, allow_redirects="login" in fields
            )
        code = re.search("code=([^&]+)", page.headers["location"]).group(1)
    assert hand.whoami(hand.redeem(code).json["access_token"]).json["user"] == "carol"
