"""Keys: what is refused when it is loaded (B08 to B21, E02 to E04), and what is never shown."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from valetkey.errors import KeyRefused
from valetkey.jose import Key, KeySet, sign_bytes, verify_bytes
from valetkey.jose.weak import check_rsa, is_roca

ALGORITHMS = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448",
]  # fmt: skip


def refusal(make):
    with pytest.raises(KeyRefused) as error:
        make()
    return error.value.reason


@pytest.fixture(scope="module")
def certificate(forge):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, forge.ec.public_key(), 1, start, start + timedelta(days=1))
    return builder.sign(forge.ec, hashes.SHA256())


def disguises(f, certificate):
    """Everything that is a key of another kind, in every form people paste it."""
    pem = f.public_pem(f.rsa)
    der = f.public_der(f.rsa)
    ssh = f.ed.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    ssh_private = f.ec.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    jwk = json.dumps(f.es.to_jwk()).encode()
    body = b"".join(line for line in pem.splitlines() if b"-----" not in line)
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(f.ec, hashes.SHA256())
    return {
        "PEM": pem,
        "PEM, newline before": b"\n" + pem,
        "PEM, blank before": b" " + pem,
        "PEM, byte order mark": b"\xef\xbb\xbf" + pem,
        "PEM, CRLF": pem.replace(b"\n", b"\r\n"),
        "private PEM": f.private_pem(f.ec),
        "PKCS #1 PEM": f.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "PEM in base64": base64.b64encode(pem),
        "PEM body": body,
        "PEM body with line breaks": b"\n".join(pem.splitlines()[1:-1]),
        "PEM body, base64url, unpadded": base64.urlsafe_b64encode(der).rstrip(b"="),
        "DER": der,
        "PKCS #1 DER": f.rsa.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "private DER": f.rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "EC DER": f.public_der(f.ec),
        "certificate PEM": certificate.public_bytes(Encoding.PEM),
        "certificate DER": certificate.public_bytes(Encoding.DER),
        "certificate body": base64.b64encode(certificate.public_bytes(Encoding.DER)),
        "certificate request": request.public_bytes(Encoding.DER),
        "encrypted private DER": f.ec.private_bytes(
            Encoding.DER,
            PrivateFormat.PKCS8,
            BestAvailableEncryption(b"x"),
        ),
        "SSH public key": ssh,
        "SSH public key after a blank": b"  " + ssh,
        "SSH key body": ssh.split()[1],
        "SSH private key": ssh_private,
        "JWK": jwk,
        "JWK after blanks": b" \r\n" + jwk,
        "JWK in UTF-16": jwk.decode().encode("utf-16"),
        "JWK in base64": base64.b64encode(jwk),
        "JWK Set": json.dumps({"keys": [f.es.to_jwk()]}).encode(),
        "list of JWKs": json.dumps([f.es.to_jwk()]).encode(),
    }


def test_a_secret_that_is_really_another_kind_of_key_is_refused(forge, certificate):
    # B08 to B12
    reasons = {name: loaded(secret) for name, secret in disguises(forge, certificate).items()}
    assert set(reasons.values()) == {"key_not_symmetric"}, reasons


def loaded(secret):
    try:
        Key.secret(secret)
    except KeyRefused as error:
        return error.reason
    return "accepted"


def test_the_same_in_a_jwk_is_refused(forge):
    k = base64.urlsafe_b64encode(forge.public_pem(forge.rsa)).rstrip(b"=").decode()
    assert refusal(lambda: Key.from_jwk({"kty": "oct", "k": k, "alg": "HS256"})) == "key_not_symmetric"


@pytest.mark.parametrize(
    "secret",
    [
        bytes(range(32)),
        b"0" + bytes(31),
        b"\x30\x82" + bytes(62),
        b'{"this": "is json but no key at all"}',
        b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
        "a passphrase of more than 32 characters, in words",
        base64.b64encode(bytes(range(48))),
        "0123456789abcdef" * 4,
    ],
)
def test_other_secrets_of_enough_length_are_taken(secret):
    assert Key.secret(secret).alg == "HS256"


@pytest.mark.parametrize(("alg", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(alg, size):
    # B13, B14
    assert Key.secret(bytes(range(size)), alg=alg).alg == alg
    assert refusal(lambda: Key.secret(bytes(range(size - 1)), alg=alg)) == "key_too_weak"
    assert refusal(lambda: Key.secret(b"", alg=alg)) == "key_too_weak"
    assert refusal(lambda: Key.from_jwk({"kty": "oct", "k": "", "alg": alg})) == "key_too_weak"


@pytest.mark.parametrize(
    ("e", "bits", "reason"),
    [(65537, 1024, "key_too_weak"), (65537, 2047, "key_too_weak"), (1, 2048, "key_too_weak"), (4, 2048, "key_too_weak"),
     (2**32 + 1, 2048, "key_too_weak"), (65537, 8193, "key_invalid")],
)  # fmt: skip
def test_weak_and_oversized_rsa_keys_are_refused(e, bits, reason):
    # B15
    assert refusal(lambda: check_rsa(rsa.RSAPublicNumbers(e, (1 << (bits - 1)) + 1))) == reason


def test_a_small_rsa_key_is_refused_in_every_form(forge):
    small = rsa.generate_private_key(65537, 1024)
    assert refusal(lambda: Key.from_pem(forge.public_pem(small), alg="RS256")) == "key_too_weak"
    assert refusal(lambda: Key.from_pem(forge.private_pem(small), alg="PS256")) == "key_too_weak"


def test_the_mark_of_roca_is_seen():
    # Modulo every small prime a ROCA modulus is a power of 65537; such a number is made here by the remainders.
    primes = [p for p in range(3, 168, 2) if all(p % d for d in range(3, p, 2))]
    product = 1
    for prime in primes:
        product *= prime
    assert is_roca(pow(65537, 12345, product))
    assert not is_roca(pow(65537, 12345, product) + 1)
    assert not is_roca(Key.generate("RS256")._material.public_key().public_numbers().n)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use": "enc"}, "key_use_mismatch"),  # B18
        ({"key_ops": ["encrypt"]}, "key_use_mismatch"),
        ({"key_ops": []}, "key_use_mismatch"),
        ({"key_ops": "verify"}, "key_use_mismatch"),
        ({"alg": "A256GCM"}, "key_alg_mismatch"),  # B19
        ({"alg": "ES224"}, "key_alg_mismatch"),
        ({"alg": "RSA1_5"}, "key_alg_mismatch"),
        ({"alg": "none"}, "key_alg_mismatch"),
        ({"alg": 7}, "key_alg_mismatch"),
        ({"alg": "ES384"}, "key_alg_mismatch"),  # B21
        ({"alg": "RS256"}, "key_alg_mismatch"),
        ({"kty": "RSA"}, "key_invalid"),  # B20
        ({"kty": "AKP"}, "key_invalid"),
        ({"kty": None}, "key_invalid"),
        ({"crv": "P-384"}, "key_invalid"),
        ({"crv": "secp256k1"}, "key_invalid"),
        ({"crv": ["P-256"]}, "key_invalid"),
        ({"x": "AAAA"}, "key_invalid"),
        ({"x": 7}, "key_invalid"),
        ({"x": "é"}, "key_invalid"),
        ({"x": "A" * 5000}, "key_invalid"),
        ({"x": "=" * 43}, "key_invalid"),
        ({"y": "A" * 43}, "key_invalid"),
        ({"kid": 7}, "key_invalid"),
        ({"kid": ""}, "key_invalid"),
        ({"kid": "a\nb"}, "key_invalid"),
        ({"kid": "k" * 257}, "key_invalid"),
    ],
)
def test_a_jwk_that_is_not_for_this_is_refused(forge, change, reason):
    assert refusal(lambda: Key.from_jwk({**forge.es.to_jwk(), **change})) == reason


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_what_is_no_object_is_no_jwk(value):
    assert refusal(lambda: Key.from_jwk(value)) == "key_invalid"


def test_an_okp_key_whose_halves_do_not_belong_together_is_refused():
    # B20
    one, two = (Key.generate("EdDSA").to_jwk(private=True) for _ in range(2))
    assert refusal(lambda: Key.from_jwk({**one, "x": two["x"]})) == "key_invalid"
    assert refusal(lambda: Key.from_jwk({**one, "crv": "X25519"})) == "key_invalid"
    assert refusal(lambda: Key.from_jwk({**one, "x": "AAAA", "d": ...} | {"d": one["d"][:8]})) == "key_invalid"


def test_an_rsa_key_of_three_primes_or_broken_numbers_is_refused():
    jwk = Key.generate("RS256").to_jwk(private=True)
    assert refusal(lambda: Key.from_jwk({**jwk, "oth": []})) == "key_invalid"
    assert refusal(lambda: Key.from_jwk({**jwk, "p": jwk["q"]})) == "key_invalid"
    assert refusal(lambda: Key.from_jwk({**jwk, "e": ""})) == "key_too_weak"


def test_an_rsa_jwk_with_only_d_is_completed():
    jwk = Key.generate("RS256", kid="r").to_jwk(private=True)
    short = {name: value for name, value in jwk.items() if name not in {"p", "q", "dp", "dq", "qi"}}
    key = Key.from_jwk(short)
    assert verify_bytes(sign_bytes(b"x", key), Key.from_jwk(jwk).public()) == b"x"


def test_the_algorithm_must_be_said_where_the_key_leaves_a_choice(forge):
    # B17
    jwk = {name: value for name, value in forge.rs.to_jwk().items() if name != "alg"}
    assert refusal(lambda: Key.from_jwk(jwk)) == "key_alg_mismatch"
    assert Key.from_jwk(jwk, alg="PS512").alg == "PS512"
    assert refusal(lambda: Key.from_jwk(forge.rs.to_jwk(), alg="PS256")) == "key_alg_mismatch"
    assert refusal(lambda: Key.from_pem(forge.public_pem(forge.rsa))) == "key_alg_mismatch"
    assert refusal(lambda: Key.from_pem(forge.public_pem(forge.ec), alg="ES384")) == "key_alg_mismatch"
    assert refusal(lambda: Key.secret(bytes(64), alg="RS256")) == "key_alg_mismatch"
    assert refusal(lambda: Key.generate("none")) == "key_alg_mismatch"
    assert Key.from_pem(forge.public_pem(forge.ec)).alg == "ES256"
    assert Key.from_pem(forge.public_pem(forge.ed448)).alg == "EdDSA"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_key_comes_back_from_jwk_and_pem(alg):
    key = Key.generate(alg, kid="k")
    again = [Key.from_jwk(json.loads(json.dumps(key.to_jwk(private=True))))]
    if not key.is_secret:
        pem = key.to_pem(private=True, password="pw")
        again += [
            Key.from_pem(pem, alg=alg, kid="k", password=b"pw"),
            Key.from_pem(key.to_pem(private=True).decode(), alg=alg, kid="k"),
        ]
        publics = [Key.from_jwk(key.to_jwk()), Key.from_pem(key.to_pem(), alg=alg), key.public()]
        for public in publics:
            assert not public.is_private
            assert verify_bytes(sign_bytes(b"x", key), KeySet([public])) == b"x"
            assert public.thumbprint() == key.thumbprint()
    for other in again:
        assert other.kid == "k"
        assert verify_bytes(sign_bytes(b"x", other), key) == b"x"


def test_pem_that_cannot_be_read_says_why(forge, certificate):
    locked = Key.generate("ES256").to_pem(private=True, password="pw")
    x = x25519.X25519PrivateKey.generate()
    exotic = x.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    old = dsa.generate_private_key(2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    curve = ec.generate_private_key(ec.SECP256K1())
    for make, words in [
        (lambda: Key.from_pem(locked), "needs a password"),
        (lambda: Key.from_pem(locked, password="no"), "cannot be read"),
        (lambda: Key.from_pem(forge.private_pem(forge.ec), password="pw"), "not encrypted"),
        (lambda: Key.from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), "cannot be read"),
        (lambda: Key.from_pem(""), "cannot be read"),
        (lambda: Key.from_pem(certificate.public_bytes(Encoding.PEM)), "certificate"),
        (lambda: Key.from_pem(exotic), "not for signatures"),
        (lambda: Key.from_pem(old), "not for signatures"),
    ]:
        with pytest.raises(KeyRefused, match=words) as error:
            make()
        assert error.value.reason == "key_invalid"
    assert refusal(lambda: Key.from_pem(forge.public_pem(curve))) == "key_alg_mismatch"
    assert refusal(lambda: Key.from_pem(forge.public_pem(curve), alg="ES256")) == "key_alg_mismatch"


def test_the_dangerous_doors_are_marked(forge):
    assert refusal(forge.hs.public) == "key_not_public"
    assert refusal(forge.hs.to_jwk) == "key_not_public"
    assert refusal(forge.hs.to_pem) == "key_not_public"
    assert refusal(lambda: forge.es.to_jwk(private=True)) == "key_not_private"
    assert refusal(lambda: forge.es.to_pem(private=True)) == "key_not_private"
    key = Key.generate("ES256")
    assert "d" not in key.to_jwk()
    assert b"PRIVATE" not in key.to_pem()
    assert all("d" not in entry for entry in KeySet([key]).to_jwks()["keys"])
    assert refusal(lambda: KeySet([forge.hs]).to_jwks()) == "key_not_public"


def test_a_key_is_read_only_and_never_shown(canary):
    secret = canary.make("secret")
    key = Key.secret(secret, kid="k")
    for shown in (repr(key), str(key), f"{key}", repr(KeySet([key]))):
        canary.assert_absent(shown)
        assert "HS256" in shown
    for victim in (key, KeySet([key])):
        with pytest.raises(TypeError):
            pickle.dumps(victim)
        with pytest.raises(AttributeError):
            victim.alg = "none"
        with pytest.raises(AttributeError):
            victim.other = 1
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key
    with pytest.raises(KeyRefused) as error:
        Key.secret(secret[:20])
    canary.assert_absent(repr(error.value), error.value.explain())


def test_a_key_set_is_a_collection(forge):
    keys = KeySet([forge.es, forge.rs])
    assert [key.kid for key in keys] == ["es", "rs"]
    assert len(keys) == 2
    assert "es" in keys
    assert keys["rs"] is forge.rs
    assert [entry["kid"] for entry in keys.to_jwks()["keys"]] == ["es", "rs"]
    assert KeySet.from_jwks(json.dumps(keys.to_jwks())).same_as(keys)


@pytest.mark.parametrize(
    ("jwks", "reason"),
    [
        (b"<html>", "key_invalid"),
        (b"[]", "key_invalid"),
        ({"keys": {}}, "key_invalid"),
        ({"keys": []}, "key_invalid"),
        ({}, "key_invalid"),
        ({"keys": [{}] * 101}, "key_invalid"),
        ({"keys": [{"kty": "oct", "k": "AA", "alg": "HS256"}]}, "key_too_weak"),
    ],
)
def test_what_is_no_key_set_is_refused(jwks, reason):
    assert refusal(lambda: KeySet.from_jwks(jwks)) == reason


def test_a_set_too_large_or_with_a_kid_twice_is_refused(forge):
    # E03
    assert refusal(lambda: KeySet([forge.es, forge.es])) == "ambiguous_key"
    assert refusal(lambda: KeySet([Key.secret(bytes([n] * 32), kid=str(n)) for n in range(101)])) == "key_invalid"
    rsa_key = Key.from_pem(forge.public_pem(forge.rsa), alg="RS256", kid="es")
    assert refusal(lambda: KeySet([forge.es, rsa_key])) == "ambiguous_key"
    assert len(KeySet([forge.es, rsa_key], allow_shared_kid=True)) == 2
    assert refusal(lambda: KeySet([rsa_key, rsa_key], allow_shared_kid=True)) == "ambiguous_key"
