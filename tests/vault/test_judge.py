"""The decision what a demand gets: every row of it, with the boundary instants written down."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from valetkey.values import Secret
from valetkey.vault.desk import SPREAD_SHARE, due_at, fresh_until, margin
from valetkey.vault.judge import Demand, Refuse, Renew, Serve, Wait, judge
from valetkey.vault.records import Intent, Lease, Trouble
from vaultkit import START, a_connection

T0 = START.timestamp()
HOUR = 3600.0
ANY = Demand()
FORCED = Demand(force=True)
REJECTED = Demand(rejected=Secret("access-1").fingerprint())


def trouble(sort, **changes):
    return msgspec.structs.replace(
        Trouble(sort=sort, code="some_code", message="it failed", at=T0, retry_at=T0 + 30), **changes
    )


LEASE = Lease("another", T0 + 40)

ROWS = [
    # what the connection is, when (seconds after it was obtained), demand, verdict
    ("fresh", {}, 0, ANY, "Serve"),
    ("a millisecond before the margin", {}, HOUR - 300 - 0.001, ANY, "Serve"),
    ("at the margin", {}, HOUR - 300, ANY, "Renew"),
    ("expired", {}, HOUR, ANY, "Renew"),
    ("fresh, and renewal is demanded", {}, 0, FORCED, "Renew"),
    ("fresh, and an API refused it", {}, 0, REJECTED, "Renew"),
    ("fresh, and an API refused an older one", {}, 0, Demand(rejected="0123456789ab"), "Serve"),
    ("no expiry told", {"expires_in": None}, 10 * 365 * 24 * HOUR, ANY, "Serve"),
    ("no expiry told, and an API refused it", {"expires_in": None}, 0, REJECTED, "Renew"),
    ("another renews, ours lives", {"lease": LEASE, "expires_in": 10.0}, 9.5, ANY, "Serve"),
    ("another renews, ours is dead", {"lease": LEASE, "expires_in": 10.0}, 10, ANY, "Wait"),
    ("another renews, and renewal is demanded", {"lease": LEASE}, 0, FORCED, "Wait"),
    ("another's lease has lapsed", {"lease": LEASE, "expires_in": 10.0}, 40, ANY, "Renew"),
    (
        "weather, too early, ours is dead",
        {"trouble": trouble("weather"), "expires_in": 10.0},
        29,
        ANY,
        "Refuse provider",
    ),
    ("weather, too early, ours lives", {"trouble": trouble("weather"), "expires_in": 40.0}, 39, ANY, "Renew"),
    ("weather, inside the backoff, ours lives", {"trouble": trouble("weather"), "expires_in": 30.0}, 28, ANY, "Serve"),
    ("weather, time to try again", {"trouble": trouble("weather"), "expires_in": 10.0}, 30, ANY, "Renew"),
    ("weather, too early, but demanded", {"trouble": trouble("weather"), "expires_in": 10.0}, 11, FORCED, "Renew"),
    ("our configuration is wrong", {"trouble": trouble("client"), "expires_in": 10.0}, 29, ANY, "Refuse client"),
    ("the grant is gone, ours lives", {"trouble": trouble("grant")}, HOUR - 1, ANY, "Serve"),
    ("the grant is gone, ours is dead", {"trouble": trouble("grant")}, HOUR, ANY, "Refuse needs_reconnect"),
    ("the grant is gone, and renewal is demanded", {"trouble": trouble("grant")}, 0, FORCED, "Refuse needs_reconnect"),
    ("no refresh token, ours lives", {"refresh": None}, HOUR - 1, ANY, "Serve"),
    ("no refresh token, ours is dead", {"refresh": None}, HOUR, ANY, "Refuse needs_reconnect"),
    ("a machine needs none", {"refresh": None, "grant": "client_credentials"}, HOUR, ANY, "Renew"),
    ("a machine before its first token", {"grant": "client_credentials", "tokens": None}, 0, ANY, "Renew"),
    ("nobody consented", {"tokens": None}, 0, ANY, "Refuse not_connected"),
    ("disconnected", {"revoked_at": T0}, 0, ANY, "Refuse revoked"),
    ("a scope is lacking", {}, 0, Demand(scopes=("read", "write")), "Refuse insufficient_scope"),
    ("the scopes are there", {}, 0, Demand(scopes=("read",)), "Serve"),
]


@pytest.mark.parametrize(("what", "facts", "seconds", "demand", "verdict"), ROWS, ids=[row[0] for row in ROWS])
def test_a_demand_gets_what_the_table_says(what, facts, seconds, demand, verdict):
    facts = dict(facts)
    made = {name: facts.pop(name) for name in ("expires_in", "refresh") if name in facts}
    got = judge(a_connection(**made, **facts), T0 + seconds, demand)
    kind, _, code = verdict.partition(" ")
    assert type(got).__name__ == kind, got
    if isinstance(got, Refuse):
        expected = {"provider": "some_code", "client": "some_code"}.get(code, code)
        assert got.error.code == expected
        assert got.error.fix or got.error.cause or code in {"provider", "client"}


def test_what_is_served_while_another_renews_is_not_remembered():
    got = judge(a_connection(expires_in=10.0, lease=LEASE), T0 + 9.5, ANY)
    assert isinstance(got, Serve)
    assert got.fresh_until <= T0 + 9.5


def test_a_renewal_keeps_the_living_token_as_a_fallback_unless_it_was_refused_or_renewal_was_demanded():
    connection = a_connection()
    late = T0 + HOUR - 100
    assert judge(connection, late, ANY).fallback.reveal() == "access-1"
    assert judge(connection, late, REJECTED) == Renew(None)
    assert judge(connection, late, FORCED) == Renew(None)


def test_waiting_ends_with_the_lease():
    got = judge(a_connection(expires_in=10.0, lease=Lease("another", T0 + 20)), T0 + 19.99, ANY)
    assert got == Wait(pytest.approx(0.01))


@pytest.mark.parametrize(
    ("lifetime", "ahead"),
    [(3600, 300.0), (60, 6.0), (600, 60.0), (1, 0.1), (0, 0.0), (86_400, 300.0), (3000, 300.0), (2999, 299.9)],
)
def test_the_margin_is_a_tenth_of_the_lifetime_and_at_most_five_minutes(lifetime, ahead):
    assert margin(a_connection(expires_in=float(lifetime))) == pytest.approx(ahead)


def test_a_provider_may_have_its_own_margin():
    assert fresh_until(a_connection(expires_in=600.0, margin=30.0)) == T0 + 570


OPEN = Intent(attempt="a", fingerprint="f", started_at=T0)

STATES = [
    ("active", {}, 0),
    ("pending", {"tokens": None}, 0),
    ("revoked", {"revoked_at": T0}, 0),
    ("needs_reconnect", {"trouble": trouble("grant")}, 0),
    ("failing", {"trouble": trouble("weather")}, 0),
    ("failing", {"trouble": trouble("client")}, 0),
    ("active", {"lease": LEASE, "intent": OPEN}, 39.9),
    ("ambiguous", {"lease": LEASE, "intent": OPEN}, 40),
    ("ambiguous", {"intent": OPEN, "trouble": trouble("weather")}, 0),
    ("active", {"lease": LEASE, "intent": msgspec.structs.replace(OPEN, fingerprint="")}, 41),
]


@pytest.mark.parametrize(("state", "facts", "seconds"), STATES)
def test_the_state_is_one_word(state, facts, seconds):
    assert a_connection(**facts).state(T0 + seconds) == state


TOLD = {"told": "needs_reconnect"}

DUE = [
    ({"margin": 300.0}, HOUR - 300),  # a provider that has a margin of its own is not asked earlier
    ({"lease": LEASE}, 40),
    ({"trouble": trouble("weather")}, 30),
    ({"trouble": trouble("grant"), **TOLD}, None),
    ({"trouble": trouble("grant")}, 0),  # at once: those who listen were not told yet
    ({"trouble": trouble("grant"), "told": "failing"}, 0),
    ({"refreshed_at": T0 + 7, **TOLD}, 7),  # it works again, and nobody was told
    ({"refresh": None}, HOUR),  # nothing can be done about it; then it is said
    ({"refresh": None, "expires_in": None}, None),
    ({"refresh": None, "grant": "client_credentials", "margin": 300.0}, HOUR - 300),
    ({"revoked_at": T0}, None),
    ({"tokens": None}, None),
]


@pytest.mark.parametrize(("facts", "seconds"), DUE)
def test_a_connection_is_due_when_it_wants_attention(facts, seconds):
    assert due_at(a_connection(**facts)) == (None if seconds is None else T0 + seconds)


def test_tokens_become_due_ahead_of_their_callers_and_not_all_at_once():
    due = [due_at(a_connection(label=f"user-{number}")) - T0 for number in range(1000)]
    soonest, latest = (HOUR - 300) * (1 - SPREAD_SHARE), HOUR - 300
    assert all(soonest < moment <= latest for moment in due)
    tenths = Counter(int((moment - soonest) / (latest - soonest) * 10) for moment in due)
    assert max(tenths.values()) < 200  # each tenth of the time gets about a hundred


def test_each_token_of_a_connection_becomes_due_at_a_moment_of_its_own():
    assert len({due_at(a_connection(generation=number)) for number in range(1, 50)}) == 49


def test_a_token_without_expiry_is_never_due():
    assert due_at(a_connection(expires_in=None)) is None
