"""RSASSA-PKCS1-v1_5 with encoded messages made by hand: one is right (RFC 8017 section 9.2), all others are refused."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from valetkey.errors import TokenRefused
from valetkey.jose import Key, sign_bytes, verify_bytes
from valetkey.jose.algorithms import BadSignature, _quick_pkcs1, rows
from valetkey.jose.wire import encode

OCTETS = 256
INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # of SHA-256, RFC 8017 section 9.2 note 1


@pytest.fixture(scope="module")
def private():
    return rsa.generate_private_key(65537, 8 * OCTETS)


@pytest.fixture(scope="module")
def key(private):
    return Key.from_pem(_pem(private), alg="RS256")


def _pem(private):
    from cryptography.hazmat.primitives import serialization as how

    return private.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.NoEncryption())


def forged(private, key, info, *, padding=None, tail=b"", first=b"\0\1", add=0, drop=0, digest=None):
    """Return a token whose signature is the private operation on an encoded message with these parts."""
    message = sign_bytes(b"any", key).rpartition(".")[0].encode()
    hashed = info + (digest or hashlib.sha256)(message).digest()
    fill = b"\xff" * (OCTETS - 3 - len(hashed) - len(tail)) if padding is None else padding
    encoded = (first + fill + b"\0" + hashed + tail).ljust(OCTETS, b"\xa5")
    numbers = private.private_numbers()
    n = numbers.public_numbers.n
    signature = pow(int.from_bytes(encoded, "big"), numbers.d, n) + add * n
    size = max(OCTETS, (signature.bit_length() + 7) // 8)
    return (message + b"." + encode(signature.to_bytes(size, "big")[drop:])).decode()


def test_the_one_encoding_made_by_hand_is_what_signing_makes(private, key):
    made = forged(private, key, INFO)
    assert made == sign_bytes(b"any", key)
    assert verify_bytes(made, key.public()) == b"any"


BER = bytes.fromhex("308131300d060960864801650304020105000420")
NO_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
OF_SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")
OF_SHA512 = bytes.fromhex("3051300d060960864801650304020305000440")
WRONG = {
    "parameters left out": {"info": NO_NULL},
    "a length in two bytes": {"info": BER},
    "no DigestInfo": {"info": b""},
    "another hash named": {"info": OF_SHA512},
    "another hash": {"info": OF_SHA1, "digest": hashlib.sha1},
    "another hash, ours named": {"info": INFO, "digest": hashlib.sha512},
    "eight bytes of padding, the rest behind": {"info": INFO, "padding": b"\xff" * 8},
    "seven bytes of padding": {"info": INFO, "padding": b"\xff" * 7},
    "one byte behind": {"info": INFO, "tail": b"\0"},
    "a padding that is not all ones": {"info": INFO, "padding": b"\xff" * 201 + b"\xfe"},
    "the block type of encryption": {"info": INFO, "first": b"\0\2"},
    "the block type zero": {"info": INFO, "first": b"\0\0"},
    "a first byte that is not zero": {"info": INFO, "first": b"\1\1"},
    "a number beyond the modulus": {"info": INFO, "add": 1},
    "one byte too few": {"info": INFO, "drop": 1},
}


@pytest.mark.parametrize("case", WRONG)
def test_every_other_encoding_is_refused(private, key, case):
    with pytest.raises(TokenRefused) as refusal:
        verify_bytes(forged(private, key, **WRONG[case]), key.public())
    assert refusal.value.reason == "bad_signature"


def test_a_signature_without_the_zeros_it_begins_with_is_refused(key):
    """OpenSSL's recovery takes shorter ones; four characters less leave the last character as it was."""
    asked = []
    public = Key.from_pem(key.to_pem(), alg="RS256").checker  # the whole way, as a token goes it
    for number in range(100_000):
        message = b"h.%d" % number
        signature = key.signer(message)
        if signature[0]:
            continue
        asked.append(number)
        stripped = signature.lstrip(b"\0")
        with pytest.raises(BadSignature):
            public(message, stripped)
        if len(asked) == 2:
            break
    assert len(asked) == 2


def test_a_signature_that_is_three_bytes_short_is_not_even_recovered(private):
    def asked(*_):
        raise AssertionError("the slow way was asked")

    class Public:
        """Recover what is right, as OpenSSL does where three zeros were left out."""

        key_size = 8 * OCTETS

        @staticmethod
        def recover_data_from_signature(signature, *_):
            return INFO + hashlib.sha256(b"m").digest()

    quick = _quick_pkcs1(Public, "RS256", asked)
    quick(b"m", bytes(OCTETS))
    with pytest.raises(AssertionError, match="the slow way was asked"):
        quick(b"m", bytes(OCTETS - 3))


@pytest.mark.parametrize(
    "problem", [InvalidSignature(), ValueError("refused"), UnsupportedAlgorithm("refused")], ids=repr
)
def test_what_cannot_be_recovered_is_decided_the_slow_way(problem):
    class Public:
        key_size = 8 * OCTETS

        @staticmethod
        def recover_data_from_signature(*_):
            raise problem

    asked = []
    _quick_pkcs1(Public, "RS256", lambda *what: asked.append(what))(b"m", bytes(OCTETS))
    assert asked == [(b"m", bytes(OCTETS))]


@pytest.mark.parametrize("bits", [2048, 2056, 2052, 3072])
@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512"])
def test_the_quick_comparison_is_enough_for_a_genuine_token(alg, bits):
    private = rsa.generate_private_key(65537, bits)
    (row,) = rows(alg)

    def asked(*_):
        raise AssertionError("the slow way was asked")

    quick = _quick_pkcs1(private.public_key(), alg, asked)
    quick(b"header.payload", row.signer(private)(b"header.payload"))
    with pytest.raises(AssertionError, match="the slow way was asked"):
        quick(b"header.payloae", row.signer(private)(b"header.payload"))
