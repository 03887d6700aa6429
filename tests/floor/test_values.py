"""The nouns: secrets that do not show, URLs that are what they seem, scopes and headers."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import InsecureUrl, InvalidInput
from valetkey.values import Entry, Request, Response, Scopes, Secret, Token, chunks, is_loopback, lowered, secure_url

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


@dataclasses.dataclass
class Holder:
    secret: Secret


WAYS_TO_SHOW = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda s: f"{s}{s!r}{s!s}{s:>80}{s:s}",
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031  # logging does it so
    "in a list": lambda s: f"{[s]} {(s,)} { ({'key': s}) }",
    "in a dataclass": lambda s: repr(Holder(s)),
    "as a dict": lambda s: repr(dataclasses.asdict(Holder(s))),
    "in a token": lambda s: repr(Token(s)) + str(Token(s)),
    "dir": lambda s: repr(dir(s)),
    "json with default": lambda s: json.dumps({"s": s}, default=str),
    "fingerprint": lambda s: s.fingerprint(),
    "exception": lambda s: str(ValueError(s)) + repr(ValueError(s)),
}


@pytest.mark.parametrize("way", WAYS_TO_SHOW)
def test_a_secret_does_not_show(way, canary):
    shown = WAYS_TO_SHOW[way](Secret(canary.make()))
    assert shown
    canary.assert_absent(shown)


@pytest.mark.parametrize(
    "way",
    [
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        vars,
        len,
        iter,
        bytes,
        lambda s: s + "x",
        lambda s: "x" + s,
        lambda s: " ".join(("a", s)),  # noqa: FLY002  # joining is the question
        lambda s: s < s,  # noqa: PLR0124  # whether it has an order is the question
        *(lambda s, p=p: pickle.dumps(s, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
        lambda s: pickle.dumps(Token(s)),
    ],
)
def test_what_would_give_a_secret_away_is_refused_without_showing_it(way, canary):
    with pytest.raises(TypeError) as caught:
        way(Secret(canary.make()))
    canary.assert_absent(str(caught.value), repr(caught.value))


def test_a_secret_does_not_show_in_logs_or_tracebacks(canary, caplog):
    secret = Secret(canary.make())
    try:
        int(secret)
    except TypeError as error:
        logging.getLogger("test").exception("%s", secret)
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        text = "".join(shown.format())
    assert "secret = Secret(…)" in text
    canary.assert_absent(text, caplog.text)


def test_only_reveal_gives_a_secret():
    assert Secret("hunter2").reveal() == "hunter2"
    assert Token(Secret("hunter2")).reveal() == "hunter2"


def test_secrets_are_compared_by_value_and_with_nothing_else():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


def test_a_secret_is_copied_as_itself():
    secret = Secret("a")
    assert copy.copy(secret) is secret
    assert copy.deepcopy(Token(secret)).secret is secret


def test_a_secret_that_utf_8_cannot_hold_is_still_one():
    """UnicodeEncodeError would carry the whole string."""
    odd = Secret("a\udcffb")
    assert odd == Secret("a\udcffb")
    assert odd != Secret("a\udcfeb")
    assert len(odd.fingerprint()) == 12


def test_a_fingerprint_is_twelve_hex_digits_of_a_salted_sha256():
    # printf 'valetkey fingerprint\0hunter2' | sha256sum
    assert Secret("hunter2").fingerprint() == "e6cc0d7fc132"
    assert Token(Secret("hunter2")).fingerprint() == "e6cc0d7fc132"


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = [
    "https://login.example/token",
    "https://login.example",
    "https://login.example:8443/a/b?c=d&e=%20",
    "https://login.example/@user",
    "HTTPS://Login.Example/token",
    "https://[2001:db8::1]:8443/token",
    "https://10.0.0.1/token",
    "https://localhost/token",
    "http://127.0.0.1/token",
    "http://127.0.0.1:8080/token",
    "http://localhost:8080",
    "HTTP://LOCALHOST:8080",
    "http://[::1]:8080/token",
    "https://exämple.example/ü",
]

PLAIN = [
    "http://login.example/token",
    "http://127.0.0.2/",
    "http://127.0.0.1.evil.example/",
    "http://localhost.evil.example/",
    "http://localhost./",
    "http://127.1/",
    "http://0.0.0.0/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::1%25eth0]/",
    "http://localhost%2eevil.example/",
    "http://1②7.0.0.1/",
    "http://10.0.0.1/",
]

BAD = [
    "",
    "login.example/token",
    "//login.example/token",
    "/token",
    "https:login.example/token",
    "https:/login.example/token",
    "https:///token",
    "https://",
    "https://:443/",
    "https://?x",
    "ftp://login.example/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https://user@login.example/",
    "https://user:pass@login.example/",
    "https://@login.example/",
    "https://:@login.example/",
    "http://127.0.0.1@evil.example/",
    "http://localhost:80@evil.example/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1\\@evil.example/",
    "https://login.example\\.evil.example/",
    "https://login.example/\\evil",
    "https://login.example/token#fragment",
    "https://login.example/token#",
    "http://127.0.0.1#@evil.example/",
    "https://login.example/to ken",
    " https://login.example/",
    "https://login.example/ ",
    "https://login.example/\ttoken",
    "ht\ttps://login.example/",
    "https://login.example/\r\nX-Evil: 1",
    "https://login.example/\n",
    "https://login.example/\x00",
    "https://login.example/\x7f",
    "https://login.example/\x85",
    "https://login.example/\u2028",
    "https://login.example/\u202e",
    "https://login.example\u00a0.evil/",
    "https://login.example:port/",
    "https://login.example:65536/",
    "https://login.example:-1/",
    "https://[::1/",
    "https://::1]/",
    "https://[login.example]/",
    "https://a\u2100b.example/",  # ℀ becomes a/c under NFKC
]


@pytest.mark.parametrize("url", GOOD)
def test_a_url_that_is_safe_is_returned_as_it_is(url):
    assert secure_url(url, "token endpoint") == url


@pytest.mark.parametrize("url", PLAIN)
def test_plain_http_is_refused_but_for_the_literal_loopback_names(url):
    with pytest.raises(InsecureUrl, match=r"^the token endpoint "):
        secure_url(url, "token endpoint")


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_safe_url_is_refused(url):
    with pytest.raises(InvalidInput) as caught:
        secure_url(url, "token endpoint")
    assert caught.value.message.startswith("the token endpoint ")
    assert caught.value.message.isprintable()
    assert caught.value.fix


@pytest.mark.parametrize(
    "template",
    [
        "http://evil.example/?secret={}",
        "http://user:{}@evil.example/",
        "https://user:{}@evil.example/",
        "https://{}@evil.example/",
        "ftp://user:{}@evil.example/",
        "http://evil.example/#{}",
        "https://evil.example/#{}",
        "https://evil.example/ ?{}",
        "http://user:1234?{}@evil.example/",
        "http://1234:1234/{}?@evil.example/",
        "https://evil.example:{}/",
        "https://[{}/",
    ],
)
def test_no_refusal_of_a_url_shows_what_may_be_secret_in_it(template, canary):
    with pytest.raises((InvalidInput, InsecureUrl)) as caught:
        secure_url(template.format(canary.make()), "token endpoint")
    canary.assert_absent(caught.value.explain(), repr(caught.value.to_dict()))


@given(st.text())
def test_any_text_is_a_safe_url_or_refused_by_our_own_errors(text):
    for url in (text, f"https://{text}", f"http://127.0.0.1{text}", f"http://{text}@127.0.0.1"):
        try:
            assert secure_url(url, "URL") == url
        except (InvalidInput, InsecureUrl) as error:
            assert error.message.isprintable()  # noqa: PT017  # both ends are right; each has its check
        else:
            assert not set(url) & set(" \\#\r\n\t\0")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_the_literal_loopback_names_are_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "127.0.0.2", "localhost.", "localhost.evil.example", "::", "0.0.0.0", "127.1"])
def test_nothing_else_is_loopback(host):
    assert not is_loopback(host)


# ── requests, answers, entries, tokens ────────────────────────────────────────────────────────────────────────


def test_a_request_shows_no_query_user_headers_or_body(canary):
    request = Request(
        "POST",
        f"https://user:{canary.make()}@login.example/token?secret={canary.make()}#{canary.make()}",
        headers={"authorization": canary.make()},
        body=canary.make().encode(),
    )
    assert repr(request) == str(request) == "<Request POST https://login.example/token>"
    canary.assert_absent(repr(request))


def test_a_request_that_is_none_still_has_a_repr():
    assert repr(Request("GET", "https://[::1")) == "<Request GET (not a URL)>"


@given(st.text(), st.text())
def test_the_repr_of_a_request_is_one_printable_line(method, url):
    assert repr(Request(method, url)).isprintable()


def test_an_answer_shows_neither_headers_nor_body(canary):
    response = Response(200, {"set-cookie": canary.make()}, canary.make().encode())
    assert repr(response) == f"<Response 200, {len(response.body)} bytes>"
    canary.assert_absent(repr(response))


def test_a_header_that_is_not_there_is_empty():
    response = Response(200, lowered([("Retry-After", "7")]))
    assert (response.header("retry-after"), response.header("date")) == ("7", "")


def test_an_entry_does_not_show_its_box():
    assert "box" not in repr(Entry("active", b"sealed"))
    assert "sealed" not in repr(Entry("active", b"sealed"))


@pytest.mark.parametrize("value", [Request("GET", "https://x"), Response(200), Entry("a", b""), Token(Secret("x"))])
def test_values_cannot_be_changed(value):
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(
    ("expires_at", "moment", "lives"),
    [
        (NOON, NOON - dt.timedelta(microseconds=1), True),
        (NOON, NOON, False),
        (NOON, NOON + dt.timedelta(microseconds=1), False),
        (None, NOON, True),
    ],
)
def test_a_token_lives_until_the_instant_of_its_expiry(expires_at, moment, lives):
    assert Token(Secret("x"), expires_at=expires_at).lives_until(moment) is lives


# ── scopes, headers, codes ────────────────────────────────────────────────────────────────────────────────────

SCOPE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",\\'), min_size=1)
"""RFC 6749 section 3.3, without the comma, by which some providers separate."""


@pytest.mark.parametrize(
    ("text", "separator", "scopes"),
    [
        ("", " ", ()),
        ("a b", " ", ("a", "b")),
        ("b a b", " ", ("b", "a")),
        ("  a   b ", " ", ("a", "b")),
        ("a,b", " ", ("a", "b")),
        ("a, b,,c", ",", ("a", "b", "c")),
        ("a+b", "+", ("a", "b")),
        ("a+b", " ", ("a+b",)),
        ("a\tb\nc", " ", ("a", "b", "c")),
        ("a b", "", ("a", "b")),
    ],
)
def test_a_scope_string_is_read(text, separator, scopes):
    assert Scopes.parse(text, separator) == scopes


def test_scopes_keep_their_order_and_drop_what_is_said_twice_or_not_at_all():
    assert Scopes(["b", "", "a", "b"]) == ("b", "a")
    assert Scopes("b a b") == ("b", "a")
    assert Scopes() == ()
    assert repr(Scopes("b a")) == "Scopes('b a')"


@given(st.lists(SCOPE), st.sampled_from([" ", ","]))
def test_scopes_are_read_as_they_were_written(scopes, separator):
    written = Scopes(scopes)
    assert Scopes.parse(written.join(separator), separator) == written
    assert pickle.loads(pickle.dumps(written)) == written
    assert type(copy.deepcopy(written)) is Scopes


@given(st.lists(SCOPE), st.lists(SCOPE))
def test_missing_scopes_are_the_wanted_ones_that_are_not_here(here, wanted):
    missing = Scopes(here).missing(wanted)
    assert type(missing) is Scopes
    assert set(missing) == set(wanted) - set(here)


def test_headers_are_lowered_and_repeated_ones_joined():
    headers = lowered([("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/plain")])
    assert headers == {"x-a": "1, 2", "content-type": "text/plain"}
    with pytest.raises(TypeError):
        headers["x"] = "y"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_no_header_is_lost_in_lowering(pairs):
    headers = lowered(pairs)
    assert set(headers) == {name.lower() for name, _ in pairs}
    assert all(value in headers[name.lower()] for name, value in pairs)


@given(st.text(), st.integers(1, 9))
def test_pieces_of_a_code_make_the_code(text, size):
    pieces = list(chunks(text, size))
    assert "".join(pieces) == text
    assert all(len(piece) == size for piece in pieces[:-1])
