"""Token answers as providers really write them: RFC 6749 section 5, and everything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valetkey.errors import BadAnswer, ValetkeyError
from valetkey.oauth.authentication import NoAuth
from valetkey.oauth.client import Client
from valetkey.oauth.reading import TokenAnswer, read_token
from valetkey.providers.schema import Answer, Endpoints, Provider
from valetkey.values import Response, Scopes, Secret

# RFC 6749 section 5.1
RFC_6749 = {
    "access_token": "2YotnFZFEjr1zCsicMWpAA",
    "token_type": "example",
    "expires_in": 3600,
    "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
    "example_parameter": "example_value",
}


@pytest.fixture
def read(client, answer):
    """Return a reader of answers whose provider reads them in the ways given."""

    def go(
        body, asked=(), *, scope_separator=" ", offline_scopes=(), content_type="application/json", status=200, **how
    ):
        asking = {"scope_separator": scope_separator}
        asker = client(answer=how, asking=asking, offline_scopes=list(offline_scopes))
        return read_token(asker, answer(body, status, content_type), asked=asked)

    return go


def test_the_answer_of_rfc_6749_section_5_1_is_read(read):
    assert read(RFC_6749) == TokenAnswer(
        access_token=Secret("2YotnFZFEjr1zCsicMWpAA"),
        refresh_token=Secret("tGzv3JOkF0XG5Qx2TlKWIA"),
        kind="example",
        expires_in=3600.0,
    )


def test_a_bare_token_is_enough(read):
    assert read({"access_token": "a"}) == TokenAnswer(access_token=Secret("a"))


# ── how the body is written ───────────────────────────────────────────────────────────────────────────────────

JSON = '{"access_token":"gho_16C7e42F292c6912E7710c838347Ae178B4a","scope":"repo,gist","token_type":"bearer"}'
FORM = "access_token=gho_16C7e42F292c6912E7710c838347Ae178B4a&scope=repo%2Cgist&token_type=bearer"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (JSON, "application/json"),
        (JSON, "application/json; charset=utf-8"),
        (JSON, "text/html; charset=utf-8"),
        (JSON, "application/x-www-form-urlencoded"),
        (JSON, ""),
        ("\ufeff" + JSON, "application/json"),
        ("\r\n " + JSON + "\n", "application/json"),
        (FORM, "application/x-www-form-urlencoded; charset=utf-8"),
        (FORM, "text/plain"),
        (FORM, "application/json"),
        (FORM + "\n", ""),
    ],
)
def test_json_and_forms_are_told_apart_by_their_shape(read, body, content_type):
    token = read(body, content_type=content_type, scope_separator=",")
    assert token.access_token.reveal() == "gho_16C7e42F292c6912E7710c838347Ae178B4a"
    assert (token.kind, token.scopes) == ("Bearer", ("repo", "gist"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("<!DOCTYPE html><html><title>Log in</title></html>", "html"),
        ("upstream connect error or disconnect/reset before headers", "not_json"),
        ("{", "not_json"),
        ('{"access_token":"a"', "not_json"),
        ('{"access_token":"a"} trailing', "not_json"),
        ('{"access_token":"a","expires_in":NaN}', "not_json"),
        ('{"access_token":"a","expires_in":-Infinity}', "not_json"),
        ('{"access_token":"a","n":' + "9" * 5000 + "}", "not_json"),
        ("'access_token=a'", "not_json"),
        (b"\xff\xfe{\x00}\x00", "not_utf8"),
        (b'{"access_token":"\xff"}', "not_utf8"),
        ("[]", "not_an_object"),
        ('["access_token"]', "not_an_object"),
        ('"access_token=a"', "not_an_object"),
        ("null", "not_an_object"),
        ("3600", "not_an_object"),
        ("[" * 100_000, "too_deep"),
        ('{"a":' * 100_000, "too_deep"),
        ('{"access_token":"a","access_token":"b"}', "duplicate"),
        ('{"access_token":"a","inner":{"x":1,"x":2}}', "duplicate"),
        ("access_token=a&access_token=b", "duplicate"),
        ("&".join(f"a{n}=1" for n in range(201)), "not_json"),
        ("{}", "no_token"),
        ('{"token":"a"}', "no_token"),
        ("token=a", "no_token"),
    ],
)
def test_a_body_that_is_no_answer_is_refused_with_its_reason(read, body, reason):
    with pytest.raises(BadAnswer) as refused:
        read(body)
    assert refused.value.evidence["reason"] == reason
    assert refused.value.evidence["size"] == len(body.encode() if isinstance(body, str) else body)
    assert refused.value.cause
    assert refused.value.fix


def test_a_body_that_was_cut_at_the_limit_is_refused_even_if_it_looks_whole(client):
    with pytest.raises(BadAnswer) as refused:
        read_token(client(), Response(200, {}, JSON.encode(), cut=True))
    assert refused.value.evidence["reason"] == "too_large"


# ── the token ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "token",
    [
        123,
        1.5,
        True,
        False,
        ["a"],
        {"a": "b"},
        " ",
        "a b",
        "a\r\nx-evil: 1",
        "a\n",
        "\ta",
        "a\0b",
        "a\x7f",
        "é",
        "a\u2028b",
        "\ud800",
    ],
)
def test_a_token_that_could_not_stand_in_a_header_is_refused_and_not_shown(read, token):
    with pytest.raises(BadAnswer) as refused:
        read({"access_token": token})
    assert refused.value.evidence["reason"] == "bad_token"
    assert "evil" not in refused.value.explain() + repr(refused.value.to_dict())


@pytest.mark.parametrize("token", [None, ""])
def test_an_empty_token_is_none_at_all(read, token):
    with pytest.raises(BadAnswer) as refused:
        read({"access_token": token})
    assert refused.value.evidence["reason"] == "no_token"


def test_a_token_beside_an_empty_or_spurious_error_is_kept(read):
    # Throwing it away could end the grant: the refresh token that bought it may be dead already.
    for error in ("", None, "none", {"code": 0}):
        assert read({"access_token": "a", "error": error}).access_token.reveal() == "a"


# ── lifetimes ─────────────────────────────────────────────────────────────────────────────────────────────────

TWENTY_YEARS = 20 * 365 * 86_400


@pytest.mark.parametrize(
    ("written", "seconds", "odd"),
    [
        ("3600", 3600.0, False),
        ('"3600"', 3600.0, False),
        ('" 3600 "', 3600.0, False),
        ("3599.5", 3599.5, False),
        ('"3599.5"', 3599.5, False),
        ("0.5", 0.5, False),
        ("3.6e3", 3600.0, False),
        ("0", None, False),  # Mailchimp: never expires
        ("0.0", None, False),
        ('"0"', None, False),
        ("null", None, False),
        ('""', None, False),
        (str(TWENTY_YEARS), float(TWENTY_YEARS), False),
        (str(TWENTY_YEARS + 1), None, True),
        ("-1", None, True),
        ('"-1"', None, True),
        ("-0.5", None, True),
        ("true", None, True),
        ("false", None, True),
        ("1e400", None, True),
        ("-1e400", None, True),
        ("9" * 400, None, True),
        ('"' + "9" * 400 + '"', None, True),
        ('"NaN"', None, True),
        ('"Infinity"', None, True),
        ('"1e3"', None, True),
        ('"1_000"', None, True),
        ('"٣٦٠٠"', None, True),
        ('"soon"', None, True),
        ("[3600]", None, True),
        ('{"seconds":3600}', None, True),
    ],
)
def test_no_lifetime_however_odd_makes_a_good_token_unreadable(read, written, seconds, odd):
    token = read('{"access_token":"a","expires_in":' + written + "}")
    assert (token.access_token.reveal(), token.expires_in) == ("a", seconds)
    assert token.oddities == (("expires_in",) if odd else ())


@pytest.mark.parametrize(
    ("how", "body", "seconds"),
    [
        ({"expires_unit": "ms"}, {"expires_in": 3_600_000}, 3600.0),
        ({"expires_unit": "ms"}, {"expires_in": "3600000"}, 3600.0),
        ({"zero_means": "expired"}, {"expires_in": 0}, 0.0),
        ({"zero_means": "never", "default_expires_in": 7200}, {"expires_in": 0}, None),
        ({"default_expires_in": 7200}, {}, 7200.0),
        ({"default_expires_in": 7200}, {"expires_in": 60}, 60.0),
        ({"default_expires_in": 7200}, {"expires_in": "soon"}, 7200.0),
        ({"expires_in": "expires"}, {"expires": 60}, 60.0),
        ({"expires_in": "token.lives"}, {"token": {"lives": 60}}, 60.0),
        ({"expires_in": "token.lives"}, {"token": 60}, None),
        ({"expires_in": "a|b"}, {"b": 60}, 60.0),
    ],
)
def test_lifetimes_are_read_as_the_catalogue_says(read, how, body, seconds):
    assert read({"access_token": "a", **body}, **how).expires_in == seconds


@pytest.mark.parametrize(
    ("body", "how", "seconds"),
    [
        ({}, {}, None),
        ({"refresh_token_expires_in": 15897600}, {}, 15897600.0),  # GitHub
        ({"refresh_token_expires_in": 0}, {}, None),
        ({"x_refresh_token_expires_in": "8726400"}, {"refresh_expires_in": "x_refresh_token_expires_in"}, 8726400.0),
    ],
)
def test_the_refresh_token_s_lifetime_is_read(read, body, how, seconds):
    assert read({"access_token": "a", **body}, **how).refresh_expires_in == seconds


# ── what stands beside the token ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "kept", "odd"),
    [
        ("tGzv3JOkF0XG5Qx2TlKWIA", "tGzv3JOkF0XG5Qx2TlKWIA", False),
        ("with blank", "with blank", False),
        ("", None, False),
        (None, None, False),
        (7, None, True),
        (True, None, True),
        (["a"], None, True),
        ("a\nb", None, True),
        ("\ud800", None, True),
    ],
)
def test_a_refresh_token_is_kept_or_reported(read, value, kept, odd):
    token = read({"access_token": "a", "refresh_token": value})
    assert (token.refresh_token.reveal() if token.refresh_token else None) == kept
    assert token.oddities == (("refresh_token",) if odd else ())


@pytest.mark.parametrize(
    ("scope", "separator", "scopes", "odd"),
    [
        ("read write", " ", ("read", "write"), False),
        ("read,write", ",", ("read", "write"), False),
        ("read, write", ",", ("read", "write"), False),
        ("read+write", "+", ("read", "write"), False),
        (["read", "write"], " ", ("read", "write"), False),
        ("", " ", (), False),
        ([], " ", (), False),
        (None, " ", None, False),
        ("read read", " ", ("read",), False),
        ("read \u202ewrite", " ", ("read",), False),
        (["read", 7, None, "wr\nite"], " ", ("read",), False),
        (7, " ", None, True),
        ({"read": True}, " ", None, True),
    ],
)
def test_scopes_are_read_as_the_provider_writes_them(read, scope, separator, scopes, odd):
    token = read({"access_token": "a", "scope": scope}, scope_separator=separator)
    assert token.scopes == scopes
    assert token.oddities == (("scope",) if odd else ())


def test_an_answer_may_separate_scopes_otherwise_than_the_request(client, answer):
    odd = client(answer={"scope_separator": ";"}, asking={"scope_separator": ":"})
    assert read_token(odd, answer({"access_token": "a", "scope": "r:1;w:1"})).scopes == ("r:1", "w:1")


@pytest.mark.parametrize(
    ("answered", "missing"),
    [
        ({"scope": "read"}, ("write",)),
        ({"scope": "write read more"}, ()),
        ({"scope": ""}, ("read", "write")),
        ({}, ()),  # RFC 6749 section 5.1: "OPTIONAL, if identical to the scope requested by the client"
    ],
)
def test_scopes_asked_for_and_not_granted_are_named(read, answered, missing):
    # offline_access is asked for and, at Microsoft Entra, never echoed.
    token = read(
        {"access_token": "a", **answered}, asked=["read", "write", "offline_access"], offline_scopes=["offline_access"]
    )
    assert token.missing == missing


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Bearer", "Bearer"),
        ("bearer", "Bearer"),
        ("BEARER", "Bearer"),
        ("DPoP", "DPoP"),
        ("N_A", "N_A"),
        ("bot", "bot"),
        (None, "Bearer"),
        ("", "Bearer"),
        (["Bearer"], "Bearer"),
        ("Bearer\r\nx-evil: 1", "Bearer"),
    ],
)
def test_the_token_type_is_one_word(read, written, kind):
    assert read({"access_token": "a", "token_type": written}).kind == kind


def test_an_id_token_is_kept(read):
    token = read({"access_token": "a", "id_token": "e30.e30."})
    assert token.id_token == Secret("e30.e30.")


def test_members_worth_keeping_are_kept_as_text(read):
    body = {
        "access_token": "a",
        "instance_url": "https://na1.salesforce.example",
        "team": {"id": "T1", "name": None},
        "user": 7,
        "bot": True,
        "list": ["x"],
        "long": "x" * 4097,
        "lines": "a\nb",
    }
    keep = ["instance_url", "team.id", "team.name", "user", "bot", "list", "long", "lines", "absent", "user.id"]
    token = read(body, keep=keep)
    assert token.kept == {
        "instance_url": "https://na1.salesforce.example",
        "team.id": "T1",
        "user": "7",
        "bot": "true",
    }
    assert token.oddities == ("list", "long", "lines")


# ── tokens under another path (Slack) ─────────────────────────────────────────────────────────────────────────

SLACK = {
    "access_token": "access_token|authed_user.access_token",
    "refresh_token": "refresh_token|authed_user.refresh_token",
    "expires_in": "expires_in|authed_user.expires_in",
    "scope": "scope|authed_user.scope",
    "token_type": "token_type|authed_user.token_type",
    "ok": "ok",
}
BOT = {"access_token": "xoxb-bot", "token_type": "bot", "scope": "chat:write,commands"}
USER = {
    "access_token": "xoxp-user",
    "token_type": "user",
    "scope": "search:read",
    "refresh_token": "xoxe-user",
    "expires_in": 43200,
}


def test_a_token_at_the_second_path_is_found_with_all_that_belongs_to_it(read):
    token = read(
        {"ok": True, "authed_user": {"id": "U1", **USER}}, scope_separator=",", keep=["authed_user.id"], **SLACK
    )
    assert token.access_token.reveal() == "xoxp-user"
    assert token.refresh_token == Secret("xoxe-user")
    assert (token.kind, token.expires_in, token.scopes) == ("user", 43200.0, ("search:read",))
    assert token.kept == {"authed_user.id": "U1"}


def test_a_bot_token_is_never_paired_with_the_user_s_refresh_token(read):
    token = read({"ok": True, **BOT, "authed_user": USER}, scope_separator=",", **SLACK)
    assert token.access_token.reveal() == "xoxb-bot"
    assert (token.refresh_token, token.expires_in) == (None, None)
    assert token.scopes == ("chat:write", "commands")


def test_a_member_whose_name_has_a_dot_is_found(read):
    assert read({"access_token": "a", "team.id": "T1"}, keep=["team.id"]).kept == {"team.id": "T1"}


def test_an_empty_scope_at_the_only_path_means_none_and_not_unknown(read):
    assert read({"access_token": "a", "data": {"scope": ""}}, scope="data.scope").scopes == Scopes()


# ── nothing secret is shown ───────────────────────────────────────────────────────────────────────────────────


def test_a_token_answer_does_not_show_its_tokens(read, canary):
    names = ["access_token", "refresh_token", "id_token", "instance_url"]
    token = read({name: canary.make(name) for name in names}, keep=["instance_url"])
    assert len(canary.secrets) == 4
    canary.assert_absent(repr(token), str(token), f"{token}", repr([token]))


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────

CLIENT = Client(
    Provider(
        key="p",
        name="P",
        endpoints=Endpoints(token="https://p.example/t"),
        answer=Answer(keep=["team.id", "x"], ok="ok", errors={"theirs": "invalid_grant"}),
    ),
    "id",
    NoAuth(),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just("3600")
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
NAMES = st.sampled_from(
    [
        "access_token",
        "refresh_token",
        "expires_in",
        "scope",
        "token_type",
        "error",
        "error_description",
        "ok",
        "team",
        "x",
    ]
)
STATUSES = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503]) | st.integers(0, 999)
HEADERS = st.dictionaries(st.sampled_from(["content-type", "retry-after", "date", "location"]), st.text(max_size=40))


def must_stay_ours(response):
    try:
        token = read_token(CLIENT, response, asked=["a"])
    except ValetkeyError as error:
        refused = error
    else:
        refused = None
        assert token.access_token.reveal().isprintable()
        assert token.expires_in is None or 0 <= token.expires_in <= TWENTY_YEARS
    if refused:
        assert refused.message.isprintable()
        assert json.dumps(refused.to_dict(), allow_nan=False)


@given(body=st.binary(max_size=300), status=STATUSES, headers=HEADERS)
@example(body=b"\x00" * 300, status=200, headers={"retry-after": "-1"})
def test_no_bytes_raise_anything_but_our_errors(body, status, headers):
    must_stay_ours(Response(status, headers, body))


@given(members=st.dictionaries(NAMES, VALUES), status=STATUSES, headers=HEADERS)
def test_no_object_raises_anything_but_our_errors(members, status, headers):
    must_stay_ours(Response(status, headers, json.dumps(members).encode()))


@given(text=st.text(max_size=300))
def test_no_text_raises_anything_but_our_errors(text):
    must_stay_ours(Response(200, {}, text.encode("utf-8", "surrogatepass")))
