"""The way to consent and back: RFC 6749 section 4.1, RFC 9207, RFC 8707."""

from __future__ import annotations

import copy
import pickle
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import CallbackRefused, ConsentDenied, InsecureUrl, InvalidInput, RequestRefused, ValetkeyError
from valetkey.oauth.authentication import NoAuth
from valetkey.oauth.authorize import (
    ANSWER_LIMIT,
    AuthorizationCode,
    Expected,
    authorization_url,
    code_request,
    read_redirect,
    scopes_to_ask,
    state_of,
)
from valetkey.oauth.client import Client
from valetkey.providers.schema import Endpoints, Provider
from valetkey.values import Secret

REDIRECT = "https://client.example.com/cb"
STATE = "xyz"
CODE = "SplxlOBeZQQYbYS6WxSbIA"


def query_of(url):
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs), "a parameter is sent twice"
    return dict(pairs)


@pytest.fixture
def url(client):
    def make(extra=None, scopes=(), challenge=None, resource=(), nonce="", **changes):
        return authorization_url(
            client(**changes),
            redirect_uri=REDIRECT,
            scopes=scopes,
            state=Secret(STATE),
            challenge=challenge,
            extra=extra or {},
            resource=resource,
            nonce=nonce,
        )

    return make


@pytest.fixture
def expected():
    def make(issuer="", *, requires_iss=False, state=STATE):
        return Expected(Secret(state), issuer, REDIRECT, requires_iss)

    return make


@pytest.fixture
def redeemed(client, expected):
    return lambda answer=f"code={CODE}&state={STATE}", **changes: read_redirect(answer, expected(), client(**changes))


# ── the question ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_url_is_that_of_rfc_6749_section_4_1_1(url):
    assert urlsplit(url())._replace(query="").geturl() == "https://server.example.com/authorize"
    assert query_of(url()) == {
        "response_type": "code",
        "client_id": "s6BhdRkqt3",
        "state": "xyz",
        "redirect_uri": "https://client.example.com/cb",
    }


