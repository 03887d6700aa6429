"""Sections B and C of the attack cases: algorithm and key binding, crit, b64, typ."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from valetkey.errors import InvalidInput, KeyRefused, TokenRefused
from valetkey.jose import Key, KeySet, Policy, claimed_issuer, verify, verify_bytes

NOW = 1_790_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(f, alg):
    return f"{b64({'alg': alg})}.{b64(f.payload())}."


def es256_with(f, r, s, size=32):
    return f.es256().rsplit(".", 1)[0] + "." + b64(r.to_bytes(size, "big") + s.to_bytes(size, "big"))


def es256_of_length(f, length):
    head, signature = f.es256().rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{head}.{b64((raw + bytes(length))[:length])}"


def embedded(f, **header):
    """A token signed by the attacker's key, which its header offers."""
    attacker = Key.generate("ES256")
    jwk = attacker.to_jwk()
    message = f"{b64({'alg': 'ES256', 'jwk': jwk, **header})}.{b64(f.payload())}"
    return f"{message}.{b64(attacker.signer(message.encode()))}"


def ps256(f, salt, digest=None):
    digest = digest or hashes.SHA256()
    return f.rs256(header={"alg": "PS256"}, pad=padding.PSS(padding.MGF1(digest), salt))


def ps_key(f):
    return Key.from_pem(f.public_pem(f.rsa), alg="PS256", kid="ps")


