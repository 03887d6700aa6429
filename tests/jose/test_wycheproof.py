"""Wycheproof's JSON Web Signature and Key vectors (C2SP/wycheproof dac1dd4)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from valetkey.errors import KeyRefused, TokenRefused
from valetkey.jose import Key, KeySet, verify_bytes

FOLDER = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof"

LABEL_FAULTS = {
    # A PS384 token beside a JWK that says PS256.
    346: "key_alg_mismatch",
    350: "key_alg_mismatch",
    # A JWK whose alg is "ES521", which does not exist.
    347: "key_alg_mismatch",
    351: "key_alg_mismatch",
    # Byte for byte the valid vector 357, labelled invalid: the padding was lost.
    367: "accepted",
    370: "accepted",
    # Labelled valid, with a `?` inside.
    372: "malformed_base64url",
    373: "malformed_base64url",
}
"""The vectors whose label contradicts their content, and what a strict verifier says to them."""


def vectors(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"needs ../shared/vectors/wycheproof/{name}", allow_module_level=False)
    return json.loads(path.read_text())["testGroups"]


def outcome(make_keys, token):
    try:
        verify_bytes(token, make_keys())
    except (KeyRefused, TokenRefused) as refusal:
        return refusal.reason
    return "accepted"


def group_key(group):
    jwk = group.get("public") or group["private"]
    alg = None
    if "alg" not in jwk:
        alg = {"RSA": "RS256", "EC": "ES256"}[jwk["kty"]]
    return lambda: Key.from_jwk(jwk, alg=alg)


def test_of_401_signatures_all_but_the_eight_mislabelled_have_the_stated_result():
    seen = {}
    results = Counter()
    for group in vectors("json_web_signature_test.json"):
        for test in group["tests"]:
            found = outcome(group_key(group), test["jws"])
            right = (found == "accepted") == (test["result"] == "valid")
            results[right] += 1
            if not right:
                seen[test["tcId"]] = found
    assert seen == LABEL_FAULTS
    assert results == {True: 393, False: 8}


def test_the_26_key_sets_all_have_the_stated_result():
    wrong = []
    count = 0
    for group in vectors("json_web_key_test.json"):
        jwks = group.get("public") or group["private"]
        for test in group["tests"]:
            count += 1
            found = outcome(lambda jwks=jwks: KeySet.from_jwks(jwks), test["jws"])
            if (found == "accepted") != (test["result"] == "valid"):
                wrong.append((test["tcId"], test["comment"], found))
    assert wrong == []
    assert count == 26


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (1, "mixed_keyset"),
        (6, "key_use_mismatch"),
        (7, "key_too_weak"),
        (8, "key_too_weak"),
        (9, "key_too_weak"),
        (10, "key_too_weak"),
        (16, "key_too_weak"),
        (19, "key_alg_mismatch"),
        (20, "key_alg_mismatch"),
        (21, "key_use_mismatch"),
        (22, "key_invalid"),
        (23, "key_invalid"),
        (24, "key_invalid"),
        (25, "key_alg_mismatch"),
        (26, "key_alg_mismatch"),
    ],
)
def test_a_bad_key_set_is_refused_when_it_is_loaded_for_the_right_reason(case, reason):
    groups = vectors("json_web_key_test.json")
    jwks = next(
        group.get("public") or group["private"]
        for group in groups
        if any(test["tcId"] == case for test in group["tests"])
    )
    with pytest.raises(KeyRefused) as refusal:
        KeySet.from_jwks(jwks)
    assert refusal.value.reason == reason
