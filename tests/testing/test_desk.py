"""The sandbox without a network: requests and answers as values, the clock and the luck in our hands."""

import base64
import hashlib
import itertools
import json
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from valetkey.testing import Manner
from valetkey.testing.books import Shelf
from valetkey.testing.clients import portless, preregistered
from valetkey.testing.desk import LOG_LIMIT, ROUTES, Desk
from valetkey.testing.device import user_code
from valetkey.testing.realm import Realm
from valetkey.testing.wire import Params
from valetkey.values import Request

ISSUER = "http://127.0.0.1:8000"
FORM = {"host": "127.0.0.1:8000", "content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def now():
    return [1_700_000_000.0]


@pytest.fixture
def desk(now):
    drawn = itertools.count()
    realm = Realm(
        manner=Manner(),
        clients=preregistered({"sandbox-web": "w", "sandbox-machine": "m"}, (), ()),
        access_lifetime=2.0,
        clock=lambda: now[0],
        wall=lambda: now[0],
        luck=lambda size: hashlib.sha512(b"%d" % next(drawn)).digest()[:size],
        issuer=ISSUER,
    )
    return Desk(realm)


def post(desk, path, **fields):
    return desk.answer(Request("POST", ISSUER + path, FORM, urlencode(fields).encode())).response


def token(desk):
    own = {"client_id": "sandbox-machine", "client_secret": "m"}
    return json.loads(post(desk, "/token", grant_type="client_credentials", **own).body)["access_token"]


def status(desk, access):
    head = {"host": "localhost", "authorization": f"Bearer {access}"}
    return desk.answer(Request("GET", ISSUER + "/api/whoami", head)).response.status


@pytest.mark.parametrize(("age", "expected"), [(0.0, 200), (1.999, 200), (2.0, 401), (2.001, 401)])
def test_a_token_ends_at_the_instant_of_its_expiry(desk, now, age, expected):
    access = token(desk)
    now[0] += age
    assert status(desk, access) == expected


def test_the_same_luck_draws_the_same_values(desk):
    drawn = base64.urlsafe_b64encode(hashlib.sha512(b"0").digest()[:32]).rstrip(b"=").decode()
    assert token(desk) == f"sbx_at_{drawn}"


def test_a_person_logs_in_and_allows_with_nothing_but_values(desk):
    """The whole authorization, with the challenge of RFC 7636 appendix B."""
    asked = {
        "response_type": "code",
        "client_id": "sandbox-cli",
        "redirect_uri": "http://127.0.0.1:5/callback",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    url = f"{ISSUER}/authorize?{urlencode(asked)}"
    login = desk.answer(Request("GET", url, FORM)).response
    cookie = login.header("set-cookie").split(";")[0]
    csrf = re.search(rb'name="csrf" value="([^"]+)"', login.body).group(1).decode()
    body = urlencode({"csrf": csrf, "login": "dora"}).encode()
    done = desk.answer(Request("POST", url, {**FORM, "cookie": cookie}, body)).response
    cookie = done.header("set-cookie").split(";")[0]
    consent = desk.answer(Request("GET", ISSUER + done.header("location"), {**FORM, "cookie": cookie})).response
    csrf = re.search(rb'name="csrf" value="([^"]+)"', consent.body).group(1).decode()
    body = urlencode({"csrf": csrf, "decision": "allow"}).encode()
    back = desk.answer(Request("POST", url, {**FORM, "cookie": cookie}, body)).response
    code = parse_qs(urlsplit(back.header("location")).query)["code"][0]
    answer = post(
        desk,
        "/token",
        grant_type="authorization_code",
        code=code,
        client_id="sandbox-cli",
        redirect_uri=asked["redirect_uri"],
        code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    )
    assert answer.status == 200
    assert desk.log[-1].user == "dora"


def test_every_path_survives_every_odd_request(desk):
    odd = [b"", b"\xff\xfe", b"{", b"a=b", b"null", b"=" * 1000]
    for path in ["/nothing", "//", *ROUTES]:
        for method, body, kind in itertools.product(
            ["GET", "POST", "PUT"], odd, ["", "application/json", FORM["content-type"]]
        ):
            for query in ("", "?a=%ff", "?" + "a&" * 100, "?access_token=x&user_code=%00"):
                head = {"host": "127.0.0.1", "content-type": kind, "cookie": "=;;x", "authorization": "Basic =="}
                answer = desk.answer(Request(method, ISSUER + path + query, head, body)).response
                assert 200 <= answer.status < 500


def test_the_log_is_bounded_and_the_counters_go_on(desk):
    for _time in range(LOG_LIMIT + 5):
        desk.answer(Request("GET", ISSUER + "/health", FORM))
    assert len(desk.log) == LOG_LIMIT
    assert desk.counts["health", "", "ok"] == LOG_LIMIT + 5


def test_a_full_shelf_loses_its_oldest_record_first():
    shelf = Shelf(limit=2)
    for name in ("a", "b", "c"):
        shelf.put(name, name.upper())
    assert [shelf.find(name) for name in ("a", "b", "c", "")] == [None, "B", "C", None]


@pytest.mark.parametrize(
    ("uri", "without"),
    [
        ("http://127.0.0.1:80/cb", "http://127.0.0.1/cb"),
        ("http://[::1]:8080/cb?x=1", "http://[::1]/cb?x=1"),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb"),
        ("http://localhost:80/cb", "http://localhost:80/cb"),
        ("https://127.0.0.1:80/cb", "https://127.0.0.1:80/cb"),
        ("http://127.0.0.1:080/cb", "http://127.0.0.1:080/cb"),
        ("http://127.0.0.1:/cb", "http://127.0.0.1:/cb"),
        ("http://u@127.0.0.1:80/cb", "http://u@127.0.0.1:80/cb"),
        ("http://127.1:80/cb", "http://127.1:80/cb"),
        ("http://127.0.0.1:99999/cb", "http://127.0.0.1:99999/cb"),
        ("com.example.app:/cb", "com.example.app:/cb"),
    ],
)
def test_only_the_port_of_a_plain_loopback_address_is_left_out(uri, without):
    assert portless(uri) == without


def test_a_user_code_is_the_random_number_in_base_20():
    # 0 is eight times the first letter; 19 * (20**8 - 1) / 19 is eight times the last.
    assert user_code((0).to_bytes(16)) == "BBBBBBBB"
    assert user_code((20**8 - 1).to_bytes(16)) == "ZZZZZZZZ"
    assert user_code((1).to_bytes(16)) == "CBBBBBBB"


def test_parameters_without_a_value_count_as_left_out_and_some_may_repeat():
    params = Params([("a", ""), ("b", "1"), ("resource", "x"), ("resource", "y")])
    assert (params("a"), params("b"), params("c")) == ("", "1", "")
    assert params.all("resource") == ("x", "y")
    assert params.repeated == ""
    assert Params([("b", "1"), ("b", "1")]).repeated == "b"
    assert "1" not in repr(params)
