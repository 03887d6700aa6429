"""Apps whose secrets are kept elsewhere: looked up when used, fetched anew when refused, and never a grant spent for it."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.effects import Resolve
from valetkey.errors import (
    ClientRefused,
    InvalidInput,
    KeyRefused,
    ManagerRefused,
    ManagerUnavailable,
    StoreUnavailable,
)
from valetkey.jose import Key
from valetkey.values import Response, Secret
from valetkey.vault import names
from valetkey.vault.connect import Wish, begin, connect_machine, finish
from valetkey.vault.device import begin_device, finish_device
from valetkey.vault.disconnect import disconnect
from valetkey.vault.judge import Demand
from valetkey.vault.registry import add_app
from valetkey.vault.renew import obtain
from vaultkit import FakeWorld, a_connection, a_provider, an_app, drive, held, put, refusal, tokens_answer

REF = "vault:kv/acme#client_secret"
AWS = "aws-sm:acme"
ANY = Demand()


def elsewhere(reference=REF, **changes):
    return an_app(secret=None, secret_ref=reference, **changes)


class Managed(FakeWorld):
    """A provider that takes one client secret, and a manager that has one."""

    def __init__(self, answers=(), *, takes="s3cr3t", has="s3cr3t", had="") -> None:
        super().__init__(self._provider)
        self.takes, self.has, self.had = takes, has, had
        self.answers = iter(answers or [tokens_answer()])
        self.sent: list[dict[str, str]] = []
        self.wanted: list[tuple[str, str]] = []
        self.manager = self._manager
        self.down: Exception | None = None

    def _provider(self, request):
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.sent.append(form)
        if form.get("client_secret") != self.takes:
            return refusal("invalid_client", 401)
        return next(self.answers)

    def _manager(self, reference, want):
        self.wanted.append((reference, want))
        if self.down is not None:
            raise self.down
        if want == "previous" and not self.had:
            raise ManagerRefused("there is no secret before", sent=False)
        return Secret(self.had if want == "previous" else self.has)

    @property
    def secrets_sent(self):
        return [form.get("client_secret") for form in self.sent]


def expired(desk, app=None, **world):
    made = Managed(**world)
    put(desk, made, app or elsewhere(), a_connection(expires_in=60.0))
    made.advance(61)
    return made


# ── a refresh ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_kept_elsewhere_is_looked_up_after_the_claim_and_before_anything_is_sent(desk):
    world = expired(desk)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    order = [asked for asked in world.asked if asked in {"Resolve", "Swap", "Send"}]
    assert order == ["Swap", "Resolve", "Send", "Swap"]
    assert world.secrets_sent == ["s3cr3t"]
    assert world.notes[0] == ("secret.resolved", "ok", "")


def test_the_reference_is_stored_and_what_it_leads_to_never(desk, canary):
    world = expired(desk, has=(secret := canary.make()), takes=secret)
    drive(obtain(desk, "acme/alice", ANY), world)
    stored = world.store.load(names.app_record("acme"))
    app = desk.app("acme", stored)
    assert (app.secret, app.secret_ref) == (None, REF)
    found = msgspec.structs.replace(app, secret=Secret(secret))
    assert desk.app("acme", desk.seal_app(found)).secret is None


def test_what_is_remembered_is_not_noted_again(desk):
    world = expired(desk, answers=[tokens_answer(), tokens_answer(3)])
    drive(obtain(desk, "acme/alice", ANY), world)
    drive(obtain(desk, "acme/alice", Demand(force=True)), world)
    assert [kind for kind, _, _ in world.notes].count("secret.resolved") == 1


def test_a_secret_that_was_rotated_is_fetched_anew_and_the_grant_is_not_spent(desk):
    world = expired(desk, has="old", takes="new")
    world.known[REF] = Secret("old")
    world.has = "new"
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert world.secrets_sent == ["old", "new"]
    assert [form["refresh_token"] for form in world.sent] == ["refresh-1", "refresh-1"]
    assert held(desk, world).trouble is None


def test_a_secret_that_is_the_same_is_not_tried_twice(desk):
    world = expired(desk, takes="new", has="old")
    world.known[REF] = Secret("old")
    with pytest.raises(ClientRefused):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert world.secrets_sent == ["old"]
    assert world.wanted == [(REF, "fresh")]
    connection = held(desk, world)
    assert (connection.trouble.sort, connection.state(world.now.timestamp())) == ("client", "failing")
    assert connection.refresh_token("").reveal() == "refresh-1"


def test_while_aws_rotates_the_secret_before_is_tried_too(desk):
    world = expired(desk, elsewhere(AWS), has="new", had="old", takes="old")
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert world.secrets_sent == ["new", "old"]


def test_without_a_secret_before_the_providers_refusal_stands(desk):
    world = expired(desk, elsewhere(AWS), has="new", takes="another")
    with pytest.raises(ClientRefused):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert world.secrets_sent == ["new"]


def test_another_refusal_than_that_of_the_client_is_not_tried_again(desk):
    world = expired(desk, answers=[refusal("invalid_scope")])
    with pytest.raises(Exception, match="invalid_scope"):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert len(world.sent) == 1


SEALED = ManagerUnavailable("the manager is sealed", code="manager_sealed", sent=False)
DENIED = ManagerRefused("the policy forbids it", sent=False)


def test_while_the_manager_is_down_the_token_is_used_as_long_as_it_lives(desk):
    world = Managed()
    put(desk, world, elsewhere(), a_connection(expires_in=600.0))
    world.advance(580)  # due, and alive
    world.down = SEALED
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.reveal() == "access-1"
    assert world.sent == []
    trouble = held(desk, world).trouble
    assert (trouble.sort, trouble.code) == ("weather", "manager_sealed")


@pytest.mark.parametrize(("down", "sort"), [(SEALED, "weather"), (DENIED, "client")])
def test_a_manager_that_gives_nothing_spends_no_refresh_token_and_leaves_no_doubt(desk, down, sort):
    world = expired(desk)
    world.down = down
    with pytest.raises(type(down)):
        drive(obtain(desk, "acme/alice", ANY), world)
    connection = held(desk, world)
    assert (world.sent, connection.intent, connection.lease) == ([], None, None)
    assert connection.trouble.sort == sort
    world.down = None
    world.advance(connection.trouble.retry_at - world.now.timestamp() + 1)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"


def test_the_log_hears_what_could_not_be_found(desk):
    world = expired(desk)
    world.down = SEALED
    with pytest.raises(ManagerUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert ("secret.unresolved", "failed", "manager_sealed") in world.notes


def test_a_secret_is_not_used_before_the_log_knows_that_it_was_fetched(desk):
    world = expired(desk)

    def full(question):
        if type(question).__name__ == "Note" and question.event.kind == "secret.resolved":
            raise StoreUnavailable("the log is full")

    world.before = full
    with pytest.raises(StoreUnavailable):
        drive(obtain(desk, "acme/alice", ANY), world)
    assert world.sent == []


def test_a_manager_that_takes_too_long_leaves_the_lease_to_others_and_sends_nothing(desk):
    world = expired(desk)
    slow = [True]

    def drag(question):
        if isinstance(question, Resolve) and slow.pop():
            world.advance(16)
            world.before = lambda _: None

    world.before = drag
    drive(obtain(desk, "acme/alice", ANY), world)
    assert len(world.sent) == 1
    swaps = [asked for asked in world.asked if asked in {"Swap", "Send"}]
    assert swaps == ["Swap", "Swap", "Swap", "Send", "Swap"]  # claimed, given back, claimed again


@pytest.mark.parametrize("step", range(1, 30))
def test_whichever_question_is_the_last_the_connection_can_be_used_afterwards(desk, step):
    world = expired(desk, has="new", takes="new", answers=[tokens_answer(n) for n in range(2, 9)])
    world.known[REF] = Secret("old")
    plan, answer = obtain(desk, "acme/alice", ANY), None
    try:
        question = next(plan)
        for _ in range(step):
            answer = world.answer(question)
            question = plan.send(answer)
    except StopIteration:
        return
    plan.close()
    world.advance(60)
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.reveal().startswith("access-")


# ── every other request ──────────────────────────────────────────────────────────────────────────────────────────


def rotated(desk, answers, **app):
    world = Managed(answers=answers, has="new", takes="new")
    world.known[REF] = Secret("old")
    put(desk, world, elsewhere(**app))
    return world


def test_a_code_is_redeemed_with_the_secret_as_it_is_now(desk):
    world = rotated(desk, [tokens_answer()])
    binding = Secret("binding")
    redirect = "http://127.0.0.1:1/cb"
    started = drive(begin(desk, "acme/bob", Wish(), redirect_uri=redirect, binding=binding), world)
    state = started.url.partition("state=")[2].partition("&")[0]
    made = drive(finish(desk, f"{redirect}?state={state}&code=the-code", binding=binding), world)
    assert made.tokens.access.reveal() == "access-2"
    assert [(form["client_secret"], form["code"]) for form in world.sent] == [("old", "the-code"), ("new", "the-code")]


def test_a_manager_that_is_down_is_told_before_a_person_is_sent_away(desk):
    world = Managed()
    put(desk, world, elsewhere())
    world.down = SEALED
    with pytest.raises(ManagerUnavailable):
        drive(begin(desk, "acme/bob", Wish(), redirect_uri="http://127.0.0.1:1/cb", binding=Secret("b")), world)
    assert world.store.names(names.PENDING, "", 10) == []


def test_a_machine_connects_with_the_secret_as_it_is_now(desk):
    world = rotated(desk, [tokens_answer(refresh=False)])
    drive(connect_machine(desk, "acme/robot", Wish(), "client_credentials"), world)
    assert world.secrets_sent == ["old", "new"]


def test_a_device_connects_with_the_secret_as_it_is_now(desk):
    shown = {
        "device_code": "device-1",
        "user_code": "ABCD",
        "verification_uri": "https://acme.test/d",
        "expires_in": 600,
    }
    world = rotated(
        desk, [Response(200, {"content-type": "application/json"}, msgspec.json.encode(shown)), tokens_answer()]
    )
    started = drive(begin_device(desk, "acme/tv", Wish()), world)
    made = drive(finish_device(desk, started), world)
    assert made.tokens.access.reveal() == "access-2"
    assert world.secrets_sent[-1] == "new"


def test_disconnecting_revokes_with_the_secret_as_it_is_now(desk):
    world = rotated(desk, [Response(200), Response(200)])
    put(desk, world, a_connection())
    assert drive(disconnect(desk, "acme/alice"), world) == "revoked"
    assert world.secrets_sent == ["old", "new", "new"]


# ── adding an app ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_app_whose_secret_cannot_be_found_is_not_kept(desk):
    world = Managed()
    world.down = DENIED
    with pytest.raises(ManagerRefused):
        drive(add_app(desk, elsewhere()), world)
    assert world.store.names("", "", 10) == []


def test_unless_one_says_that_it_need_not_be_looked_up(desk):
    world = Managed()
    world.down = DENIED
    drive(add_app(desk, elsewhere(), check=False), world)
    assert world.wanted == []


@pytest.mark.parametrize("check", [True, False])
def test_what_is_no_reference_is_refused_in_any_case(desk, check, canary):
    with pytest.raises(InvalidInput) as caught:
        drive(add_app(desk, elsewhere(canary.make()), check=check), Managed())
    canary.assert_absent(caught.value.explain())


def test_a_secret_beside_its_reference_is_refused(desk):
    with pytest.raises(InvalidInput, match="where it is kept"):
        drive(add_app(desk, an_app(secret_ref=REF)), Managed())


def test_a_private_key_may_be_kept_elsewhere(desk):
    pem = Key.generate("ES256").to_pem(private=True).decode()
    provider = a_provider()
    provider = msgspec.structs.replace(
        provider, asking=msgspec.structs.replace(provider.asking, token_auth="private_key_jwt")
    )
    app = an_app(provider, secret=None, private_key_ref=REF, key_alg="ES256")
    world = Managed(has=pem, takes=None)
    drive(add_app(desk, app), world)
    drive(connect_machine(desk, "acme/robot", Wish(), "client_credentials"), world)
    assert world.sent[0]["client_assertion"].count(".") == 2
    world.has = "no key at all"
    with pytest.raises(KeyRefused):
        drive(add_app(desk, app, replace=True), world)


def test_no_plan_asks_for_a_secret_of_an_app_that_keeps_it_here(desk):
    world = Managed(takes="a-client-secret-that-nobody-may-see")
    put(desk, world, an_app(), a_connection(expires_in=60.0))
    world.advance(61)
    drive(obtain(desk, "acme/alice", ANY), world)
    assert "Resolve" not in world.asked


@pytest.mark.parametrize(
    ("reference", "code", "kind"),
    [
        (REF, "manager_secret_missing", InvalidInput),
        (AWS, "manager_secret_missing", InvalidInput),
        ("file:/run/secrets/acme", "manager_secret_missing", InvalidInput),
        ("file:/run/secrets/acme", "manager_refused", InvalidInput),
        (REF, "manager_refused", ManagerRefused),
    ],
)
def test_a_reference_that_leads_nowhere_is_the_mistake_of_who_gives_it(desk, reference, code, kind):
    world = Managed()
    world.down = ManagerRefused("it is not there", code=code, cause="no such file", fix="check the path")
    with pytest.raises(kind) as caught:
        drive(add_app(desk, elsewhere(reference)), world)
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)
    assert ("check the path" in caught.value.fix) is (reference.startswith("file:") or kind is ManagerRefused)
    put(desk, world, elsewhere(reference), a_connection(expires_in=-1.0))
    with pytest.raises(ManagerRefused):  # later on it is no mistake of who asks for a token
        drive(obtain(desk, "acme/alice", ANY), world)
