"""Tokens cross between valetkey and Node's libraries, both ways: jose, jsonwebtoken, fast-jwt, every algorithm."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Key, Policy, sign, verify

NODE_DIR = Path(__file__).parent / "node"
NOW = 1_790_000_000
ISSUER, AUDIENCE = "https://auth.example", "https://api.example"

COMMON = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
CASES = [
    *[("jsonwebtoken", alg) for alg in COMMON],
    *[("jose", alg) for alg in [*COMMON, "EdDSA", "Ed25519"]],
    *[("fast-jwt", alg) for alg in [*COMMON, "EdDSA", "EdDSA Ed448"]],
]
"""All that each can do: jsonwebtoken has no EdDSA, jose no Ed448, and fast-jwt knows both curves by the old name only."""


@pytest.fixture(scope="module")
def keys():
    return {alg: made(alg) for alg in {alg for _, alg in CASES}}


@pytest.fixture(scope="module")
def far():
    """The tokens are judged by Node's own clock, so they are good from now on."""
    import time

    return time.time()


@pytest.fixture(scope="module")
def answers(node, keys, far):
    """What Node says to all jobs, asked in one process: (library, alg, operation) -> answer."""
    if not (NODE_DIR / "node_modules" / "fast-jwt").is_dir():
        pytest.fail("fast-jwt is not installed: make peers")
    jobs = []
    for library, alg in CASES:
        key = keys[alg]
        job = {"library": library, "alg": key.alg, "issuer": ISSUER, "audience": AUDIENCE}
        job["jwk"] = key.to_jwk(private=True)
        if key.is_secret:
            k = job["jwk"]["k"]
            job["secret"] = base64.b64encode(base64.urlsafe_b64decode(k + "=" * (-len(k) % 4))).decode()
        else:
            job["privatePem"] = key.to_pem(private=True).decode()
            job["publicPem"] = key.to_pem().decode()
        good = token(key, far)
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "from node", "exp": NOW + 600, "iat": NOW, "jti": "n"}
        jobs += [
            {**job, "operation": "verify", "token": good},
            {**job, "operation": "verify", "token": token(key, far, audience="https://other.example")},
            {**job, "operation": "sign", "claims": claims},
        ]
    done = subprocess.run(
        [node, str(NODE_DIR / "jose.mjs")],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    return {case: found[3 * place : 3 * place + 3] for place, case in enumerate(CASES)}


def made(alg):
    name, _, curve = alg.partition(" ")
    if not curve:
        return Key.generate(alg, kid=f"k-{alg}")
    return Key.from_jwk({**Key.generate(curve).to_jwk(private=True), "alg": name, "kid": f"k-{curve}"})


def token(key, now, **changes):
    given = {"issuer": ISSUER, "audience": AUDIENCE, "subject": "from python", "scope": "a b", **changes}
    return sign(key, now=now, jti="p", **given)


@pytest.mark.parametrize(("library", "alg"), CASES)
def test_node_accepts_what_we_sign(answers, library, alg):
    good, _, _ = answers[library, alg]
    assert good["ok"], good
    assert good["claims"]["sub"] == "from python"


@pytest.mark.parametrize(("library", "alg"), CASES)
def test_node_refuses_it_for_another_audience(answers, library, alg):
    # So that the test above can fail.
    _, other, _ = answers[library, alg]
    assert not other["ok"]
    assert "aud" in other["error"]


@pytest.mark.parametrize(("library", "alg"), CASES)
def test_we_accept_what_node_signs(answers, keys, library, alg):
    *_, signed = answers[library, alg]
    key = keys[alg] if keys[alg].is_secret else keys[alg].public()
    claims = verify(signed["token"], key, Policy(issuer=ISSUER, audience=AUDIENCE), now=NOW + 1)
    assert claims.subject == "from node"
    with pytest.raises(TokenRefused) as refusal:
        verify(signed["token"], made(alg), Policy(issuer=ISSUER, audience=AUDIENCE), now=NOW + 1)
    assert refusal.value.reason == "bad_signature"