HEADER = [
    ("B01 none", lambda f: unsigned(f, "none"), lambda f: f.hs, "alg_not_allowed"),
    *[(f"B02 {alg!r}", lambda f, alg=alg: unsigned(f, alg), lambda f: f.es, "alg_not_allowed") for alg in ("None", "NONE", "nOnE", "noNe", "none ")],
    ("B04 alg missing", lambda f: f.hs256(header={"typ": "JWT"}), lambda f: f.hs, "alg_missing"),
    ("B04 alg null", lambda f: f.hs256(header={"alg": None}), lambda f: f.hs, "alg_missing"),
    *[(f"B04 alg {alg!r}", lambda f, alg=alg: f.hs256(header={"alg": alg}), lambda f: f.hs, "header_type") for alg in (1, True, ["HS256"], {"a": 1})],
    *[(f"B05 {alg!r}", lambda f, alg=alg: f.hs256(header={"alg": alg}), lambda f: f.hs, "alg_not_allowed") for alg in ("hs256", "HS256 ", "Hs256")],
    ("B06 the public key as secret", lambda f: f.hs256(secret=f.public_pem(f.rsa)), lambda f: f.rs, "alg_not_allowed"),
    ("B06 with the kid of the key", lambda f: f.hs256(header={"alg": "HS256", "kid": "rs"}, secret=f.public_pem(f.rsa)), lambda f: f.rs, "alg_not_allowed"),
    ("B16 ES384 with an ES256 key", lambda f: f.es256(header={"alg": "ES384"}), lambda f: f.es, "key_alg_mismatch"),
    ("B16 PS256 with an RS256 key", lambda f: ps256(f, 32), lambda f: f.rs, "key_alg_mismatch"),
    ("B16 RS256 with a PS256 key", lambda f: f.rs256(header={"alg": "RS256", "kid": "ps"}), ps_key, "key_alg_mismatch"),
    ("B16 HS512 with an HS256 key", lambda f: f.hs256(header={"alg": "HS512"}), lambda f: f.hs, "key_alg_mismatch"),
    ("B22 r=s=0", lambda f: es256_with(f, 0, 0), lambda f: f.es, "bad_signature"),
    ("B22 r=s=n", lambda f: es256_with(f, P256_ORDER, P256_ORDER), lambda f: f.es, "bad_signature"),
    ("B22 r=1, s=0", lambda f: es256_with(f, 1, 0), lambda f: f.es, "bad_signature"),
    ("B22 empty", lambda f: f.es256().rsplit(".", 1)[0] + ".", lambda f: f.es, "bad_signature"),
    ("B23 DER", lambda f: f.es256(der=True), lambda f: f.es, "bad_signature"),
    *[(f"B23 {n} bytes", lambda f, n=n: es256_of_length(f, n), lambda f: f.es, "bad_signature") for n in (63, 65, 96, 128)],
    ("B25 MAC of 16 bytes", lambda f: f.hs256()[:-43] + b64(f.mac(f.hs256().rsplit(".", 1)[0])[:16]), lambda f: f.hs, "bad_signature"),
    ("B25 MAC empty", lambda f: f.hs256()[:-43], lambda f: f.hs, "bad_signature"),
    ("B25 other secret", lambda f: f.hs256(secret=b"x" * 64), lambda f: f.hs, "bad_signature"),
    ("B25 other RSA key", lambda f: f.rs256(), lambda f: Key.generate("RS256").public(), "bad_signature"),
    ("B25 other Ed25519 key", lambda f: f.eddsa_token(), lambda f: Key.generate("EdDSA").public(), "bad_signature"),
    ("B26 PSS with salt 0", lambda f: ps256(f, 0), ps_key, "bad_signature"),
    ("B26 PSS with another MGF", lambda f: ps256(f, 32, hashes.SHA512()), ps_key, "bad_signature"),
    ("B27 embedded jwk", embedded, lambda f: f.es, "bad_signature"),
    ("B27 embedded jwk, our kid", lambda f: embedded(f, kid="es"), lambda f: f.es, "bad_signature"),
    ("B27 embedded jwk, its own kid", lambda f: embedded(f, kid="attacker"), lambda f: f.es, "no_matching_key"),
    ("B28 jku", lambda f: embedded(f, kid="attacker", jku="https://169.254.169.254/jwks"), lambda f: f.es, "no_matching_key"),
    ("B28 x5u", lambda f: embedded(f, kid="attacker", x5u="http://127.0.0.1/x"), lambda f: f.es, "no_matching_key"),
    ("B29 x5c", lambda f: embedded(f, kid="attacker", x5c=["MIIB"]), lambda f: f.es, "no_matching_key"),
    ("B30 Ed448 with an Ed25519 key", lambda f: f.eddsa_token(header={"alg": "Ed448"}), lambda f: f.eddsa, "key_alg_mismatch"),
    ("B30 signed with Ed448, named EdDSA", lambda f: f.eddsa_token(key=f.ed448), lambda f: f.eddsa, "bad_signature"),
    ("C01 unknown extension", lambda f: f.hs256(header={"alg": "HS256", "crit": ["bork"], "bork": 1}), lambda f: f.hs, "crit_unsupported"),
    ("C02 empty", lambda f: f.hs256(header={"alg": "HS256", "crit": []}), lambda f: f.hs, "crit_malformed"),
    *[(f"C03 {crit!r}", lambda f, crit=crit: f.hs256(header={"alg": "HS256", "exp": 1, "crit": crit}), lambda f: f.hs, "crit_malformed") for crit in ("exp", None, 1, [1], {"exp": 1})],
    ("C04 absent", lambda f: f.hs256(header={"alg": "HS256", "crit": ["bork"]}), lambda f: f.hs, "crit_malformed"),
    ("C05 registered", lambda f: f.hs256(header={"alg": "HS256", "crit": ["alg"]}), lambda f: f.hs, "crit_malformed"),
    ("C06 twice", lambda f: f.hs256(header={"alg": "HS256", "crit": ["bork", "bork"], "bork": 1}), lambda f: f.hs, "crit_malformed"),
    ("C07 b64 false", lambda f: f.hs256(header={"alg": "HS256", "b64": False}), lambda f: f.hs, "b64_unsupported"),
    ("C07 b64 false, with crit", lambda f: f.hs256(header={"alg": "HS256", "b64": False, "crit": ["b64"]}), lambda f: f.hs, "b64_unsupported"),
    ("C07 b64 true, with crit", lambda f: f.hs256(header={"alg": "HS256", "b64": True, "crit": ["b64"]}), lambda f: f.hs, "b64_unsupported"),
    ("C07 b64 0", lambda f: f.hs256(header={"alg": "HS256", "b64": 0}), lambda f: f.hs, "b64_unsupported"),
    *[(f"C08 {typ}", lambda f, typ=typ: f.hs256(header={"alg": "HS256", "typ": typ}), lambda f: f.hs, "typ_mismatch") for typ in ("dpop+jwt", "id_token", "logout+jwt", "application/secevent+jwt", "text/at+jwt")],
    *[(f"C10 typ {typ!r}", lambda f, typ=typ: f.hs256(header={"alg": "HS256", "typ": typ}), lambda f: f.hs, "header_type") for typ in (1, ["JWT"], None)],
    *[(f"C10 kid {kid!r}", lambda f, kid=kid: f.hs256(header={"alg": "HS256", "kid": kid}), lambda f: f.hs, "header_type") for kid in (1, ["hs"], {"a": 1}, None)],
    *[(f"E01 kid {kid[:20]!r}", lambda f, kid=kid: f.hs256(header={"alg": "HS256", "kid": kid}), lambda f: f.hs, "no_matching_key") for kid in ("../../dev/null", "' OR 1=1", ";id", "a\0b", "", "k" * 257)],
    ("E01 kid of 100 KB", lambda f: f.hs256(header={"alg": "HS256", "kid": "k" * 100_000}), lambda f: f.hs, "token_too_large"),
    ("E02 no kid, two keys of the algorithm", lambda f: f.es256(), lambda f: KeySet([f.es, Key.generate("ES256").public()]), "no_matching_key"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "key", "reason"), [case[1:] for case in HEADER], ids=[case[0] for case in HEADER])
