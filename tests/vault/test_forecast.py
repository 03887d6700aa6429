"""What will end and when: each source of an end, how sure it is, and what disproves it."""

from __future__ import annotations

import msgspec
import pytest

from valetkey.providers.loader import load
from valetkey.providers.schema import Source
from valetkey.values import Secret
from valetkey.vault.forecast import DAY, drift_of, forecasts_of, secret_forecast, threshold
from valetkey.vault.records import TokenSet, Trouble
from vaultkit import START, a_connection, a_provider, an_app

T0 = START.timestamp()
YEAR = 365 * DAY


def tokens(*, obtained=0.0, ends=None, refresh="refresh-1", expires=3600.0):
    return TokenSet(
        access=Secret("access-1"),
        obtained_at=T0 + obtained,
        expires_at=None if expires is None else T0 + obtained + expires,
        refresh=None if refresh is None else Secret(refresh),
        refresh_expires_at=None if ends is None else T0 + ends,
    )


def provider(sure="documented", **refresh):
    read = Source("https://acme.test/docs", "2026-01-02", ["refresh"], sure)
    return msgspec.structs.replace(a_provider(**refresh), sources=[read])


def told(connection, described=None, *, at=0.0, app=None):
    """Return what is forecast as (days from consent, how sure, the beginning of what)."""
    found = forecasts_of(connection, app or an_app(), described or provider(), T0 + at)
    return [(round((one.when.timestamp() - T0) / DAY, 2), one.sure, " ".join(one.what.split()[:4])) for one in found]


def consented(**facts):
    return a_connection(consented_at=T0, refreshed_at=T0, **facts)


def test_a_token_that_nothing_renews_ends_for_certain():
    connection = consented(tokens=tokens(refresh=None, expires=60 * DAY))
    assert told(connection) == [(60.0, "certain", "the access token ends,")]


def test_a_token_that_never_ends_and_is_never_renewed_is_no_worry():
    assert told(consented(tokens=tokens(refresh=None, expires=None))) == []


def test_what_the_documentation_says_is_likely_and_names_its_source():
    (found,) = forecasts_of(consented(), an_app(), provider(absolute_days=365), T0)
    assert (found.when.timestamp(), found.sure) == (T0 + YEAR, "likely")
    assert found.source == "https://acme.test/docs (documented, read 2026-01-02)"
    assert found.fix == "`valetkey connect acme/alice` before then; it keeps its name"


def test_what_others_say_is_possible():
    assert told(consented(), provider("reported", absolute_days=365)) == [(365.0, "possible", "the refresh token ends")]


def test_a_documented_end_that_was_survived_is_forecast_no_more():
    described = provider(absolute_days=365)
    assert len(told(consented(), described, at=YEAR + DAY - 1)) == 1
    assert told(consented(), described, at=YEAR + DAY) == []


def test_an_end_that_the_provider_told_is_likely_until_a_refresh_shows_that_it_stays():
    fresh = consented(tokens=tokens(ends=YEAR), first_end=T0 + YEAR)
    assert told(fresh) == [(365.0, "likely", "the refresh token ends,")]
    after = msgspec.structs.replace(fresh, tokens=tokens(obtained=3600, ends=YEAR + 1), refreshed_at=T0 + 3600)
    assert told(after, at=3600) == [(365.0, "certain", "the refresh token ends,")]
    assert told(after, provider(absolute_days=365), at=3600) == told(after, at=3600)  # not said twice


def test_an_end_that_each_refresh_moves_is_no_end():
    moved = consented(tokens=tokens(obtained=3600, ends=YEAR + 3600), first_end=T0 + YEAR)
    moved = msgspec.structs.replace(moved, refreshed_at=T0 + 3600, rotates=True)
    assert told(moved, at=3600) == []
    assert told(moved, provider(absolute_days=365), at=3600) == []  # answers go before the catalogue


def test_a_refresh_token_that_stays_the_same_keeps_its_end():
    assert told(consented(tokens=tokens(ends=7 * DAY), rotates=False))[0][:2] == (7.0, "certain")


@pytest.mark.parametrize(
    ("testing", "at", "expected"),
    [
        (None, 0.0, [(7.0, "possible", "while the app is")]),
        (True, 0.0, [(7.0, "likely", "while the app is")]),
        (False, 0.0, []),
        (None, 8 * DAY + 1, []),
    ],
)
def test_an_app_in_testing_loses_its_grants_after_days(testing, at, expected):
    app = an_app(testing=testing)
    assert told(consented(), provider(testing_days=7), at=at, app=app) == expected


def test_a_grant_that_outlived_the_testing_limit_is_not_in_testing():
    old = msgspec.structs.replace(consented(), refreshed_at=T0 + 8 * DAY + 1)
    assert told(old, provider(testing_days=7), at=8 * DAY + 1) == []


