"""Records: what was written reads back whole, by older and newer versions too, and shows nothing secret."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetkey.errors import VaultDamaged, VaultUnreadable
from valetkey.providers import loader
from valetkey.providers.schema import Api, Asking, Parameter, Provider, Source
from valetkey.values import Secret
from valetkey.vault.layout import LAYOUT, RECORD_VERSION
from valetkey.vault.records import (
    App,
    Asked,
    Canary,
    Connection,
    Intent,
    Lease,
    Pending,
    TokenSet,
    Trouble,
    from_bytes,
    to_bytes,
)
from vaultkit import a_connection, a_provider, an_app

NAME = "connection/acme/alice"

texts = st.text(max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
tuples = st.lists(texts, max_size=3).map(tuple)
maps = st.dictionaries(texts, texts, max_size=3)
secrets = texts.map(Secret)


def maybe(strategy):
    return st.none() | strategy


token_sets = st.builds(
    TokenSet,
    access=secrets,
    obtained_at=floats,
    kind=texts,
    expires_at=maybe(floats),
    refresh=maybe(secrets),
    refresh_expires_at=maybe(floats),
    scopes=tuples,
    id_token=maybe(secrets),
)
asked = st.builds(Asked, scopes=tuples, audience=texts, resource=tuples, extra=maps, subject=texts)
troubles = st.builds(
    Trouble,
    sort=st.sampled_from(["grant", "client", "weather"]),
    code=texts,
    message=texts,
    at=floats,
    reason=texts,
    failures=st.integers(0, 1 << 40),
    retry_at=floats,
)
grants = st.sampled_from(["authorization_code", "client_credentials", "device_code", "jwt_bearer"])
connections = st.builds(
    Connection,
    app=texts,
    label=texts,
    grant=grants,
    created_at=floats,
    asked=asked,
    tokens=maybe(token_sets),
    kept=maps,
    hosts=tuples,
    lease=maybe(st.builds(Lease, owner=texts, until=floats)),
    intent=maybe(st.builds(Intent, attempt=texts, fingerprint=texts, started_at=floats)),
    trouble=maybe(troubles),
    revoked_at=floats,
    generation=st.integers(0, 1 << 40),
    rotates=maybe(st.booleans()),
    margin=floats,
)
apps = st.builds(
    App,
    name=texts,
    provider=texts,
    client_id=texts,
    created_at=floats,
    secret=maybe(secrets),
    described=maybe(st.sampled_from([a_provider(), loader.load("google"), loader.load("salesforce")])),
    params=maps,
    token_auth=maybe(st.sampled_from(["none", "client_secret_post"])),
    private_key=maybe(secrets),
    scopes=tuples,
    authorize_params=maps,
)
pendings = st.builds(
    Pending,
    app=texts,
    label=texts,
    redirect_uri=texts,
    binding=texts,
    started_at=floats,
    expires_at=floats,
    state=secrets,
    verifier=maybe(secrets),
    asked=asked,
    used_at=floats,
)


@settings(max_examples=150)
@given(record=connections | apps | pendings | st.just(Canary()), head=st.binary(max_size=70))
def test_every_record_reads_back_as_it_was_written(record, head):
    assert from_bytes(type(record), NAME, to_bytes(record, head)) == record


@pytest.mark.parametrize("kind", [App, Connection, Pending])  # an empty map is a whole canary
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_as_damaged_or_of_a_later_version(kind, garbage):
    for stored in (garbage, LAYOUT.pack(RECORD_VERSION, 0) + garbage, LAYOUT.pack(RECORD_VERSION, 9) + garbage):
        with pytest.raises((VaultDamaged, VaultUnreadable)):
            from_bytes(kind, NAME, stored) and pytest.fail("garbage was read as a record")


def test_a_record_cut_anywhere_is_refused():
    stored = to_bytes(a_connection())
    for length in range(len(stored)):
        with pytest.raises((VaultDamaged, VaultUnreadable)):
            from_bytes(Connection, NAME, stored[:length])


def test_a_later_version_says_to_update():
    with pytest.raises(VaultUnreadable) as refusal:
        from_bytes(Connection, NAME, bytes((RECORD_VERSION + 1,)) + to_bytes(a_connection())[1:])
    assert "newest valetkey" in refusal.value.fix


def written(told, head=b""):
    """Return members as another version of valetkey would have written them."""
    return LAYOUT.pack(RECORD_VERSION, len(head)) + head + msgspec.msgpack.encode(told)


def test_a_record_of_an_older_valetkey_reads_with_what_came_later_at_its_default():
    told = {"app": "acme", "label": "alice", "grant": "authorization_code", "created_at": 1.5}
    got = from_bytes(Connection, NAME, written({**told, "tokens": {"access": "a", "obtained_at": 2}}))
    assert got.name == "acme/alice"
    assert got.tokens == TokenSet(access=Secret("a"), obtained_at=2.0)
    assert (got.rotates, got.generation, got.margin, got.lease) == (None, 0, 0.0, None)


def members(record):
    return msgspec.msgpack.decode(to_bytes(record)[LAYOUT.size :])


@pytest.mark.parametrize(
    "record",
    [
        a_connection(lease=Lease("a", 1.0), intent=Intent(attempt="a", fingerprint="b", started_at=1.0)),
        an_app(),
        Pending(
            app="a",
            label="b",
            redirect_uri="c",
            binding="d",
            started_at=1.0,
            expires_at=2.0,
            state=Secret("e"),
            verifier=Secret("f"),
        ),
        Canary(),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_a_later_valetkey_added_is_passed_over_at_any_depth(record):
    # Two versions may share a vault while one is being replaced.

    def grown(told):
        if isinstance(told, dict):
            return {**{name: grown(value) for name, value in told.items()}, "added_later": {"x": [1, {"y": None}]}}
        return told

    told = grown(members(record))
    for free in ("kept", "params", "authorize_params"):
        told.pop(free, None)
    assert from_bytes(type(record), NAME, written(told)) == record


def test_what_a_later_valetkey_knows_of_a_provider_is_passed_over():
    # The schema refuses unknown members, so that slips in files are found; a stored description is no file.
    described = Provider(
        key="own",
        name="Own",
        asking=Asking(token_params={"a": "b"}),
        api=Api(hosts=["api.test"]),
        parameters={"host": Parameter(about="the host")},
        sources=[Source(where="https://docs.test", date="2026-03-01", facts=["endpoints"])],
    )
    app = an_app(described)
    told = members(app)
    for place in (
        told,
        told["described"],
        told["described"]["asking"],
        told["described"]["api"],
        told["described"]["parameters"]["host"],
        told["described"]["sources"][0],
    ):
        place["added_later"] = ["anything"]
    assert from_bytes(App, "app/acme", written(told)) == app


WRONG = [
    (Connection, {"app": "acme"}),  # members missing
    (Connection, {**members(a_connection()), "grant": "password"}),
    (Connection, {**members(a_connection()), "created_at": "yesterday"}),
    (Connection, {**members(a_connection()), "tokens": {"access": 7, "obtained_at": 1.0}}),
    (Connection, {**members(a_connection()), "tokens": {"access": None, "obtained_at": 1.0}}),
    (App, {**members(an_app()), "secret": ["s3cret-in-a-list"]}),
    (App, {**members(an_app()), "described": {"key": "x", "name": 5}}),
    (App, []),
    (App, "s3cret-text"),
    (Canary, None),
]


@pytest.mark.parametrize(("kind", "told"), WRONG)
def test_a_record_that_opens_and_is_none_is_called_damaged_without_quoting_it(kind, told):
    with pytest.raises(VaultDamaged) as refusal:
        from_bytes(kind, NAME, written(told))
    assert NAME in str(refusal.value)
    assert "s3cret" not in refusal.value.explain() + repr(refusal.value.__cause__)
    assert refusal.value.__suppress_context__


def test_a_record_nested_beyond_reason_is_called_damaged():
    deep = b"\x91" * 100_000 + b"\xc0"
    told = b"\x81\xa1x" + deep
    with pytest.raises(VaultDamaged):
        from_bytes(Connection, NAME, LAYOUT.pack(RECORD_VERSION, 0) + told)


def test_no_record_shows_a_secret():
    shown = "".join(
        map(
            repr,
            [
                a_connection(refresh="s3cret-refresh"),
                TokenSet(access=Secret("s3cret-access"), obtained_at=0.0, id_token=Secret("s3cret-id")),
                an_app(private_key=Secret("s3cret-key"), secret=Secret("s3cret-secret")),
                Pending(
                    app="a",
                    label="b",
                    redirect_uri="c",
                    binding="d",
                    started_at=1.0,
                    expires_at=2.0,
                    state=Secret("s3cret-state"),
                    verifier=Secret("s3cret-verifier"),
                ),
            ],
        )
    )
    assert "s3cret" not in shown
    assert "access-1" not in shown