def test_a_challenge_is_sent_with_its_method(url):
    sent = query_of(url(challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"))
    assert sent["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert sent["code_challenge_method"] == "S256"


def test_no_challenge_goes_to_a_provider_that_refuses_pkce(url):
    assert not {"code_challenge", "code_challenge_method"} & set(query_of(url(challenge="E9M", asking={"pkce": "off"})))


def test_scopes_are_asked_once_with_the_offline_ones_and_the_provider_s_separator(url):
    sent = query_of(url(scopes=["a", "b", "a"], offline_scopes=["b", "offline"], asking={"scope_separator": ","}))
    assert sent["scope"] == "a,b,offline"


def test_without_scopes_the_provider_s_usual_ones_are_asked(url, client):
    assert query_of(url(scopes=[], offline_scopes=["o"]))["scope"] == "o"
    usual = client(scopes=["openid"], offline_scopes=["offline_access"])
    assert scopes_to_ask(usual, []) == ("openid", "offline_access")
    assert scopes_to_ask(usual, ["mail"]) == ("mail", "offline_access")


def test_scopes_go_under_the_name_the_provider_uses(url):
    sent = query_of(url(scopes=["chat:write"], asking={"scope_param": "user_scope"}))
    assert sent["user_scope"] == "chat:write"
    assert "scope" not in sent


def test_blanks_are_percent_encoded_which_every_server_reads(url):
    assert "scope=a%20b" in url(scopes=["a", "b"])


def test_the_provider_s_parameters_are_sent_and_the_caller_may_replace_or_drop_them(url):
    asking = {"authorize_params": {"access_type": "offline", "prompt": "consent"}}
    assert query_of(url(asking=asking))["access_type"] == "offline"
    sent = query_of(url(asking=asking, extra={"access_type": "", "prompt": "login", "login_hint": "a@b.example"}))
    assert "access_type" not in sent
    assert (sent["prompt"], sent["login_hint"]) == ("login", "a@b.example")


@pytest.mark.parametrize(
    "name", ["state", "client_id", "redirect_uri", "response_type", "code_challenge", "code_challenge_method", "nonce"]
)
def test_the_caller_may_not_replace_what_makes_the_login_safe(url, name):
    with pytest.raises(InvalidInput, match=name):
        url(extra={name: "mine"}, nonce="ours")


@pytest.mark.parametrize("name", ["client_secret", "client_assertion", "code_verifier", "refresh_token"])
def test_no_secret_is_put_into_the_address_that_a_browser_opens(url, name):
    with pytest.raises(InvalidInput, match=name) as refused:
        url(extra={name: "hunter2hunter2"})
    assert "hunter2" not in repr(refused.value.to_dict())


def test_even_the_catalogue_cannot_replace_the_state(url):
    assert query_of(url(asking={"authorize_params": {"state": "fixed"}}))["state"] == "xyz"


def test_resources_and_nonce_are_sent(url):
    asked = url(resource=["https://cal.example.com/", "https://contacts.example.com/"], nonce="n-0S6_WzA2Mj")
    assert "resource=https%3A%2F%2Fcal.example.com%2F&resource=https%3A%2F%2Fcontacts.example.com%2F" in asked
    assert "nonce=n-0S6_WzA2Mj" in asked


def test_a_query_of_the_endpoint_is_kept_and_never_doubled(url):
    sent = query_of(url(endpoints={"authorize": "https://server.example.com/a?tenant=7&empty=&state=fixed"}))
    assert (sent["tenant"], sent["empty"], sent["state"]) == ("7", "", "xyz")


@pytest.mark.parametrize(
    ("redirect_uri", "error"),
    [("http://client.example.com/cb", InsecureUrl), ("https://a/#f", InvalidInput), ("nonsense", InvalidInput)],
)
def test_an_unsafe_redirect_uri_is_refused(client, redirect_uri, error):
    with pytest.raises(error):
        authorization_url(client(), redirect_uri=redirect_uri, scopes=[], state=Secret("x"))


# ── the answer ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        f"{REDIRECT}?code={CODE}&state={STATE}",  # RFC 6749 section 4.1.2
        f"/cb?code={CODE}&state={STATE}",
        f"?code={CODE}&state={STATE}",
        f"code={CODE}&state={STATE}",
        f"  {REDIRECT}?code={CODE}&state={STATE}\n",  # pasted
        f"{REDIRECT}?code={CODE}&state={STATE}#_=_",  # Facebook appends this
        f"{REDIRECT}?code={CODE}&state={STATE}&scope=a%20b&authuser=0",  # Google appends these
    ],
)
def test_the_code_is_read_from_a_url_or_its_query(answer, client, expected):
    code = read_redirect(answer, expected(), client())
    assert (code.code.reveal(), code.redirect_uri, code.kept) == (CODE, REDIRECT, {})
    assert state_of(answer).reveal() == STATE


def test_a_code_with_a_question_mark_survives_in_a_bare_query(client, expected):
    assert read_redirect("code=a?b&state=xyz", expected(), client()).code.reveal() == "a?b"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", "state_missing"),
        (REDIRECT, "state_missing"),
        (f"{REDIRECT}#code={CODE}&state={STATE}", "state_missing"),
        (f"code={CODE}", "state_missing"),
        (f"code={CODE}&state=", "state_missing"),
        ("error=access_denied", "state_missing"),
        (f"code={CODE}&state=other", "state_unknown"),
        (f"code={CODE}&state=XYZ", "state_unknown"),
        (f"code={CODE}&state=xyzz", "state_unknown"),
        ("error=access_denied&state=other", "state_unknown"),
        (f"state={STATE}", "code_missing"),
        (f"code=&state={STATE}", "code_missing"),
        (f"access_token=a&state={STATE}", "code_missing"),
        (f"code={CODE}&state={STATE}&state={STATE}", "invalid_callback"),
        (f"code={CODE}&state={STATE}&state=other", "invalid_callback"),
        (f"code={CODE}&code={CODE}&state={STATE}", "invalid_callback"),
        (f"code={CODE}&state={STATE}&iss=a&iss=b", "invalid_callback"),
        (f"code=a%0d%0ab&state={STATE}", "invalid_callback"),
        (f"code=a%7f&state={STATE}", "invalid_callback"),
        (f"code=%ff%fe&state={STATE}", "invalid_callback"),
        (f"code=\udc80&state={STATE}", "invalid_callback"),
        (f"state={STATE}&code=" + "a" * ANSWER_LIMIT, "invalid_callback"),
        ("&".join(f"a{n}=1" for n in range(101)), "invalid_callback"),
    ],
)
def test_what_is_not_for_us_is_refused_and_says_why(answer, code, client, expected):
    with pytest.raises(CallbackRefused) as refused:
        read_redirect(answer, expected(), client())
    assert refused.value.code == code
    assert refused.value.cause
    assert refused.value.fix
    assert CODE not in refused.value.explain() + repr(refused.value.to_dict())


