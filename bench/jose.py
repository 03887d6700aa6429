"""How fast tokens are signed and verified, beside the libraries people use today, all in one run on one core.

    python -m bench.jose

Every verifier checks the signature, `exp`, `iss` and `aud` of the same tokens, with its keys loaded beforehand.
"raw" is `cryptography` alone: the signature over the same bytes, and nothing else. Node's libraries take turns with
the others where tests/peers/node has them, pinned to the same core.
"""

from __future__ import annotations

import hmac
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.node import NodeWork, node_works
from bench.rows import Row, best, pin, table
from valetkey import jose
from valetkey.errors import TokenRefused
from valetkey.jose.cache import CACHE_SIZE

ROUNDS = 60
BATCH_SECONDS = 0.01
ISSUER, AUDIENCE = "https://auth.example", "https://api.example"
OURS, RAW = "valetkey", "raw"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
AIMS = {
    ("verify", "HS256"): "ahead of fast-jwt, 5 × PyJWT",
    ("verify", "RS256"): "0.88 × raw, ahead of all",
    ("verify", "ES256"): "0.88 × raw, ahead of all",
    ("verify", "EdDSA"): "0.88 × raw, ahead of all",
    ("verify again", "HS256"): "800 k/s, ahead of fast-jwt",
    ("sign", "HS256"): "4 × PyJWT",
    ("sign", "RS256"): "0.9 × raw",
    ("sign", "ES256"): "0.9 × raw",
    ("sign", "EdDSA"): "0.9 × raw",
}
SECRET = bytes(range(100, 164))


Work = Callable[[], object] | NodeWork


@dataclass(frozen=True)
class Contest:
    """Be what a contest found: seconds per call at best, and how many of ours take as long as one of each other."""

    seconds: dict[str, float]
    ratios: dict[str, float]


def batch(work: Work, number: int) -> float:
    """Return seconds per call, of one batch."""
    return work.batch(number) if isinstance(work, NodeWork) else best(work, number=number, repeat=1)


def contest(works: dict[str, Work]) -> Contest:
    """Measure in turns: short batches, many rounds. The best batch counts, and of the ratios the one in the middle.

    Turns, because this machine is never quiet: what disturbs one disturbs the next. So a ratio is one of neighbours.
    """
    numbers = {name: max(1, int(BATCH_SECONDS / min(batch(work, 3) for _ in range(3)))) for name, work in works.items()}
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(ROUNDS):
        for name in list(works) if turn % 2 else reversed(list(works)):
            found[name].append(batch(works[name], numbers[name]))
    ratios = {
        name: statistics.median(took / ours for took, ours in zip(found[name], found[OURS], strict=True))
        for name in works
        if OURS in works
    }
    return Contest({name: min(took) for name, took in found.items()}, ratios)


def ours(alg: str) -> jose.Key:
    return jose.Key.secret(SECRET, kid="bench") if alg == "HS256" else jose.Key.generate(alg, kid="bench")


def issue(key: jose.Key, now: float, jti: str = "Zk3Lx9aPq1TtY7uW2sVb4g") -> str:
    return jose.sign(
        key, now=now, jti=jti, issuer=ISSUER, subject="ci", audience=AUDIENCE, scope="automation:write", typ="at+jwt"
    )


def signing(key: jose.Key, now: float) -> Work:
    """Return the signing itself, without a function in between."""
    return lambda: jose.sign(
        key,
        now=now,
        jti="Zk3Lx9aPq1TtY7uW2sVb4g",
        issuer=ISSUER,
        subject="ci",
        audience=AUDIENCE,
        scope="automation:write",
        typ="at+jwt",
    )


def raw_verify(key: jose.Key, token: str) -> Callable[[], object]:
    """Return the bare verification of the same signature, everything prepared."""
    message = token.rpartition(".")[0].encode()
    if key.is_secret:
        return lambda: hmac.digest(SECRET, message, "sha256")
    private = load_pem_private_key(key.to_pem(private=True), None)
    verify = private.public_key().verify
    if key.alg == "RS256":
        pad, chosen = padding.PKCS1v15(), hashes.SHA256()
        signature = private.sign(message, pad, chosen)
        return lambda: verify(signature, message, pad, chosen)
    if key.alg == "ES256":
        scheme = ec.ECDSA(hashes.SHA256())
        signature = private.sign(message, scheme)
        return lambda: verify(signature, message, scheme)
    signature = private.sign(message)
    return lambda: verify(signature, message)