def test_a_header_or_signature_is_refused_for_the_stated_reason(forge, make, key, reason):
    with pytest.raises(TokenRefused) as refusal:
        verify(make(forge), key(forge), forge.policy(), now=NOW)
    assert refusal.value.reason == reason


def high_s(f):
    head, signature = f.es256().rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    return f"{head}.{b64(r.to_bytes(32, 'big') + (P256_ORDER - s).to_bytes(32, 'big'))}"


ACCEPTED = [
    ("B24 the high-s twin", high_s, lambda f: f.es, {}),
    ("B26 PSS as it should be", lambda f: ps256(f, 32), ps_key, {}),
    ("B28 jku is not looked at", lambda f: f.es256(header={"alg": "ES256", "kid": "es", "jku": "http://169.254.169.254/"}), lambda f: f.es, {}),
    ("B30 Ed25519 for a key named EdDSA", lambda f: f.eddsa_token(header={"alg": "Ed25519"}), lambda f: f.eddsa, {}),
    ("B30 EdDSA for a key named Ed25519", lambda f: f.eddsa_token(), lambda f: Key.from_pem(f.public_pem(f.ed), alg="Ed25519"), {}),
    ("B30 Ed448 under its own name", lambda f: f.eddsa_token(header={"alg": "Ed448"}, key=f.ed448), lambda f: Key.from_pem(f.public_pem(f.ed448), alg="EdDSA"), {}),
    *[(f"C09 {typ}", lambda f, typ=typ: f.hs256(header={"alg": "HS256", "typ": typ}), lambda f: f.hs, {"typ": "at+jwt"}) for typ in ("at+jwt", "application/at+jwt", "AT+JWT", "Application/AT+jwt")],
    ("C08 any type, said so", lambda f: f.hs256(header={"alg": "HS256", "typ": "logout+jwt"}), lambda f: f.hs, {"typ": None}),
    ("no kid, one key", lambda f: f.hs256(), lambda f: f.hs, {}),
    ("another kid, a key without a name", lambda f: f.hs256(header={"alg": "HS256", "kid": "theirs"}), lambda f: Key.secret(f.secret), {}),
    ("E02 two keys, tried", lambda f: f.es256(), lambda f: KeySet([Key.generate("ES256").public(), f.es]), {"try_all_keys": True}),
    ("no kid, one key of the algorithm", lambda f: f.es256(), lambda f: KeySet([f.es, f.rs]), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "key", "setting"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_what_the_rfcs_allow_is_accepted(forge, make, key, setting):
    for _ in range(2):
        assert verify(make(forge), key(forge), forge.policy(**setting), now=NOW).subject == "ci"


def test_the_high_s_twin_does_not_share_an_entry_of_the_cache(forge):
    # B24: both verify, as signatures; each is verified by itself, and `jti` is the same for whoever counts.
    policy, keys = forge.policy(), forge.keyset(forge.es)
    token = forge.es256()
    head, signature = token.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = f"{head}.{b64(raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], 'big')).to_bytes(32, 'big'))}"
    first, second = (verify(text, keys, policy, now=NOW) for text in (token, twin))
    assert first is not second
    assert first.token_id == second.token_id
    assert len(policy.memory) == 2


@pytest.mark.parametrize(
    "algorithms", [["none"], ["HS256", "none"], ["RS256", "HS256"], [], ["hs256"], "RSA1_5", ["PBES2-HS256+A128KW"]]
)
def test_a_policy_of_unknown_or_mixed_algorithms_cannot_be_made(algorithms):
    # B03, B07
    with pytest.raises(InvalidInput) as error:
        Policy(issuer="i", audience="a", algorithms=algorithms)
    assert error.value.code == "config_error"


def test_a_policy_may_narrow_the_algorithms_of_the_keys(forge):
    keys = KeySet([forge.es, forge.rs])
    policy = forge.policy(algorithms="ES256")
    assert verify(forge.es256(), keys, policy, now=NOW).subject == "ci"
    verify(forge.rs256(), keys, forge.policy(), now=NOW)  # its header is known now
    with pytest.raises(TokenRefused) as refusal:
        verify(forge.rs256(), keys, policy, now=NOW)
    assert refusal.value.reason == "alg_not_allowed"


def test_a_type_learned_under_one_policy_is_refused_under_a_stricter_one(forge):
    keys = forge.keyset()
    verify(forge.hs256(), keys, forge.policy(), now=NOW)
    with pytest.raises(TokenRefused) as refusal:
        verify(forge.hs256(), keys, forge.policy(typ="at+jwt"), now=NOW)
    assert (refusal.value.reason, refusal.value.expected, refusal.value.got) == ("typ_mismatch", "at+jwt", "none")


def test_keys_bound_to_another_issuer_do_not_count(forge):
    # D16: the key is genuine, the claims say what the policy wants, and still the key is somebody else's.
    keys = forge.keyset().bound_to("https://other.example")
    for _ in range(2):
        with pytest.raises(TokenRefused) as refusal:
            verify(forge.hs256(), keys, forge.policy(), now=NOW)
        assert refusal.value.reason == "iss_mismatch"
    assert verify(forge.hs256(), keys.bound_to(forge.issuer), forge.policy(), now=NOW)


def test_bytes_are_verified_by_the_same_header_rules(forge):
    token = forge.hs256(b"any bytes")
    assert verify_bytes(token, forge.hs) == b"any bytes"
    assert verify_bytes(token.encode(), forge.hs, algorithms="HS256") == b"any bytes"
    for other, reason in [
        (forge.hs256(b"x", {"alg": "HS256", "crit": ["b64"], "b64": False}), "b64_unsupported"),
        (unsigned(forge, "none"), "alg_not_allowed"),
        (token[:-1] + "_", "malformed_base64url"),
    ]:
        with pytest.raises(TokenRefused) as refusal:
            verify_bytes(other, forge.hs)
        assert refusal.value.reason == reason
    with pytest.raises(TokenRefused) as refusal:
        verify_bytes(token, forge.hs, algorithms=["HS384"])
    assert refusal.value.reason == "alg_not_allowed"


def test_a_bad_signature_of_a_known_header_is_still_refused(forge):
    keys, policy = forge.keyset(), forge.policy()
    token = forge.hs256()
    verify(token, keys, policy, now=NOW)
    with pytest.raises(TokenRefused) as refusal:
        verify(token[:-4] + "AAAA", keys, policy, now=NOW)
    assert refusal.value.reason == "bad_signature"


def test_the_memory_of_headers_is_bounded(forge):
    keys, policy = forge.keyset(), forge.policy()
    for number in range(200):
        verify(forge.hs256(header={"alg": "HS256", "x": number}), keys, policy, now=NOW)
        assert len(policy.heads) <= 64


def test_forged_headers_are_not_remembered(forge):
    keys, policy = forge.keyset(), forge.policy()
    for number in range(5):
        with pytest.raises(TokenRefused):
            verify(forge.hs256(header={"alg": "HS256", "x": number}, secret=b"y" * 64), keys, policy, now=NOW)
    assert policy.heads == {}


def test_a_set_of_mixed_kinds_cannot_be_made(forge):
    with pytest.raises(KeyRefused) as refusal:
        KeySet([forge.hs, forge.es])
    assert refusal.value.reason == "mixed_keyset"


def test_an_ecdsa_signature_with_a_zero_byte_less_or_more_is_refused(forge):
    # RFC 7518 section 3.4: 64 bytes. With fewer or more zeros before the second number, the numbers would be the same.
    for number in range(5000):
        token = forge.es256(forge.payload(jti=f"j{number}"))
        message, _, segment = token.rpartition(".")
        signature = base64.urlsafe_b64decode(segment + "==")
        if signature[32] == 0:
            break
    assert signature[32] == 0
    assert verify(token, forge.es, forge.policy(), now=NOW).subject == "ci"
    for other in (signature[:32] + signature[33:], signature[:32] + b"\0" + signature[32:]):
        with pytest.raises(TokenRefused) as refusal:
            verify(f"{message}.{b64(other)}", forge.es, forge.policy(), now=NOW)
        assert refusal.value.reason == "bad_signature"


def test_an_issuer_given_alone_is_that_name_and_no_part_of_it(forge):
    assert claimed_issuer(forge.hs256(), forge.issuer) == forge.issuer
    for part in ("", "https", forge.issuer[:-1]):
        with pytest.raises(TokenRefused) as refusal:
            claimed_issuer(forge.hs256(forge.payload(iss=part)), forge.issuer)
        assert (refusal.value.reason, refusal.value.expected) == ("iss_mismatch", forge.issuer)


@pytest.mark.parametrize("algorithms", [5, "none", [], ["HS256", "RS256"], b"HS256"])
def test_allowed_algorithms_that_cannot_be_meant_are_a_config_error(forge, algorithms):
    with pytest.raises(InvalidInput) as error:
        verify_bytes(forge.hs256(), forge.hs, algorithms=algorithms)
    assert error.value.code == "config_error"


def test_a_token_is_sent_to_the_policy_of_the_issuer_it_names(forge):
    # D16: a verifier for several issuers; the key of one does not vouch for another.
    trusted = {
        forge.issuer: (forge.policy(), forge.keyset(forge.es).bound_to(forge.issuer)),
        "https://b.example": (
            forge.policy(issuer="https://b.example"),
            forge.keyset(forge.rs).bound_to("https://b.example"),
        ),
    }

    def verified_by_any(token):
        policy, keys = trusted[claimed_issuer(token, trusted)]
        return verify(token, keys, policy, now=NOW)

    assert verified_by_any(forge.es256()).issuer == forge.issuer
    assert verified_by_any(forge.rs256(forge.payload(iss="https://b.example"))).issuer == "https://b.example"
    for token, reason in [
        (forge.es256(forge.payload(iss="https://b.example")), "alg_not_allowed"),
        (forge.es256(forge.payload(iss="https://evil.example")), "iss_mismatch"),
        (forge.es256(forge.payload(iss=["https://b.example"])), "iss_mismatch"),
        (forge.es256(forge.payload(iss=...)), "iss_mismatch"),
        ("a.b", "malformed_token"),
    ]:
        with pytest.raises(TokenRefused) as refusal:
            verified_by_any(token)
        assert refusal.value.reason == reason
