"""Throw bytes at the verifier: `python tests/fuzz/fuzz_jose.py [seconds]`.

With atheris (where its wheel exists) the coverage of our own code guides it; elsewhere hypothesis makes mutated
tokens. Either way: whatever comes in, claims or TokenRefused come out, and a token that was changed is not accepted.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress

from valetkey.errors import KeyRefused, TokenRefused
from valetkey.jose import Key, KeySet, Policy, explain, sign, sign_bytes, verify

NOW = 1_790_000_000
KEY = Key.secret(bytes(range(100, 132)), kid="fuzz")
KEYS = KeySet([KEY])
POLICY = Policy(issuer="i", audience="a", scope="s")
LENIENT = Policy(
    issuer="i", audience="a", allow_padding=True, allow_duplicate_members=True, allow_jwe_headers=True, typ=None
)
GOOD = sign(KEY, now=NOW, jti="j", issuer="i", audience="a", subject="s", scope="s", claims={"n": {"l": [1, "é"]}})


def one(data: bytes) -> None:
    """Try one input in every place where input comes in."""
    for token in (data, data.decode("latin-1"), sign_bytes(data[:8000], KEY)):
        for policy in (POLICY, LENIENT):
            try:
                claims = verify(token, KEYS, policy, now=NOW)
            except TokenRefused as refusal:
                reason = refusal.reason
            else:
                reason = ""
                json.dumps(claims.to_dict())
                # Of what came in as it is, only the one good token can be accepted: no spelling of it is another.
                assert token not in (data, data.decode("latin-1")) or data == GOOD.encode() or policy is LENIENT, token
            found = explain(token, policy, KEYS, now=NOW)
            assert found.reason == reason, (token, found.reason, reason)
            str(found)
    with suppress(KeyRefused):
        KeySet.from_jwks(data, skip_unusable=True)


def with_atheris(seconds: int) -> None:
    import atheris

    options = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=20000"]
    atheris.instrument_all()
    atheris.Setup(options, one)
    atheris.Fuzz()


def with_hypothesis(seconds: int) -> int:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    places = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 3), st.binary(max_size=4)), max_size=4)

    def mutated(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = GOOD.encode()
        for place, cut, new in changes:
            data = data[:place] + new + data[place + cut :]
        return data

    documents = st.text(st.sampled_from('{}[]":,\\ \n019eE.-+tfnull\u00e9ad issexpub'), max_size=200).map(str.encode)
    tried = 0

    @settings(
        max_examples=2000, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.binary(max_size=300) | places.map(mutated) | documents)
    def round_of(data: bytes) -> None:
        nonlocal tried
        tried += 1
        one(data)

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        round_of()
    return tried


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    try:
        import atheris  # noqa: F401  # only to know whether it is there
    except ImportError:
        print(f"{with_hypothesis(seconds)} inputs, nothing found")
    else:
        with_atheris(seconds)


if __name__ == "__main__":
    main()