def test_googles_seven_days_stand_in_the_catalogue():
    found = forecasts_of(consented(), an_app(), load("google"), T0)
    assert [(one.when.timestamp() - T0, one.sure) for one in found] == [(7 * DAY, "possible")]
    assert "publish the app" in found[0].fix


def test_lying_unused_is_possible_and_likely_when_nobody_can_renew():
    connection = consented(idle=90 * DAY)
    assert told(connection, provider(idle_days=90)) == [(90.0, "possible", "the refresh token ends")]
    stuck = Trouble(sort="client", code="invalid_client", message="no", at=T0, fix="mend the secret")
    (found,) = forecasts_of(msgspec.structs.replace(connection, trouble=stuck), an_app(), provider(), T0)
    assert (found.sure, found.fix) == ("likely", "mend the secret")


@pytest.mark.parametrize(
    "facts",
    [
        {"revoked_at": T0},
        {"tokens": None},
        {"trouble": Trouble(sort="grant", code="invalid_grant", message="gone", at=T0)},
        {"grant": "client_credentials"},
    ],
)
def test_what_has_ended_or_never_ends_has_no_forecast(facts):
    assert told(msgspec.structs.replace(consented(), **facts), provider(absolute_days=1, idle_days=1)) == []


def test_a_connection_of_before_these_facts_were_kept_counts_from_its_making():
    assert told(a_connection(), provider(absolute_days=10))[0][0] == 10.0


def test_a_client_secret_ends_on_the_day_that_was_given():
    assert secret_forecast(an_app()) == []
    (found,) = secret_forecast(an_app(secret_expires_at=T0 + DAY))
    assert (found.when.timestamp(), found.subject, found.sure) == (T0 + DAY, "acme", "certain")
    assert "valetkey app secret stage acme" in found.fix


@pytest.mark.parametrize(
    ("passed", "what", "fix"),
    [
        (
            -1,
            "the access token ends, and there is no refresh token",
            "`valetkey connect acme/alice` before then; it keeps",
        ),
        (1, "the access token ended, and there is no refresh token", "`valetkey connect acme/alice`; it keeps"),
    ],
    ids=["ahead", "past"],
)
def test_what_is_over_is_told_as_such(passed, what, fix):
    connection = consented(tokens=tokens(refresh=None, expires=DAY))
    (found,) = forecasts_of(connection, an_app(), provider(), T0 + DAY + passed)
    assert found.what == what
    assert found.fix.startswith(fix)


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (30 * DAY + 1, None),
        (30 * DAY, 30),
        (7 * DAY + 1, 30),
        (7 * DAY, 7),
        (DAY, 1),
        (1.0, 1),
        (0.0, None),
        (-9, None),
    ],
)
def test_warnings_come_at_three_times(left, days):
    (found,) = secret_forecast(an_app(secret_expires_at=T0 + left))
    assert threshold(found, T0) == days


@pytest.mark.parametrize(
    ("refresh", "facts", "drifted"),
    [
        ({"rotates": "always"}, {"rotates": False}, ["refresh.rotates"]),
        ({"rotates": "never"}, {"rotates": True}, ["refresh.rotates"]),
        ({"rotates": "always"}, {"rotates": True}, []),
        ({"rotates": "always"}, {"rotates": None}, []),
        ({"rotates": "sometimes"}, {"rotates": True}, []),
        ({"rotates": "unknown"}, {"rotates": False}, []),
        ({"available": False}, {}, ["refresh.available"]),
        ({"idle_days": 90}, {"first_end": T0 + 30 * DAY}, ["refresh.idle_days"]),
        ({"absolute_days": 365}, {"first_end": T0 + 30 * DAY}, ["refresh.absolute_days"]),
        ({"idle_days": 90}, {"first_end": T0 + 89.9 * DAY}, []),
        ({"idle_days": 90}, {"first_end": T0 + YEAR}, []),
        ({"idle_days": 90}, {}, []),
    ],
)
def test_what_answers_teach_otherwise_than_the_catalogue_is_drift(refresh, facts, drifted):
    connection = msgspec.structs.replace(consented(), **facts)
    assert [one.fact for one in drift_of(connection, a_provider(**refresh))] == drifted


def test_forecasts_and_drift_are_shown_without_times_of_a_kind_that_json_lacks():
    (found,) = secret_forecast(an_app(secret_expires_at=T0))
    assert found.to_dict()["when"] == "2026-03-01T12:00:00+00:00"
    (drifted,) = drift_of(msgspec.structs.replace(consented(), rotates=False), a_provider())
    assert drifted.to_dict() == {
        "fact": "refresh.rotates",
        "catalogue": "always",
        "seen": "a refresh brought no new refresh token",
    }