@pytest.mark.parametrize(
    ("answer", "code"), [("code=a", "state_missing"), ("state=a&state=b", "invalid_callback"), ("", "state_missing")]
)
def test_looking_up_the_login_needs_one_state(answer, code):
    with pytest.raises(CallbackRefused) as refused:
        state_of(answer)
    assert refused.value.code == code


HONEST = "https://honest.as.example"
# The successful and the failed answer of RFC 9207 section 2.2 and 2.3, the state put in.
RFC_9207 = "https://client.example/cb?code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58&state=xyz&iss=https%3A%2F%2Fhonest.as.example"
RFC_9207_ERROR = "https://client.example/cb?error=access_denied&state=xyz&iss=https%3A%2F%2Fhonest.as.example"


@pytest.mark.parametrize(
    ("answer", "issuer", "requires", "code"),
    [
        (RFC_9207, HONEST, True, ""),
        (RFC_9207, HONEST, False, ""),
        (RFC_9207, "", False, ""),
        ("code=a&state=xyz", HONEST, False, ""),
        ("code=a&state=xyz", HONEST, True, "issuer_missing"),
        ("code=a&state=xyz&iss=", HONEST, True, "issuer_mismatch"),
        (RFC_9207, "", True, "issuer_mismatch"),
        (RFC_9207, "https://attacker.example", False, "issuer_mismatch"),
        (RFC_9207, HONEST + "/", True, "issuer_mismatch"),
        (RFC_9207, HONEST.upper(), True, "issuer_mismatch"),
        (RFC_9207, HONEST + ":443", True, "issuer_mismatch"),
        (RFC_9207_ERROR, "https://attacker.example", True, "issuer_mismatch"),
        ("error=access_denied&state=xyz", HONEST, True, "issuer_missing"),
    ],
)
def test_the_issuer_is_compared_as_rfc_9207_section_2_4_says(answer, issuer, requires, code, *, client, expected):
    if not code:
        assert read_redirect(answer, expected(issuer, requires_iss=requires), client()).code
        return
    with pytest.raises(CallbackRefused) as refused:
        read_redirect(answer, expected(issuer, requires_iss=requires), client())
    assert refused.value.code == code


def test_a_person_who_declines_is_not_an_error_of_the_setup(client, expected):
    answer = f"{REDIRECT}?error=access_denied&error_description=The+user+declined&state={STATE}"
    with pytest.raises(ConsentDenied, match="The user declined") as denied:
        read_redirect(answer, expected(), client())
    assert denied.value.description == "The user declined"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("invalid_scope", "invalid_scope"),
        ("redirect_uri_mismatch", "redirect_uri_mismatch"),
        ("unauthorized_client", "unauthorized_client"),
        ("unsupported_response_type", "unsupported_response_type"),
        ("server_error", "server_error"),
        ("login_required", "login_required"),
        ("something_of_their_own", "something_of_their_own"),
        ("not%20a%20code%20<b>", "request_refused"),
    ],
)
def test_other_refusals_keep_the_provider_s_code_and_say_what_to_do(error, code, client, expected):
    with pytest.raises(RequestRefused) as refused:
        read_redirect(f"error={error}&state={STATE}&code=a", expected(), client())
    assert refused.value.code == code
    assert refused.value.cause
    assert refused.value.fix


def test_a_provider_s_own_word_for_denying_is_translated(client, expected):
    spoken = client(answer={"errors": {"user_cancelled_login": "access_denied"}})
    with pytest.raises(ConsentDenied) as denied:
        read_redirect("error=user_cancelled_login&state=xyz", expected(), spoken)
    assert denied.value.evidence["provider_code"] == "user_cancelled_login"


def test_what_a_stranger_wrote_is_repeated_on_one_line_and_shortened(client, expected):
    text = "first%20line%E2%80%AEturned%E2%80%A8second" + "%20word" * 200  # right-to-left override, line separator
    with pytest.raises(RequestRefused) as refused:
        read_redirect(f"error=invalid_scope&state=xyz&error_description={text}", expected(), client())
    assert refused.value.description.isprintable()
    assert len(refused.value.description) <= 300
    assert "\n" not in str(refused.value)


