"""Proof keys, by the vector of RFC 7636 appendix B."""

from __future__ import annotations

import pytest

from valetkey.errors import InvalidInput
from valetkey.oauth.pkce import challenge, verifier_from
from valetkey.values import Secret

# RFC 7636 appendix B
OCTETS = bytes.fromhex("7418dfb49799e0254ffa607dd8adbbba 16d4254d69d6bff05b58055853848d79")
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_octets_of_the_rfc_give_its_verifier():
    assert verifier_from(OCTETS).reveal() == VERIFIER


def test_the_verifier_of_the_rfc_gives_its_challenge():
    assert challenge(Secret(VERIFIER)) == CHALLENGE


@pytest.mark.parametrize(("size", "fits"), [(0, False), (31, False), (32, True), (96, True), (97, False)])
def test_a_verifier_is_made_of_32_to_96_octets(size, fits):
    if fits:
        assert 43 <= len(verifier_from(bytes(size)).reveal()) <= 128
    else:
        with pytest.raises(InvalidInput):
            verifier_from(bytes(size))


@pytest.mark.parametrize("verifier", ["", "a" * 42, "a" * 129, "a" * 42 + "+", "a" * 42 + "é", "a" * 43 + "\n"])
def test_what_is_no_verifier_is_refused_and_not_repeated(verifier):
    with pytest.raises(InvalidInput) as refused:
        challenge(Secret(verifier))
    assert not verifier or verifier not in refused.value.explain()


def test_the_shortest_and_the_longest_verifier_are_taken():
    assert challenge(Secret("a" * 43)) != challenge(Secret("a" * 128))