def raw_sign(key: jose.Key, token: str) -> Callable[[], object]:
    message = token.rpartition(".")[0].encode()
    if key.is_secret:
        return lambda: hmac.digest(SECRET, message, "sha256")
    private = load_pem_private_key(key.to_pem(private=True), None)
    if key.alg == "RS256":
        pad, chosen = padding.PKCS1v15(), hashes.SHA256()
        return lambda: private.sign(message, pad, chosen)
    if key.alg == "ES256":
        scheme = ec.ECDSA(hashes.SHA256())
        return lambda: private.sign(message, scheme)
    return lambda: private.sign(message)


# ── the peers: each gives (name, verify, sign) or nothing where it is not installed ───────────────────────────


def pyjwt(key: jose.Key, token: str, claims: dict) -> Iterator[tuple[str, Callable, Callable]]:
    try:
        import jwt
        from jwt.algorithms import get_default_algorithms
    except ImportError:
        return
    algorithm = get_default_algorithms()[key.alg]
    private = SECRET if key.is_secret else algorithm.prepare_key(key.to_pem(private=True))
    public = SECRET if key.is_secret else algorithm.prepare_key(key.to_pem())
    options = {"require": ["exp", "iss", "aud"]}

    def verify():
        return jwt.decode(token, public, algorithms=[key.alg], audience=AUDIENCE, issuer=ISSUER, options=options)

    yield "PyJWT", verify, lambda: jwt.encode(claims, private, algorithm=key.alg, headers={"kid": "bench"})


def joserfc(key: jose.Key, token: str, claims: dict) -> Iterator[tuple[str, Callable, Callable]]:
    try:
        from joserfc import jwt
        from joserfc.jwk import import_key
    except ImportError:
        return
    jwk = key.to_jwk(private=True)
    private = import_key(jwk)
    public = import_key(jwk if key.is_secret else key.to_jwk())
    needs = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
    )

    def verify():
        found = jwt.decode(token, public, algorithms=[key.alg])
        needs.validate(found.claims)

    header = {"alg": key.alg, "kid": "bench"}
    yield "joserfc", verify, lambda: jwt.encode(header, claims, private, algorithms=[key.alg])


def authlib(key: jose.Key, token: str, claims: dict) -> Iterator[tuple[str, Callable, Callable]]:
    try:
        import warnings

        warnings.simplefilter("ignore")
        from authlib.jose import JsonWebKey, JsonWebToken
    except ImportError:
        return
    jwt = JsonWebToken([key.alg])
    private = JsonWebKey.import_key(key.to_jwk(private=True))
    public = private if key.is_secret else JsonWebKey.import_key(key.to_jwk())
    needs = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": AUDIENCE}}

    def verify():
        jwt.decode(token, public, claims_options=needs).validate()

    header = {"alg": key.alg, "kid": "bench"}
    yield "Authlib", verify, lambda: jwt.encode(header, claims, private)


def python_jose(key: jose.Key, token: str, claims: dict) -> Iterator[tuple[str, Callable, Callable]]:
    try:
        from jose import jwk, jwt
    except ImportError:
        return
    if key.alg == "EdDSA":
        return
    private = SECRET if key.is_secret else jwk.construct(key.to_pem(private=True), key.alg)
    public = SECRET if key.is_secret else jwk.construct(key.to_pem(), key.alg)

    def verify():
        jwt.decode(token, public, algorithms=[key.alg], audience=AUDIENCE, issuer=ISSUER)

    yield "python-jose", verify, lambda: jwt.encode(claims, private, algorithm=key.alg, headers={"kid": "bench"})


PEERS = (pyjwt, joserfc, authlib, python_jose)