def test_members_worth_keeping_are_kept_from_the_redirect(client, expected):
    quickbooks = client(answer={"keep": ["realmId", "absent"]})
    code = read_redirect("code=a&state=xyz&realmId=123145&other=1", expected(), quickbooks)
    assert code.kept == {"realmId": "123145"}


@pytest.mark.parametrize("value", ["", "%C2%9B31m", "a%E2%80%AEb", "x" * 4097])
def test_a_member_that_no_terminal_should_show_is_not_kept(client, expected, value):
    quickbooks = client(answer={"keep": ["realmId"]})
    assert read_redirect(f"code=a&state=xyz&realmId={value}", expected(), quickbooks).kept == {}


# ── redeeming ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_token_request_is_that_of_rfc_6749_section_4_1_3(client, redeemed, stamp, asked):
    got = asked(code_request(client(), redeemed(), verifier=None, stamp=stamp))
    assert got.url == "https://server.example.com/token"
    assert got.headers["authorization"] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
    assert got.form == {"grant_type": "authorization_code", "code": CODE, "redirect_uri": REDIRECT}


def test_verifier_resource_and_the_provider_s_parameters_go_along(client, redeemed, stamp, asked):
    shopify = client(asking={"token_params": {"expiring": "1", "grant_type": "other"}})
    request = code_request(shopify, redeemed(), verifier=Secret("v" * 43), stamp=stamp, resource=["https://r.example/"])
    assert asked(request).form == {
        "grant_type": "authorization_code",
        "code": CODE,
        "redirect_uri": REDIRECT,
        "code_verifier": "v" * 43,
        "resource": "https://r.example/",
        "expiring": "1",
    }


def test_no_verifier_goes_to_a_provider_that_refuses_pkce(client, redeemed, stamp, asked):
    request = code_request(client(asking={"pkce": "off"}), redeemed(), verifier=Secret("v" * 43), stamp=stamp)
    assert "code_verifier" not in asked(request).form


def test_only_a_checked_redirect_can_be_redeemed(client, stamp):
    class Forged(AuthorizationCode):  # type checkers refuse this too: the class is final
        def __init__(self):
            pass

    for forged in (CODE, Secret(CODE), {"code": CODE}, None, Forged()):
        with pytest.raises(TypeError):
            code_request(client(), forged, verifier=None, stamp=stamp)


def test_nobody_else_makes_an_authorization_code(client):
    with pytest.raises(TypeError):
        AuthorizationCode(Secret(CODE), client(), REDIRECT, {}, seal=object())
    with pytest.raises(TypeError):
        AuthorizationCode(Secret(CODE), client(), REDIRECT, {})


def test_a_code_is_not_redeemed_by_another_app_or_elsewhere(client, redeemed, stamp):
    for other in (client(client_id="other"), client(endpoints={"token": "https://attacker.example/token"})):
        with pytest.raises(InvalidInput) as refused:
            code_request(other, redeemed(), verifier=None, stamp=stamp)
        assert CODE not in refused.value.explain()


def test_an_authorization_code_does_not_show_its_code(redeemed, canary):
    code = redeemed(f"code={canary.make()}&state={STATE}")
    canary.assert_absent(repr(code), str(code), f"{code}")
    assert copy.copy(code).code == code.code
    with pytest.raises(TypeError):
        pickle.dumps(code)


# ── anything at all ───────────────────────────────────────────────────────────────────────────────────────────

PLAIN = Client(Provider(key="p", name="P", endpoints=Endpoints(token="https://p.example/t")), "id", NoAuth())
NAMES = st.sampled_from(["code", "state", "error", "error_description", "iss", "x", ""])
QUERIES = st.lists(st.tuples(NAMES, st.text(max_size=20) | st.just(STATE)), max_size=6).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)


@given(answer=st.text(max_size=200) | QUERIES | QUERIES.map(lambda query: f"{REDIRECT}?{query}"))
def test_no_redirect_raises_anything_but_our_errors(answer):
    try:
        code = read_redirect(answer, Expected(Secret(STATE), HONEST, REDIRECT, requires_iss=False), PLAIN)
    except ValetkeyError as error:
        refused = error
    else:
        refused = None
        assert state_of(answer) == Secret(STATE)
        assert code.code
    assert refused is None or refused.message.isprintable()
