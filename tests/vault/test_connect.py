"""Connecting as a conversation: what a link holds, what an answer must agree with, and what is kept of either."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest

from valetkey.effects import Load, Note, Send, Swap
from valetkey.errors import (
    AlreadyExists,
    BadAnswer,
    CallbackRefused,
    ClientRefused,
    ConsentDenied,
    GrantRefused,
    InvalidInput,
    NotConnected,
    NotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRefused,
    StoreUnavailable,
)
from valetkey.oauth.client import Stamp
from valetkey.providers.schema import Asking
from valetkey.values import Response, Secret
from valetkey.vault import names
from valetkey.vault.asking import token_request
from valetkey.vault.connect import PENDING_SECONDS, USED_SECONDS, Wish, begin, connect_machine, finish, forget_expired
from valetkey.vault.saving import SAVE_DELAYS
from vaultkit import START, FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

T0 = START.timestamp()
CALLBACK = "http://127.0.0.1:7777/callback"
MINE = Secret("a secret that stays in this terminal")
ISSUER = "https://acme.test"


def asking_world(desk, *answers, app=None):
    """Return a world with an app and a provider that gives these answers, in turn, and remembers the requests."""
    waiting, requests = iter(answers), []

    def provider(request):
        requests.append({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        answer = next(waiting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = FakeWorld(provider)
    world.requests = requests
    put(desk, world, app or an_app())
    return world


def begun(desk, world, name="acme/alice", wish=None, binding=MINE):
    return drive(begin(desk, name, wish or Wish(), redirect_uri=CALLBACK, binding=binding), world)


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def answer_to(started, **changes):
    """Return the address a browser is sent back to; a parameter given as None is left out."""
    told = {"state": query(started.url)["state"], "code": "the-code-1234567890", "iss": ISSUER, **changes}
    return f"{CALLBACK}?{urlencode({name: value for name, value in told.items() if value is not None})}"


def finished(desk, world, answer, binding=MINE):
    return drive(finish(desk, answer, binding=binding), world)


def drive_on(plan, question, world):
    """Drive a plan to its end that has asked this question already."""
    while True:
        question = plan.send(world.answer(question))


def pendings(world):
    return [(name, world.store.load(name)) for name in world.store.names(names.PENDING, "", 10)]


def opened(desk, world):
    ((record, entry),) = pendings(world)
    return desk.pending(record, entry)


# ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_holds_what_rfc_6749_and_7636_ask_for(desk):
    world = asking_world(desk)
    url = begun(desk, world, wish=Wish(scopes=("read", "write"))).url
    told = query(url)
    pending = opened(desk, world)
    assert url.startswith("https://acme.test/authorize?")
    assert told.pop("state") == pending.state.reveal()
    digest = hashlib.sha256(pending.verifier.reveal().encode()).digest()
    assert told.pop("code_challenge") == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert told == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": CALLBACK,
        "scope": "read write",
        "code_challenge_method": "S256",
    }


def test_a_provider_that_refuses_pkce_is_sent_none(desk):
    provider = msgspec.structs.replace(a_provider(), asking=Asking(pkce="off"))
    world = asking_world(desk, app=an_app(provider))
    assert "code_challenge" not in query(begun(desk, world).url)
    assert opened(desk, world).verifier is None


def test_what_a_connection_is_asked_with_goes_into_the_link(desk):
    app = an_app(authorize_params={"prompt": "consent"}, scopes=("profile",))
    world = asking_world(desk, app=app)
    wish = Wish(audience="https://api.test", resource=("https://r.test",), extra={"hd": "acme.test"})
    told = query(begun(desk, world, wish=wish).url)
    assert told["scope"] == "profile"
    assert (told["prompt"], told["hd"]) == ("consent", "acme.test")
    assert (told["audience"], told["resource"]) == ("https://api.test", "https://r.test")


def test_a_pending_authorization_is_stored_under_the_hash_of_its_state(desk):
    world = asking_world(desk)
    state = query(begun(desk, world).url)["state"]
    ((record, entry),) = pendings(world)
    assert record == "pending/" + hashlib.sha256(b"valetkey pending\0" + state.encode()).hexdigest()
    assert entry.state == "pending"
    assert entry.due_at.timestamp() == T0 + PENDING_SECONDS
    assert state not in record
    assert state.encode() not in entry.box


def test_the_secret_that_binds_a_link_is_not_stored(desk):
    world = asking_world(desk)
    begun(desk, world)
    pending = opened(desk, world)
    assert MINE.reveal() not in repr(msgspec.to_builtins(pending, enc_hook=lambda secret: secret.reveal()))


def test_two_links_share_neither_state_nor_challenge(desk):
    world = asking_world(desk)
    first, second = (query(begun(desk, world).url) for _ in range(2))
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_a_state_that_was_drawn_before_is_not_used(desk):
    world = asking_world(desk)
    begun(desk, world)
    world.luck = 0  # the same "random" numbers once more
    with pytest.raises(AlreadyExists):
        begun(desk, world)


def test_a_link_without_an_app_or_with_a_bad_name_is_refused(desk, world):
    with pytest.raises(NotFound, match="no app called acme"):
        begun(desk, world)
    for name in ("acme", "acme/", "/alice", "Acme/alice", "acme/a b", "acme/a/b", "acme/ä", "../alice"):
        with pytest.raises(InvalidInput):
            begun(desk, world, name)
    assert pendings(world) == []


# ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_redeemed_with_the_verifier_and_kept(desk):
    world = asking_world(desk, tokens_answer(1, scope="read"))
    started = begun(desk, world, wish=Wish(scopes=("read", "write"), hosts=("own.acme.test",)))
    verifier = opened(desk, world).verifier.reveal()
    world.advance(30)
    made = finished(desk, world, answer_to(started))
    assert made == held(desk, world)
    assert world.requests == [
        {
            "grant_type": "authorization_code",
            "code": "the-code-1234567890",
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
            "client_id": "client-1",
            "client_secret": "a-client-secret-that-nobody-may-see",
        }
    ]
    assert made.tokens.access == Secret("access-1")
    assert made.tokens.refresh == Secret("refresh-1")
    assert made.tokens.scopes == ("read",)
    assert made.asked.scopes == ("read", "write")
    assert made.tokens.expires_at == T0 + 30 + 3600
    assert (made.created_at, made.refreshed_at, made.generation) == (T0, T0 + 30, 1)
    assert made.hosts == ("own.acme.test",)
    assert world.notes == [("connect.started", "ok", ""), ("connection.created", "ok", "")]


def test_an_answer_may_be_the_query_alone(desk):
    world = asking_world(desk, tokens_answer(1))
    started = begun(desk, world)
    assert finished(desk, world, urlsplit(answer_to(started)).query).name == "acme/alice"


def test_a_link_is_marked_used_and_wiped_before_its_code_is_sent(desk):
    world = asking_world(desk, tokens_answer(1))
    started, order = begun(desk, world), []

    def watch(question):
        if isinstance(question, Send):
            ((_, entry),) = pendings(world)
            pending = opened(desk, world)
            order.append((entry.state, pending.used_at, pending.state, pending.verifier))

    world.before = watch
    world.advance(1)
    finished(desk, world, answer_to(started))
    assert order == [("used", T0 + 1, Secret(""), None)]


REFUSED = [
    ("no state", {"state": None}, "state_missing"),
    ("an empty state", {"state": ""}, "state_missing"),
    ("another state", {"state": "never-given-out"}, "state_unknown"),
    ("no issuer where one is always sent", {"iss": None}, "issuer_missing"),
    ("another issuer", {"iss": "https://evil.test"}, "issuer_mismatch"),
    ("the issuer with a slash", {"iss": ISSUER + "/"}, "issuer_mismatch"),
    ("no code", {"code": None}, "code_missing"),
    ("an empty code", {"code": ""}, "code_missing"),
]


@pytest.mark.parametrize(("what", "changes", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_an_answer_that_does_not_fit_is_refused_and_nothing_is_sent(desk, what, changes, code):
    strict = msgspec.structs.replace(a_provider(), asking=Asking(sends_iss=True))
    world = asking_world(desk, app=an_app(strict))
    started = begun(desk, world)
    with pytest.raises(CallbackRefused) as caught:
        finished(desk, world, answer_to(started, **changes))
    assert caught.value.code == code
    assert caught.value.cause
    assert caught.value.fix
    assert caught.value.exit_code == 4
    assert "Send" not in world.asked
    assert world.store.load("connection/acme/alice") is None


def test_an_answer_that_is_no_answer_is_refused(desk):
    world = asking_world(desk)
    for text in ("", "hello", CALLBACK, "?", "a=1&a=2", "state=a&state=b", "x" * 100_000, "state=a\0b"):
        with pytest.raises(CallbackRefused):
            finished(desk, world, text)


def test_an_answer_is_good_once(desk):
    world = asking_world(desk, tokens_answer(1))
    answer = answer_to(begun(desk, world))
    finished(desk, world, answer)
    for _ in range(2):
        with pytest.raises(CallbackRefused) as caught:
            finished(desk, world, answer)
        assert caught.value.code == "state_used"
    assert len(world.requests) == 1
    assert world.notes[-1] == ("connect.refused", "refused", "state_used")


def test_an_answer_that_was_refused_cannot_be_tried_again(desk):
    # Else an attacker could try codes until one fits.
    world = asking_world(desk, refusal("invalid_grant"))
    answer = answer_to(begun(desk, world))
    with pytest.raises(GrantRefused):
        finished(desk, world, answer)
    with pytest.raises(CallbackRefused) as caught:
        finished(desk, world, answer)
    assert caught.value.code == "state_used"


@pytest.mark.parametrize(
    ("seconds", "code"), [(PENDING_SECONDS - 0.001, ""), (PENDING_SECONDS, "state_expired"), (86_399, "state_expired")]
)
def test_a_link_ends_at_the_instant_it_says(desk, seconds, code):
    world = asking_world(desk, tokens_answer(1))
    started = begun(desk, world)
    assert started.expires_at.timestamp() == T0 + PENDING_SECONDS
    world.advance(seconds)
    if not code:
        assert finished(desk, world, answer_to(started)).tokens is not None
        return
    with pytest.raises(CallbackRefused) as caught:
        finished(desk, world, answer_to(started))
    assert caught.value.code == code
    assert "10 minutes" in caught.value.cause
    assert "Send" not in world.asked


def test_an_answer_is_only_for_who_started_and_leaves_the_link_to_her(desk):
    world = asking_world(desk, tokens_answer(1))
    started = begun(desk, world)
    for other in ("", "another's secret", MINE.reveal() + " "):
        with pytest.raises(CallbackRefused) as caught:
            finished(desk, world, answer_to(started), Secret(other))
        assert caught.value.code == "state_not_yours"
    assert "Send" not in world.asked
    assert finished(desk, world, answer_to(started)).tokens is not None


def test_a_stranger_does_not_learn_whether_a_link_was_used_or_has_expired(desk):
    world = asking_world(desk, tokens_answer(1))
    used, old = begun(desk, world), begun(desk, world, "acme/bob")
    finished(desk, world, answer_to(used))
    world.advance(PENDING_SECONDS)
    for started in (used, old):
        with pytest.raises(CallbackRefused) as caught:
            finished(desk, world, answer_to(started), Secret("another's"))
        assert caught.value.code == "state_not_yours"


def test_of_two_who_finish_at_once_one_redeems(desk):
    world = asking_world(desk, tokens_answer(1))
    answer = answer_to(begun(desk, world))
    second = finish(desk, answer, binding=MINE)
    question = next(second)
    assert isinstance(question, Load)
    seen = world.answer(question)  # the second reads the link while it is unused
    finished(desk, world, answer)
    with pytest.raises(CallbackRefused) as caught:
        drive_on(second, second.send(seen), world)
    assert caught.value.code == "state_used"
    assert len(world.requests) == 1


def test_denied_consent_is_told_as_such(desk):
    world = asking_world(desk)
    started = begun(desk, world)
    with pytest.raises(ConsentDenied) as caught:
        finished(desk, world, answer_to(started, code=None, error="access_denied", error_description="not today"))
    assert "not today" in str(caught.value)
    assert world.notes[-1] == ("connect.refused", "refused", "access_denied")
    assert "Send" not in world.asked


REDEMPTIONS = [
    (refusal("invalid_grant"), GrantRefused, "invalid_grant"),
    (refusal("invalid_client", 401), ClientRefused, "invalid_client"),
    (refusal("redirect_uri_mismatch"), RequestRefused, "redirect_uri_mismatch"),
    (Response(200, {"content-type": "text/html"}, b"<html>log in</html>"), BadAnswer, "bad_answer"),
    (Response(503), ProviderUnavailable, "provider_unavailable"),
    (ProviderUnavailable("refused", sent=False), ProviderUnavailable, "provider_unavailable"),
    (ProviderTimeout("too slow"), ProviderTimeout, "provider_timeout"),
]


@pytest.mark.parametrize(("answer", "kind", "code"), REDEMPTIONS, ids=[row[2] for row in REDEMPTIONS])
def test_a_code_that_is_not_redeemed_leaves_a_connection_as_it_was(desk, answer, kind, code):
    world = asking_world(desk, answer)
    before = a_connection()
    put(desk, world, before)
    started = begun(desk, world)
    with pytest.raises(kind) as caught:
        finished(desk, world, answer_to(started))
    assert caught.value.code == code
    assert caught.value.fix
    assert held(desk, world) == before
    assert world.notes[-1] == ("connect.refused", "refused", code)


# ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reconnecting_keeps_name_history_and_hosts_and_takes_the_new_tokens(desk):
    world = asking_world(desk, tokens_answer(9))
    put(desk, world, a_connection(hosts=("own.acme.test",), generation=5, rotates=True, kept={"old": "1"}))
    world.advance(1000)
    made = finished(desk, world, answer_to(begun(desk, world, wish=Wish(scopes=("write",)))))
    assert (made.created_at, made.generation, made.rotates) == (T0, 6, True)
    assert made.hosts == ("own.acme.test",)
    assert made.asked.scopes == ("write",)
    assert made.tokens.refresh == Secret("refresh-9")
    assert made.kept == {}
    assert world.notes[-1] == ("connection.reconnected", "ok", "")


@pytest.mark.parametrize("trouble", [{"revoked_at": T0}, {"expires_in": 1.0, "refresh": None}])
def test_reconnecting_ends_every_trouble(desk, trouble):
    world = asking_world(desk, tokens_answer(9))
    put(desk, world, a_connection(**trouble))
    made = finished(desk, world, answer_to(begun(desk, world)))
    assert made.state(world.now.timestamp()) == "active"
    assert held(desk, world) == made


def test_a_new_consent_wins_over_a_refresh_that_ends_meanwhile(desk):
    world = asking_world(desk, tokens_answer(9))
    put(desk, world, a_connection())
    started = begun(desk, world)

    def refresh(question):
        if isinstance(question, Send):
            entry = world.store.load("connection/acme/alice")
            newer = a_connection(refresh="refresh-2", generation=2)
            world.store.swap("connection/acme/alice", entry.version, desk.seal_connection(newer, T0))

    world.before = refresh
    finished(desk, world, answer_to(started))
    assert held(desk, world).tokens.refresh == Secret("refresh-9")


def down_after_the_send(world, *kinds):
    def down(question):
        if "Send" in world.asked and isinstance(question, kinds):
            raise StoreUnavailable("the disk is full")

    world.before = down


@pytest.mark.parametrize("there", [False, True], ids=["new", "reconnected"])
def test_a_store_that_goes_down_while_a_code_is_redeemed_does_not_lose_the_grant(desk, there):
    world = asking_world(desk, tokens_answer(9))
    if there:
        put(desk, world, a_connection(generation=5))
    started = begun(desk, world)
    down_after_the_send(world, Load, Swap, Note)
    made = finished(desk, world, answer_to(started))
    assert made.generation == (6 if there else 1)
    spilled = world.spilled["connection/acme/alice"]
    assert desk.connection("acme/alice", spilled).tokens.refresh == Secret("refresh-9")
    assert world.asked.count("Sleep") == len(SAVE_DELAYS) - 1


def test_a_log_that_goes_down_while_a_code_is_redeemed_does_not_hide_the_grant(desk):
    world = asking_world(desk, tokens_answer(9))
    started = begun(desk, world)
    down_after_the_send(world, Note)
    assert finished(desk, world, answer_to(started)) == held(desk, world)


@pytest.mark.parametrize("kind", [Load, Swap])
def test_a_store_that_is_down_before_the_code_is_sent_sends_nothing(desk, kind):
    world = asking_world(desk)
    started = begun(desk, world)
    asked = []

    def down(question):
        asked.append(question)
        if isinstance(question, kind):
            raise StoreUnavailable("the disk is full")

    world.before = down
    with pytest.raises(StoreUnavailable):
        finished(desk, world, answer_to(started))
    assert not any(isinstance(question, Send) for question in asked)


# ── machines ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_is_connected_without_a_person(desk):
    world = asking_world(desk, tokens_answer(1, refresh=False))
    wish = Wish(scopes=("read",), audience="https://api.test")
    made = drive(connect_machine(desk, "acme/ci", wish, "client_credentials"), world)
    assert made == held(desk, world, "acme/ci")
    assert world.requests[0]["grant_type"] == "client_credentials"
    assert (world.requests[0]["scope"], world.requests[0]["audience"]) == ("read", "https://api.test")
    assert made.tokens.refresh is None
    assert world.notes == [("connect.started", "ok", ""), ("connection.created", "ok", "")]


def test_a_machine_that_is_refused_is_not_kept(desk):
    world = asking_world(desk, refusal("invalid_client", 401))
    with pytest.raises(ClientRefused):
        drive(connect_machine(desk, "acme/ci", Wish(), "client_credentials"), world)
    assert world.store.load("connection/acme/ci") is None
    assert world.notes[-1] == ("connect.refused", "refused", "invalid_client")


@pytest.mark.parametrize("grant", ["authorization_code", "device_code", "client_credential", "", "x" * 5000])
def test_a_grant_that_needs_a_person_or_is_none_is_not_for_a_machine(desk, grant):
    world = asking_world(desk)
    with pytest.raises(InvalidInput) as caught:
        drive(connect_machine(desk, "acme/ci", Wish(), grant), world)
    assert caught.value.cause
    assert "client_credentials or jwt_bearer" in caught.value.fix
    assert "begin_device()" in caught.value.fix
    assert len(caught.value.message) < 200
    assert (world.notes, "Send" in world.asked) == ([], False)


def test_what_cannot_be_renewed_without_a_person_says_how_one_connects_it(desk):
    app = an_app()
    client = desk.client(app, desk.provider(app))
    with pytest.raises(NotConnected) as caught:
        token_request(desk, client, app, a_connection(refresh=None), Stamp(START, "one"))
    assert "authorization_code" in caught.value.cause
    assert caught.value.fix == "`valetkey connect acme/alice`"


def test_a_machines_connection_of_no_app_says_that_the_app_is_missing(desk):
    with pytest.raises(NotFound) as caught:
        drive(connect_machine(desk, "acm/ci", Wish(), "client_credentials"), asking_world(desk))
    assert "`valetkey app add acm PROVIDER`" in caught.value.fix


def test_a_jwt_bearer_without_a_key_says_how_to_give_one(desk):
    world = asking_world(desk)
    with pytest.raises(InvalidInput) as caught:
        drive(connect_machine(desk, "acme/ci", Wish(), "jwt_bearer"), world)
    assert "--private-key" in caught.value.fix


# ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_is_forgotten_when_its_time_has_come_and_not_before(desk):
    world = asking_world(desk)
    begun(desk, world)
    ((record, _),) = pendings(world)
    world.advance(PENDING_SECONDS - 0.001)
    assert drive(forget_expired(record), world) is False
    world.advance(0.001)
    assert drive(forget_expired(record), world) is True
    assert pendings(world) == []
    assert drive(forget_expired(record), world) is False


def test_a_used_link_is_remembered_for_a_day_so_that_its_second_use_has_a_name(desk):
    world = asking_world(desk, tokens_answer(1))
    answer = answer_to(begun(desk, world))
    finished(desk, world, answer)
    ((record, entry),) = pendings(world)
    assert entry.due_at.timestamp() == T0 + USED_SECONDS
    world.advance(USED_SECONDS)
    assert drive(forget_expired(record), world) is True
    with pytest.raises(CallbackRefused) as caught:
        finished(desk, world, answer)
    assert caught.value.code == "state_unknown"


# ── nothing secret ───────────────────────────────────────────────────────────────────────────────────────────────


def test_neither_link_nor_code_is_shown_by_anything_on_the_way(desk, caplog):
    world = asking_world(desk, tokens_answer(1))
    shown = []
    world.before = lambda question: shown.append(repr(question))
    started = begun(desk, world)
    pending = opened(desk, world)
    made = finished(desk, world, answer_to(started))
    text = "".join([*shown, repr(started), repr(made), repr(pending), repr(world.notes), caplog.text])
    secrets = [pending.state, pending.verifier, MINE, Secret("the-code-1234567890"), Secret("access-1")]
    for secret in secrets:
        assert secret.reveal() not in text
    assert started.url not in text


# ── a server that is not there ───────────────────────────────────────────────────────────────────────────────────────


def lost(host, port=443, **facts):
    return ProviderUnavailable("no address was found", **{"sent": False, "host": host, "port": port, **facts})


def fix_of(desk, refusal, app):
    with pytest.raises(ProviderUnavailable) as caught:
        drive(connect_machine(desk, "acme/ci", Wish(), "client_credentials"), asking_world(desk, refusal, app=app))
    return caught.value.fix


def test_the_address_that_was_asked_may_be_mistyped_and_is_corrected_by_its_option(desk):
    app = an_app(described=a_provider())
    host = urlsplit(app.described.endpoints.token).hostname
    fix = fix_of(desk, lost(host), app)
    assert fix.startswith("check the address of the provider's token endpoint")
    assert "`valetkey app add acme --replace --token-url URL" in fix
    assert fix.endswith(ProviderUnavailable.fix)


def test_an_address_made_of_a_parameter_is_corrected_by_that(desk):
    params = {"domain": "acme.eu.auth0.test", "audience": "https://api.test"}
    app = msgspec.structs.replace(an_app(), described=None, provider="auth0", params=params)
    assert "`valetkey app add acme --replace --param NAME=VALUE`" in fix_of(desk, lost("acme.eu.auth0.test"), app)


@pytest.mark.parametrize(
    ("refusal", "app"),
    [
        (lost("oauth2.googleapis.com"), msgspec.structs.replace(an_app(), described=None, provider="google")),
        (lost("elsewhere.test"), an_app()),
        (lost("acme.test", proxy="proxy.test:3128"), an_app()),
        (lost("acme.test", sent=True), an_app()),
    ],
    ids=["of the catalogue", "of another server", "of a proxy", "that was reached"],
)
def test_an_address_that_is_not_mistyped_is_not_called_so(desk, refusal, app):
    assert fix_of(desk, refusal, app) == ProviderUnavailable.fix