def contestants(key: jose.Key, token: str, now: float) -> dict[str, dict[str, Work]]:
    """Return who takes part: for each operation, by name, what to measure."""
    keys = jose.KeySet([key])
    plain = jose.Policy(issuer=ISSUER, audience=AUDIENCE, cache=False)
    cached = jose.Policy(issuer=ISSUER, audience=AUDIENCE)
    claims = jose.verify(token, keys, plain, now=now).to_dict()
    verify = {OURS: lambda: jose.verify(token, keys, plain, now=now), RAW: raw_verify(key, token)}
    again = {OURS: lambda: jose.verify(token, keys, cached, now=now)}
    sign = {OURS: signing(key, now), RAW: raw_sign(key, token)}
    for peer in PEERS:
        for name, verify_one, sign_one in peer(key, token, claims):
            verify[name], sign[name] = verify_one, sign_one
    return {"verify": verify, "verify again": again, "sign": sign}


def rows_of(operation: str, alg: str, found: Contest) -> Iterator[Row]:
    for name, took in sorted(found.seconds.items(), key=lambda item: item[1]):
        what = f"{operation} {alg}, {name}"
        if name == OURS:
            raw = found.ratios.get(RAW)
            yield Row(what, 1 / took, "/s", raw, RAW if raw else "", AIMS.get((operation, alg), ""))
        else:
            yield Row(what, 1 / took, "/s", 1 / found.ratios[name], "ours")


def job(key: jose.Key, token: str) -> dict:
    """Return what Node's libraries need for the same work."""
    pems = {} if key.is_secret else {"private": key.to_pem(private=True).decode(), "public": key.to_pem().decode()}
    jwk = key.to_jwk(private=True)
    return {"alg": key.alg, "token": token, "jwk": jwk, **pems, "issuer": ISSUER, "audience": AUDIENCE}


def refusal_rows(now: float) -> Iterator[Row]:
    """Measure how fast hostile tokens are refused: the cost must not grow with their size."""
    key = ours("HS256")
    policy = jose.Policy(issuer=ISSUER, audience=AUDIENCE)
    keys = jose.KeySet([key])
    good = issue(key, now)
    hostile = {
        "10 MB": "A" * 10_000_000,
        "a million dots": "." * 1_000_000,
        "deep JSON": jose.sign_bytes(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", key),
        "forged HS256": good[:-4] + "AAAA",
        "unknown kid": jose.sign_bytes(b"{}", jose.Key.secret(b"x" * 32, kid="other")),
    }
    for name, token in hostile.items():

        def refuse(token=token, name=name):
            try:
                jose.verify(token, keys, policy, now=now)
            except TokenRefused:
                return
            raise AssertionError(name)

        yield Row(f"refuse {name}", 1e6 * contest({name: refuse}).seconds[name], "µs")


def memory_of_a_full_cache(now: float) -> float:
    """Return the megabytes that a policy's memory takes when it is full of tokens of seven claims."""
    key = ours("HS256")
    keys, policy = jose.KeySet([key]), jose.Policy(issuer=ISSUER, audience=AUDIENCE)
    tokens = [issue(key, now, f"{number:022d}") for number in range(CACHE_SIZE)]
    tracemalloc.start()
    for token in tokens:
        jose.verify(token, keys, policy, now=now)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / 1e6


def main() -> list[Row]:
    """Measure everything and return the rows."""
    pin()
    now = time.time()
    keys = {alg: ours(alg) for alg in ALGORITHMS}
    tokens = {alg: issue(key, now) for alg, key in keys.items()}
    measured: dict[tuple[str, str], Contest] = {}
    with node_works([job(key, tokens[alg]) for alg, key in keys.items()]) as node:
        for alg, key in keys.items():
            for operation, works in contestants(key, tokens[alg], now).items():
                measured[operation, alg] = contest({**works, **node.get((operation, alg), {})})
    rows = [row for (operation, alg), found in sorted(measured.items()) for row in rows_of(operation, alg, found)]
    rows += refusal_rows(now)
    return [*rows, Row(f"a full cache of {CACHE_SIZE} tokens", memory_of_a_full_cache(now), "MB")]


if __name__ == "__main__":
    print(table(main()))
