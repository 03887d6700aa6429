"""Tokens cross between valetkey and Python's libraries, both ways: PyJWT and joserfc, every algorithm."""

from __future__ import annotations

import time
import warnings

import jwt as pyjwt
import pytest
from joserfc import jwt as joserfc
from joserfc.jwk import import_key
from jwt.algorithms import get_default_algorithms

from valetkey.errors import TokenRefused
from valetkey.jose import Key, Policy, sign, verify

ISSUER, AUDIENCE = "https://auth.example", "https://api.example"
COMMON = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
CASES = [*COMMON, "Ed25519", "Ed448"]


@pytest.fixture(scope="module")
def keys():
    return {alg: Key.generate(alg, kid=f"k-{alg}") for alg in CASES}


@pytest.fixture(scope="module")
def now():
    return time.time()  # the peers judge by this machine's clock


def ours(key, now, **changes):
    given = {"issuer": ISSUER, "audience": AUDIENCE, "subject": "ours", **changes}
    return sign(key, now=now, jti="x", **given)


def claims(now, **changes):
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "theirs", "exp": int(now) + 600, "iat": int(now), **changes}


def pyjwt_key(key, *, private):
    algorithm = get_default_algorithms()[key.alg]
    if key.is_secret:
        return algorithm.from_jwk(key.to_jwk(private=True))
    return algorithm.prepare_key(key.to_pem(private=private))


@pytest.mark.parametrize("alg", COMMON)
def test_pyjwt_accepts_what_we_sign(keys, now, alg):
    half = pyjwt_key(keys[alg], private=False)
    found = pyjwt.decode(ours(keys[alg], now), half, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER)
    assert found["sub"] == "ours"
    with pytest.raises(pyjwt.InvalidAudienceError):
        pyjwt.decode(ours(keys[alg], now, audience="x"), half, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER)


@pytest.mark.parametrize("alg", COMMON)
def test_we_accept_what_pyjwt_signs(keys, now, alg):
    token = pyjwt.encode(claims(now), pyjwt_key(keys[alg], private=True), algorithm=alg)
    accepted_and_refused(token, keys[alg], now)


@pytest.mark.parametrize("alg", CASES)
def test_joserfc_accepts_what_we_sign(keys, now, alg):
    key = keys[alg]
    half = import_key(key.to_jwk(private=key.is_secret))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc advises the names of RFC 9864 over EdDSA
        found = joserfc.decode(ours(key, now), half, algorithms=[alg])
    assert found.claims["sub"] == "ours"


@pytest.mark.parametrize("alg", CASES)
def test_we_accept_what_joserfc_signs(keys, now, alg):
    private = import_key(keys[alg].to_jwk(private=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = joserfc.encode({"alg": alg, "kid": f"k-{alg}"}, claims(now), private, algorithms=[alg])
    accepted_and_refused(token, keys[alg], now)


def accepted_and_refused(token, key, now):
    policy = Policy(issuer=ISSUER, audience=AUDIENCE)
    half = key if key.is_secret else key.public()
    assert verify(token, half, policy, now=now).subject == "theirs"
    with pytest.raises(TokenRefused) as refusal:
        verify(token, Key.generate(key.alg, kid=key.kid), policy, now=now)
    assert refusal.value.reason == "bad_signature"


def test_pyjwt_and_we_agree_on_ed448_under_the_name_eddsa(now):
    made = Key.generate("Ed448").to_jwk(private=True)
    key = Key.from_jwk({**made, "alg": "EdDSA", "kid": "k"})
    half, whole = (pyjwt_key(key, private=private) for private in (False, True))
    found = pyjwt.decode(ours(key, now), half, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    assert found["sub"] == "ours"
    token = pyjwt.encode(claims(now), whole, algorithm="EdDSA")
    assert verify(token, key.public(), Policy(issuer=ISSUER, audience=AUDIENCE), now=now).subject == "theirs"
