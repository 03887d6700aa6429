"""Disconnecting as a conversation: nothing is forgotten while it still works, unless it is forced."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Send, Swap
from valetkey.errors import (
    ClientRefused,
    NotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    StoreUnavailable,
    ValetkeyError,
)
from valetkey.providers.schema import Asking, Endpoints
from valetkey.values import Response, Secret
from valetkey.vault.disconnect import ATTEMPTS, disconnect, mark_revoked
from valetkey.vault.judge import Demand, Refuse, judge
from valetkey.vault.records import TokenSet
from vaultkit import START, FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal

RECORD = "connection/acme/alice"
GONE = Response(200)
T0 = START.timestamp()


def asking_world(desk, *answers, app=None, **connection):
    """Return a world with a connection and a provider that gives these answers at its revocation endpoint."""
    waiting, told = iter(answers), []

    def provider(request):
        assert request.url == "https://acme.test/revoke"
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        told.append((form["token"], form["token_type_hint"]))
        answer = next(waiting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = FakeWorld(provider)
    world.told = told
    put(desk, world, app or an_app(), a_connection(**connection))
    return world


def test_both_tokens_are_revoked_and_the_connection_is_forgotten(desk):
    world = asking_world(desk, GONE, GONE)
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert world.told == [("refresh-1", "refresh_token"), ("access-1", "access_token")]
    assert world.store.load(RECORD) is None
    assert world.notes == [("connection.removed", "ok", "revoked")]


def test_an_access_token_alone_is_revoked(desk):
    world = asking_world(desk, GONE, refresh=None)
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert world.told == [("access-1", "access_token")]


@pytest.mark.parametrize(("revokes", "hint"), [("refresh", "refresh_token"), ("access", "access_token")])
def test_a_provider_that_takes_one_sort_is_told_that_one(desk, revokes, hint):
    provider = msgspec.structs.replace(a_provider(), asking=Asking(revokes=revokes))
    world = asking_world(desk, GONE, app=an_app(provider))
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert [what for _, what in world.told] == [hint]


def test_a_provider_that_cannot_revoke_is_not_asked(desk):
    bare = msgspec.structs.replace(a_provider(), endpoints=Endpoints(token="https://acme.test/token"))
    world = asking_world(desk, app=an_app(bare))
    assert drive(disconnect(desk, "acme/alice"), world) == "unsupported"
    assert world.store.load(RECORD) is None


def test_a_connection_without_tokens_has_nothing_to_revoke(desk):
    world = asking_world(desk, tokens=None)
    assert drive(disconnect(desk, "acme/alice"), world) == "nothing_to_revoke"
    assert world.store.load(RECORD) is None


@pytest.mark.parametrize("code", ["invalid_token", "invalid_grant"])
def test_a_token_that_is_gone_already_is_gone(desk, code):
    world = asking_world(desk, refusal(code), refusal(code))
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert world.store.load(RECORD) is None


TROUBLE = [
    (ProviderTimeout("no answer"), ProviderTimeout, "provider_timeout"),
    (ProviderUnavailable("refused", sent=False), ProviderUnavailable, "provider_unavailable"),
    (Response(503), ProviderUnavailable, "provider_unavailable"),
    (refusal("invalid_client", 401), ClientRefused, "invalid_client"),
    (refusal("unsupported_token_type"), ProviderError, "unsupported_token_type"),
]


@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE, ids=[row[2] for row in TROUBLE])
def test_a_provider_that_does_not_revoke_leaves_everything_as_it_was(desk, answer, kind, code):
    world = asking_world(desk, answer)
    with pytest.raises(kind) as caught:
        drive(disconnect(desk, "acme/alice"), world)
    assert caught.value.code == code
    assert held(desk, world) == a_connection()
    assert world.notes == [("connection.revoke", "failed", code)]


@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE, ids=[row[2] for row in TROUBLE])
def test_force_forgets_it_all_the_same_and_says_so(desk, answer, kind, code):
    world = asking_world(desk, answer)
    assert drive(disconnect(desk, "acme/alice", force=True), world) == "failed"
    assert world.store.load(RECORD) is None
    assert world.notes == [("connection.revoke", "failed", code), ("connection.removed", "ok", "failed")]


def test_a_second_token_that_cannot_be_revoked_leaves_the_connection_for_another_try(desk):
    world = asking_world(desk, GONE, Response(503), GONE, GONE)
    with pytest.raises(ProviderUnavailable):
        drive(disconnect(desk, "acme/alice"), world)
    assert held(desk, world) == a_connection()
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"


@pytest.mark.parametrize("broken", ["gone", "unknown provider", "no secret"])
def test_a_connection_whose_app_cannot_be_used_can_be_forgotten_by_force(desk, broken):
    world = asking_world(desk)
    entry = world.store.load("app/acme")
    changed = {
        "unknown provider": an_app(provider="nobody", described=None),
        "no secret": an_app(secret=None),
    }
    changed["unknown provider"] = msgspec.structs.replace(changed["unknown provider"], described=None)
    assert world.store.swap("app/acme", entry.version, desk.seal_app(changed[broken]) if broken in changed else None)
    with pytest.raises(ValetkeyError):
        drive(disconnect(desk, "acme/alice"), world)
    assert world.store.load(RECORD) is not None
    assert drive(disconnect(desk, "acme/alice", force=True), world) == "failed"
    assert world.store.load(RECORD) is None


def test_an_unknown_connection_is_not_found(desk, world):
    with pytest.raises(NotFound):
        drive(disconnect(desk, "acme/nobody"), world)
    assert world.notes == []


def renewed_by_another(desk, world, number):
    entry = world.store.load(RECORD)
    tokens = msgspec.structs.replace(
        a_connection().tokens, access=Secret(f"access-{number}"), refresh=Secret(f"refresh-{number}")
    )
    newer = a_connection(tokens=tokens, generation=number)
    assert world.store.swap(RECORD, entry.version, desk.seal_connection(newer, T0))


def test_tokens_renewed_while_the_old_ones_were_revoked_are_revoked_too(desk):
    # Else a refresh that ended at the wrong moment would leave a working token that nobody knows any more.
    world = asking_world(desk, *[GONE] * 4)
    once = iter([2])

    def refresh(question):
        if isinstance(question, Send):
            for number in once:
                renewed_by_another(desk, world, number)

    world.before = refresh
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert [token for token, _ in world.told] == ["refresh-1", "access-1", "refresh-2", "access-2"]
    assert world.store.load(RECORD) is None


def test_a_part_renewed_while_the_old_tokens_were_revoked_is_revoked_too(desk):
    def parts(number):
        return {"bot": TokenSet(access=Secret(f"bot-{number}"), obtained_at=T0)}

    world = asking_world(desk, *[GONE] * 6, parts=parts(1))
    once = iter([1])

    def refresh(question):
        if isinstance(question, Send):
            for _ in once:
                entry = world.store.load(RECORD)
                newer = a_connection(parts=parts(2), generation=2)
                world.store.swap(RECORD, entry.version, desk.seal_connection(newer, T0))

    world.before = refresh
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert [token for token, _ in world.told if token.startswith("bot")] == ["bot-1", "bot-2"]


def test_a_change_that_leaves_the_tokens_alone_does_not_revoke_them_again(desk):
    world = asking_world(desk, GONE, GONE)
    once = iter([1])

    def touch(question):
        if isinstance(question, Send):
            for _ in once:
                entry = world.store.load(RECORD)
                touched = a_connection(hosts=("api.acme.test",))
                world.store.swap(RECORD, entry.version, desk.seal_connection(touched, T0))

    world.before = touch
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert len(world.told) == 2


def test_a_connection_removed_meanwhile_is_removed(desk):
    world = asking_world(desk, GONE, GONE)
    once = iter([1])

    def remove(question):
        if isinstance(question, Send):
            for _ in once:
                world.store.swap(RECORD, world.store.load(RECORD).version, None)

    world.before = remove
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert world.notes == [("connection.removed", "ok", "revoked")]


def test_a_connection_that_others_never_leave_alone_is_given_up(desk):
    world = asking_world(desk, *[GONE] * 2 * (ATTEMPTS + 1))
    numbers = iter(range(2, 100))

    def always(question):
        if isinstance(question, Swap):
            renewed_by_another(desk, world, next(numbers))

    world.before = always
    with pytest.raises(StoreUnavailable) as caught:
        drive(disconnect(desk, "acme/alice"), world)
    assert caught.value.fix == "try again"
    assert world.store.load(RECORD) is not None


def test_a_connection_marked_revoked_gives_no_token_and_is_not_forgotten(desk):
    world = asking_world(desk)
    assert drive(mark_revoked(desk, "acme/alice"), world) is True
    after = held(desk, world)
    assert after.state(T0) == "revoked"
    assert after.tokens == a_connection().tokens
    verdict = judge(after, T0, Demand())
    assert isinstance(verdict, Refuse)
    assert verdict.error.code == "revoked"
    assert world.store.load(RECORD).due_at is None
    assert world.notes == [("connection.revoked", "ok", "")]
    assert "Send" not in world.asked


def test_marking_one_that_changes_at_the_same_time_says_that_it_failed(desk):
    world = asking_world(desk)
    once = iter([2])

    def refresh(question):
        if isinstance(question, Swap):
            for number in once:
                renewed_by_another(desk, world, number)

    world.before = refresh
    assert drive(mark_revoked(desk, "acme/alice"), world) is False
    assert world.notes == [("connection.revoked", "failed", "")]
