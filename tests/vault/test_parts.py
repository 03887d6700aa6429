"""Several tokens in one connection: Slack's bot and user, Microsoft's one refresh token for several APIs."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.errors import InvalidInput, NeedsReconnect, NotConnected, NotFound
from valetkey.oauth.authentication import client_auth
from valetkey.oauth.client import Client
from valetkey.oauth.reading import read_token
from valetkey.providers import loader
from valetkey.values import Response, Secret
from valetkey.vault.desk import SPREAD_SHARE
from valetkey.vault.judge import Demand
from valetkey.vault.names import part_of
from valetkey.vault.records import TokenSet
from valetkey.vault.renew import TARGETS_MOST, obtain, with_tokens
from valetkey.vault.views import connection_info
from vaultkit import FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

GRAPH = "resource=https://graph.example.test"
MAIL = "resource=https://mail.example.test"


def form(request):
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def microsoft_like(seen):
    """Rotate, keep the old token good, and give a token for the one resource that is named."""

    def provider(request):
        asked = form(request)
        seen.append(asked)
        number = len(seen) + 1
        aim = asked.get("resource", "none")
        return tokens_answer(number, access_token=f"access-{number}-for-{aim}", refresh_token=f"refresh-{number}")

    return provider


def test_one_refresh_token_gives_tokens_for_several_apis_each_kept_apart(desk):
    seen = []
    world = FakeWorld(microsoft_like(seen))
    put(desk, world, an_app(a_provider(old_token="stays")), a_connection())
    graph = drive(obtain(desk, "acme/alice", Demand(part=GRAPH)), world).token
    mail = drive(obtain(desk, "acme/alice", Demand(part=MAIL)), world).token
    own = drive(obtain(desk, "acme/alice", Demand()), world).token
    again = drive(obtain(desk, "acme/alice", Demand(part=GRAPH)), world).token
    assert graph.reveal() == "access-2-for-https://graph.example.test"
    assert mail.reveal() == "access-3-for-https://mail.example.test"
    assert own.reveal() == "access-1", "asking for another API does not touch the connection's own token"
    assert again.reveal() == graph.reveal()
    assert [asked["refresh_token"] for asked in seen] == ["refresh-1", "refresh-2"], "always the newest"
    assert held(desk, world).tokens.refresh == Secret("refresh-3")


def test_tokens_for_other_targets_are_kept_up_to_a_number_and_the_oldest_goes(desk):
    seen = []
    world = FakeWorld(microsoft_like(seen))
    user = TokenSet(access=Secret("user-1"), obtained_at=0.0, refresh=Secret("user-refresh-1"))
    put(desk, world, an_app(a_provider(old_token="stays")), a_connection(parts={"user": user}))
    targets = [f"resource=https://api{number}.example.test" for number in range(TARGETS_MOST + 1)]
    for target in targets:
        world.advance(1)
        drive(obtain(desk, "acme/alice", Demand(part=target)), world)
    assert set(held(desk, world).parts) == {*targets[1:], "user"}, "who has a refresh token of its own stays"
    drive(obtain(desk, "acme/alice", Demand(part=targets[0])), world)
    assert targets[1] not in held(desk, world).parts


def test_other_tokens_are_shown_without_showing_them(desk):
    obtained = TokenSet(access=Secret("other-token-1"), obtained_at=1_772_366_400.0, expires_at=1_772_370_000.0)
    info = connection_info(a_connection(parts={GRAPH: obtained}), an_app(), a_provider(), 0.0)
    (shown,) = info.to_dict()["parts"]
    assert shown == {
        "name": GRAPH,
        "granted": [],
        "obtained_at": "2026-03-01T12:00:00+00:00",
        "expires_at": "2026-03-01T13:00:00+00:00",
        "fingerprint": obtained.access.fingerprint(),
    }


def test_where_the_provider_wants_a_scope_the_resource_is_one(desk):
    seen = []
    provider = a_provider()
    asking = msgspec.structs.replace(provider.asking, target="default_scope")
    world = FakeWorld(microsoft_like(seen))
    put(desk, world, an_app(msgspec.structs.replace(provider, asking=asking)), a_connection())
    drive(obtain(desk, "acme/alice", Demand(part=GRAPH)), world)
    assert seen[0]["scope"] == "https://graph.example.test/.default"
    assert "resource" not in seen[0]


def test_an_audience_is_sent_as_one(desk):
    seen = []
    world = FakeWorld(microsoft_like(seen))
    put(desk, world, an_app(), a_connection())
    drive(obtain(desk, "acme/alice", Demand(part="audience=https://api.example.test")), world)
    assert seen[0]["audience"] == "https://api.example.test"


def test_a_machine_asks_for_each_target_anew(desk):
    seen = []
    world = FakeWorld(microsoft_like(seen))
    put(desk, world, an_app(), a_connection(grant="client_credentials", refresh=None))
    drive(obtain(desk, "acme/alice", Demand(part=GRAPH)), world)
    assert (seen[0]["grant_type"], seen[0]["resource"]) == ("client_credentials", "https://graph.example.test")


SLACK = {
    "ok": True,
    "access_token": "xoxe.xoxb-bot-1",
    "refresh_token": "xoxe-bot-refresh-1",
    "expires_in": 43200,
    "scope": "chat:write,commands",
    "token_type": "bot",
    "authed_user": {
        "id": "U1",
        "access_token": "xoxe.xoxp-user-1",
        "refresh_token": "xoxe-user-refresh-1",
        "expires_in": 43200,
        "scope": "search:read",
        "token_type": "user",
    },
}


def slack_client():
    return Client(
        loader.filled(loader.load("slack"), {}), "client-1", client_auth("client_secret_post", Secret("s"), None)
    )


def slack_answer(body):
    return read_token(slack_client(), Response(200, {"content-type": "application/json"}, msgspec.json.encode(body)))


def test_slacks_two_tokens_come_out_of_one_answer():
    answer = slack_answer(SLACK)
    user = answer.parts["user"]
    assert (answer.access_token.reveal(), answer.refresh_token.reveal()) == ("xoxe.xoxb-bot-1", "xoxe-bot-refresh-1")
    assert (user.access_token.reveal(), user.refresh_token.reveal()) == ("xoxe.xoxp-user-1", "xoxe-user-refresh-1")
    assert user.expires_in == 43200
    assert user.scopes == ("search:read",)


def test_an_answer_with_the_user_alone_is_the_connections_own_token():
    alone = {"ok": True, "authed_user": SLACK["authed_user"]}
    answer = slack_answer(alone)
    assert answer.access_token.reveal() == "xoxe.xoxp-user-1"
    assert answer.parts == {}


def test_both_tokens_are_in_one_record_and_renewed_apart(desk):
    spent = []

    def slack(request):
        spent.append(form(request)["refresh_token"])
        number = len(spent) + 1
        return tokens_answer(number, ok=True)

    world = FakeWorld(slack)
    connection = with_tokens(a_connection(), slack_answer(SLACK), world.now.timestamp())
    put(desk, world, an_app(), connection)
    assert drive(obtain(desk, "acme/alice", Demand(part="user")), world).token.reveal() == "xoxe.xoxp-user-1"
    world.advance(43200)
    assert drive(obtain(desk, "acme/alice", Demand(part="user")), world).token.reveal() == "access-2"
    assert drive(obtain(desk, "acme/alice", Demand()), world).token.reveal() == "access-3"
    assert spent == ["xoxe-user-refresh-1", "xoxe-bot-refresh-1"]
    after = held(desk, world)
    assert after.parts["user"].refresh == Secret("refresh-2")
    assert after.tokens.refresh == Secret("refresh-3")


def test_a_part_that_is_refused_does_not_stop_the_other(desk):
    answers = iter([refusal("invalid_grant"), tokens_answer(2)])
    world = FakeWorld(lambda _: next(answers))
    moment = world.now.timestamp()
    user = TokenSet(access=Secret("u-1"), refresh=Secret("ur-1"), obtained_at=moment - 100, expires_at=moment - 1)
    put(desk, world, an_app(), a_connection(expires_in=60.0, parts={"user": user}))
    world.advance(61)
    with pytest.raises(NeedsReconnect):
        drive(obtain(desk, "acme/alice", Demand(part="user")), world)
    assert held(desk, world).state(world.now.timestamp()) == "needs_reconnect"
    assert drive(obtain(desk, "acme/alice", Demand()), world).token.reveal() == "access-2"


def test_a_part_that_was_never_granted_is_called_so(desk):
    world = FakeWorld(lambda _: refusal("invalid_grant"))
    put(desk, world, an_app(), a_connection())
    with pytest.raises(NotConnected, match="no user token"):
        drive(obtain(desk, "acme/alice", Demand(part="user")), world)


def test_a_connection_is_due_when_the_first_of_its_tokens_is(desk):
    world = FakeWorld(lambda _: tokens_answer())
    moment = world.now.timestamp()
    user = TokenSet(access=Secret("u-1"), refresh=Secret("ur-1"), obtained_at=moment, expires_at=moment + 600)
    put(desk, world, an_app(), a_connection(parts={"user": user}))
    due = world.store.load("connection/acme/alice").due_at.timestamp()
    assert moment + 540 * (1 - SPREAD_SHARE) <= due <= moment + 540


def test_an_unused_refresh_token_is_used_in_time(desk):
    day = 86_400.0
    world = FakeWorld(lambda _: tokens_answer(expires_in=None))
    put(desk, world, an_app(a_provider(idle_days=30)), a_connection(expires_in=None, idle=30 * day))
    due = world.store.load("connection/acme/alice").due_at.timestamp() - world.now.timestamp()
    assert 15 * day * (1 - SPREAD_SHARE) <= due <= 15 * day
    world.advance(15 * day)
    assert drive(obtain(desk, "acme/alice", Demand()), world).token.reveal() == "access-2"
    assert held(desk, world).idle == 30 * day


@pytest.mark.parametrize(
    ("wish", "part"),
    [
        (("", "", ""), ""),
        (("user", "", ""), "user"),
        (("", "https://x", ""), "resource=https://x"),
        (("", "", "y"), "audience=y"),
    ],
)
def test_a_wish_has_one_name(wish, part):
    assert part_of(*wish) == part


@pytest.mark.parametrize(
    "wish",
    [("user", "https://x", ""), ("", "https://x", "y"), ("resource=x", "", ""), ("", "x" * 600, ""), ("", "a\nb", "")],
)
def test_two_wishes_or_an_odd_one_are_refused(wish):
    with pytest.raises(InvalidInput):
        part_of(*wish)


@pytest.mark.network
def test_the_vault_gives_each_part_and_keeps_them_apart(sandbox_vault):
    vault, _sandbox = sandbox_vault
    own = vault.token("sb/alice").reveal()
    other = vault.token("sb/alice", resource="https://api.example.test").reveal()
    assert other != own
    assert vault.token("sb/alice", resource="https://api.example.test").reveal() == other
    assert vault.token("sb/alice").reveal() == own
    with pytest.raises(NotFound):
        vault.token("sb/nobody", part="user")
