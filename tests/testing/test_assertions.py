"""Signed assertions, made by another JWT library: as a client's proof, and as the grant itself."""

import time
import uuid

import jwt
import pytest

from valetkey.jose import Key
from valetkey.testing import Manner, SandboxClient

pytestmark = pytest.mark.network

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
OLD = int(time.time()) - 7200


def signed(hand, *, by="key", **changed):
    """Return an assertion of sandbox-machine, right but for what is changed; None leaves a claim out."""
    client, now = hand.sandbox.clients["sandbox-machine"], int(time.time())
    claims = {
        "iss": client.id,
        "sub": client.id,
        "aud": f"{hand.sandbox.url}/token",
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
        **changed,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    if by == "key":
        return jwt.encode(claims, client.key.to_pem(private=True), algorithm="ES256")
    return jwt.encode(claims, client.secret.reveal() if by == "secret" else by, algorithm="HS256")


def prove(hand, assertion, **fields):
    own = {"client_id": "", "client_secret": "", "client_assertion_type": ASSERTION, "client_assertion": assertion}
    return hand.token("client_credentials", "sandbox-machine", **{**own, **fields})


def grant(hand, assertion, **fields):
    return hand.token(
        BEARER, "sandbox-machine", **{"client_id": "", "client_secret": "", "assertion": assertion, **fields}
    )


@pytest.mark.parametrize("by", ["key", "secret"])
@pytest.mark.parametrize("client_id", ["", "sandbox-machine"])
def test_a_client_proves_itself_by_its_key_or_its_secret(hand, by, client_id):
    reply = prove(hand, signed(hand, by=by), client_id=client_id)
    assert reply.status == 200, reply.text
    assert hand.whoami(reply.json["access_token"]).json["client"] == "sandbox-machine"


def test_the_issuer_is_taken_as_audience_too(hand):
    assert prove(hand, signed(hand, aud=hand.sandbox.issuer)).status == 200


# Cases are named by their claims alone: the values hold the seconds of now, and workers must collect the same names.
WRONG = [
    {"by": "another secret that is long enough for HS256"},
    {"iss": "sandbox-web"},
    {"aud": "https://other.example/token"},
    {"exp": int(time.time()) - 1},
    {"exp": None},
    {"jti": None},
    {"iat": OLD, "exp": OLD + 4 * 3600},
]


@pytest.mark.parametrize("changed", [*WRONG, {"sub": "sandbox-web"}, {"sub": None}], ids=" ".join)
def test_a_proof_that_does_not_hold_is_invalid_client(hand, changed):
    reply = prove(hand, signed(hand, **changed))
    assert (reply.status, reply.error) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"client_secret": "x"}, "invalid_request"),
        ({"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, "invalid_request"),
        ({"client_assertion_type": ""}, "invalid_request"),
        ({"client_id": "sandbox-web"}, "invalid_client"),
        ({"client_assertion": "a.b.c"}, "invalid_client"),
        ({"client_assertion": "ä" * 1000}, "invalid_client"),
    ],
)
def test_what_stands_beside_a_proof_must_fit(hand, fields, error):
    assert prove(hand, signed(hand), **fields).error == error


@pytest.mark.parametrize("send", [prove, grant])
def test_an_assertion_is_good_once(hand, send):
    assertion = signed(hand)
    assert send(hand, assertion).status == 200
    assert send(hand, assertion).status in {400, 401}


def test_a_manner_may_take_one_sort_only(opened):
    hand = opened(Manner(token_auth=("private_key_jwt",)))
    assert prove(hand, signed(hand)).status == 200
    assert prove(hand, signed(hand, by="secret")).error == "invalid_client"
    assert hand.token("client_credentials", "sandbox-machine").error == "invalid_client"


def test_a_secret_too_short_for_a_key_still_works_as_a_secret(opened):
    hand = opened(client_secrets={"sandbox-machine": "short"})
    assert hand.token("client_credentials", "sandbox-machine").status == 200
    assert prove(hand, signed(hand)).status == 200


def test_an_assertion_alone_gives_a_token_for_whom_it_names(hand):
    answer = grant(hand, signed(hand, sub="alice", scope="read write")).json
    assert "refresh_token" not in answer
    who = hand.whoami(answer["access_token"]).json
    assert (who["user"], who["client"], who["grant"]) == ("alice", "sandbox-machine", "jwt_bearer")
    assert who["scopes"] == ["read", "write"]
    assert hand.sandbox.count("jwt_bearer", "ok") == 1


def test_scopes_named_beside_the_assertion_go_first_and_none_means_the_default(hand):
    assert grant(hand, signed(hand, scope="read write"), scope="read").json["scope"] == "read"
    assert grant(hand, signed(hand)).json["scope"] == "read"


def test_a_grant_may_come_with_the_clients_own_proof_and_not_with_anothers(hand):
    own = {"client_id": "sandbox-machine", "client_secret": hand.secret("sandbox-machine")}
    assert grant(hand, signed(hand), **own).status == 200
    other = {"client_id": "sandbox-web", "client_secret": hand.secret("sandbox-web")}
    assert grant(hand, signed(hand), **other).error == "invalid_grant"
    assert grant(hand, signed(hand), client_id="sandbox-web").error == "invalid_grant"


@pytest.mark.parametrize("changed", [*WRONG, {"sub": None}, {"sub": "x" * 256}, {"sub": "a\nb"}], ids=" ".join)
def test_an_assertion_that_does_not_hold_is_invalid_grant(hand, changed):
    reply = grant(hand, signed(hand, **changed))
    assert (reply.status, reply.error) == (400, "invalid_grant")


@pytest.mark.parametrize("assertion", ["", "made-up", "a.b.c", "." * 10_000])
def test_what_is_no_assertion_is_invalid_grant(hand, assertion):
    assert grant(hand, assertion).error == "invalid_grant"


def test_a_client_without_the_grant_is_refused_though_its_assertion_holds(hand):
    now = int(time.time())
    claims = {"iss": "sandbox-web", "sub": "alice", "aud": hand.sandbox.issuer, "iat": now, "exp": now + 60, "jti": "1"}
    assertion = jwt.encode(claims, hand.secret("sandbox-web"), algorithm="HS256")
    assert grant(hand, assertion).error == "unauthorized_client"


def test_a_client_of_yours_may_have_nothing_but_a_key(opened):
    key = Key.generate("EdDSA")
    robot = SandboxClient(id="robot", name="Robot", grants=("jwt_bearer",), key=key)
    hand, now = opened(clients=[robot]), int(time.time())
    claims = {"iss": "robot", "sub": "robot", "aud": hand.sandbox.url, "iat": now, "exp": now + 60, "jti": "1"}
    assertion = jwt.encode(claims, key.to_pem(private=True), algorithm="EdDSA")
    assert grant(hand, assertion).status == 200
    assert hand.token("client_credentials", "robot").error == "invalid_client"


def test_time_moved_ahead_does_not_age_assertions(hand):
    hand.sandbox.advance(86_400)
    assert grant(hand, signed(hand)).status == 200
