"""The keeper: what it remembers and for how long, what it shares, and what it shows of a vault."""

from __future__ import annotations

import shlex
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs

import msgspec
import pytest

from valetkey.errors import (
    InsufficientScope,
    InvalidInput,
    NeedsReconnect,
    NotFound,
    ProviderUnavailable,
    Revoked,
    StoreUnavailable,
    ValetkeyError,
    VaultDamaged,
)
from valetkey.providers.schema import Answer, Parameter
from valetkey.values import Entry, Secret
from valetkey.vault import names
from valetkey.vault import opened as opened_module
from valetkey.vault.connect import PENDING_SECONDS, USED_SECONDS
from valetkey.vault.keeper import SWEPT, Keeper
from valetkey.vault.opened import BOX_MOST, MOST, SECONDS
from valetkey.vault.records import App, Asked, Trouble
from valetkey.vault.seal import Sealer
from valetkey.vault.spill import SpillFolder
from valetkey.vault.stores.memory import MemoryStore
from valetkey.vault.world import VaultWorld
from vaultkit import START, a_connection, a_provider, a_recorder, an_app, connect, refusal, tokens_answer

T0 = START.timestamp()
RECORD = "connection/acme/alice"


class Counting(MemoryStore):
    """A store that counts how often it is looked at, and can be down."""

    def __init__(self):
        super().__init__()
        self.loads, self.down = 0, False

    def load(self, name):
        self.loads += 1
        return super().load(name)

    def swap(self, name, seen, entry):
        if self.down:
            raise StoreUnavailable("the disk is full")
        return super().swap(name, seen, entry)


class Scene:
    """A store, a provider that is a function, a clock, and keepers on them."""

    def __init__(self, desk, folder, monkeypatch):
        self.desk, self.store = desk, Counting()
        self.spills = SpillFolder(folder / "v.spill")
        self.now, self.ticks, self.sent = START, 1000.0, []
        self.provider = lambda _: tokens_answer(len(self.sent) + 1)
        monkeypatch.setattr(opened_module, "time", SimpleNamespace(monotonic=lambda: self.ticks))

    def send(self, request):
        self.sent.append({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        return self.provider(request)

    def clock(self) -> datetime:
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds

    def keeper(self):
        world = VaultWorld(
            store=self.store,
            transport=lambda: self,
            spills=self.spills,
            audit=a_recorder(self.store, self.clock),
            clock=self.clock,
        )
        return Keeper(self.desk, world)

    def put(self, *records):
        for record in records:
            app = isinstance(record, App)
            name = names.app_record(record.name) if app else names.connection_record(record.name)
            entry = self.store.load(name)
            sealed = self.desk.seal_app(record) if app else self.desk.seal_connection(record, T0)
            assert self.store.swap(name, entry.version if entry else 0, sealed)

    def held(self, name="acme/alice"):
        return self.desk.connection(name, self.store.load(names.connection_record(name)))


@pytest.fixture
def scene(desk, tmp_path, monkeypatch):
    made = Scene(desk, tmp_path, monkeypatch)
    made.put(an_app(), a_connection())
    return made


@pytest.fixture
def keeper(scene):
    with scene.keeper() as made:
        yield made


# ── what is remembered ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_given_without_asking_the_provider_while_it_is_fresh(scene, keeper):
    assert keeper.token("acme/alice").reveal() == "access-1"
    assert scene.sent == []


def test_a_token_opened_within_a_second_is_given_without_looking_at_the_store(scene, keeper):
    first = keeper.token("acme/alice")
    looked = scene.store.loads
    scene.ticks += SECONDS - 0.001
    assert keeper.token("acme/alice") is first
    assert keeper.remembered("acme/alice") is first
    assert scene.store.loads == looked
    scene.ticks += 0.001
    assert keeper.remembered("acme/alice") is None
    assert keeper.token("acme/alice") == first
    assert scene.store.loads > looked


def test_a_disconnection_by_another_is_obeyed_within_a_second(scene, keeper):
    keeper.token("acme/alice")
    with scene.keeper() as another:
        scene.provider = lambda _: refusal("invalid_token")
        another.disconnect("acme/alice")
        with pytest.raises(NotFound):
            another.token("acme/alice")
    assert keeper.token("acme/alice").reveal() == "access-1", "the second has not passed"
    scene.ticks += SECONDS
    with pytest.raises(NotFound):
        keeper.token("acme/alice")


def test_a_mark_of_revocation_is_obeyed_within_a_second(scene, keeper):
    keeper.token("acme/alice")
    scene.put(a_connection(revoked_at=T0))
    scene.ticks += SECONDS
    with pytest.raises(Revoked):
        keeper.token("acme/alice")


def test_ones_own_disconnection_is_obeyed_at_once(scene, keeper):
    keeper.token("acme/alice")
    keeper.credential("acme/alice")
    scene.provider = lambda _: refusal("invalid_token")
    assert keeper.disconnect("acme/alice") == "revoked"
    assert keeper.remembered_credential("acme/alice") is None
    with pytest.raises(NotFound):
        keeper.token("acme/alice")


def test_a_token_is_not_remembered_beyond_its_freshness(scene, keeper):
    scene.advance(3600 - 300 - 0.25)
    keeper.token("acme/alice")
    scene.advance(0.2)
    assert keeper.remembered("acme/alice") is not None
    scene.advance(0.06)
    assert keeper.remembered("acme/alice") is None


def test_a_fallback_token_is_not_remembered(scene, keeper):
    scene.provider = lambda _: refusal("temporarily_unavailable", 503)
    scene.advance(3600 - 100)
    assert keeper.token("acme/alice").reveal() == "access-1"
    assert keeper.remembered("acme/alice") is None


def test_memory_is_bounded(scene, keeper):
    keeper.credential("acme/alice")
    held = keeper._opened._tokens["acme/alice"]
    keeper._opened._tokens |= {f"acme/{number}": held for number in range(MOST - 1)}
    scene.ticks += SECONDS
    keeper.token("acme/alice")
    assert len(keeper._opened._tokens) == MOST, "it was there already"
    scene.put(a_connection(label="bob"))
    keeper.token("acme/bob")
    assert (list(keeper._opened._tokens), keeper._opened._credentials) == (["acme/bob"], {})


@pytest.fixture
def boxes_opened(monkeypatch):
    """Count the boxes that are opened."""
    real, counted = Sealer.open, []
    monkeypatch.setattr(Sealer, "open", lambda self, name, box: counted.append(name) or real(self, name, box))
    return counted


def test_a_record_that_has_not_changed_is_not_opened_again(scene, keeper, boxes_opened):
    first = keeper.token("acme/alice")
    for _ in range(3):
        looked = scene.store.loads
        scene.ticks += SECONDS
        assert keeper.token("acme/alice") is first
        assert scene.store.loads == looked + 1
    assert boxes_opened == [RECORD]


def test_a_record_that_changed_though_its_token_did_not_is_opened(scene, keeper, boxes_opened):
    keeper.token("acme/alice")
    scene.put(a_connection(hosts=("more.acme.test",)))
    boxes_opened.clear()
    scene.ticks += SECONDS
    keeper.token("acme/alice")
    assert boxes_opened == [RECORD]


def test_a_record_that_has_not_changed_is_not_fresh_for_longer(scene, keeper):
    keeper.token("acme/alice")
    scene.advance(3600 - 301)
    keeper.token("acme/alice")
    assert scene.sent == []
    scene.advance(2)
    assert keeper.token("acme/alice").reveal() == "access-2"


def test_a_box_of_which_one_byte_was_changed_is_looked_into_and_refused(scene, keeper):
    keeper.token("acme/alice")
    entry = scene.store.load(RECORD)
    assert scene.store.swap(RECORD, entry.version, replace(entry, box=entry.box[:-1] + bytes([entry.box[-1] ^ 1])))
    scene.ticks += SECONDS
    with pytest.raises(VaultDamaged):
        keeper.token("acme/alice")


def test_a_large_box_is_not_kept_to_compare_with(scene, keeper, boxes_opened):
    scene.put(a_connection(kept={"instance": "x" * BOX_MOST}))
    keeper.token("acme/alice")
    scene.ticks += SECONDS
    keeper.token("acme/alice")
    assert boxes_opened == [RECORD, RECORD]


def test_hosts_that_were_withdrawn_are_not_remembered_for_as_long_as_they_took_to_read(scene, keeper):
    real, record = scene.store.load, names.app_record("acme")

    def slow(name):
        found = real(name)
        if name == record:
            scene.ticks += 4 * SECONDS
            keeper.token("acme/alice")  # by another thread: the box is the same, and so is its token
        return found

    scene.put(an_app(hosts=("withdrawn.acme.test",)))
    scene.store.load = slow
    assert keeper.credential("acme/alice").hosts == ("withdrawn.acme.test", "api.acme.test")
    scene.store.load = real
    scene.put(an_app())
    assert keeper.remembered_credential("acme/alice") is None
    assert keeper.credential("acme/alice").hosts == ("api.acme.test",)


def test_a_credential_that_was_made_of_the_token_before_is_not_given(scene, keeper):
    before = keeper.credential("acme/alice")
    keeper.refresh("acme/alice")
    keeper._opened.keep_credential("acme/alice", before, scene.ticks)  # by a thread that was slow
    assert keeper.remembered_credential("acme/alice") is None
    assert keeper.credential("acme/alice").token.reveal() == "access-2"


@pytest.mark.parametrize(
    "happens",
    [
        lambda keeper, _: keeper.refresh("acme/alice"),
        lambda keeper, made: keeper.renewed("acme/alice", made.token),
        lambda keeper, _: keeper.disconnect("acme/alice", force=True),
        lambda keeper, _: keeper._opened.clear(),
        lambda _keeper, _made: opened_module._forked(),
    ],
    ids=["refreshed", "refused", "disconnected", "cleared", "forked"],
)
def test_a_credential_in_hand_ends_with_its_token(scene, keeper, happens):
    made = keeper.credential("acme/alice")
    assert scene.ticks < made.validity.until <= scene.ticks + SECONDS
    happens(keeper, made)
    assert made.validity.until == 0


def test_a_credential_ends_before_it_is_out_of_sight(scene, keeper):
    """A child that is forked in between would have it and not know of it."""
    seen = []

    class Watched(dict):
        def pop(self, name, *otherwise):
            seen.append(self[name].validity.until)
            return super().pop(name, *otherwise)

    keeper.credential("acme/alice")
    keeper._opened._credentials = Watched(keeper._opened._credentials)
    keeper.refresh("acme/alice")
    assert seen == [0]


def test_a_forked_child_begins_with_nothing(scene, keeper):
    keeper.credential("acme/alice")
    opened_module._forked()  # what the interpreter calls in the child
    assert (keeper.remembered("acme/alice"), keeper.remembered_credential("acme/alice")) == (None, None)


def test_what_is_held_in_memory_shows_no_token(scene, keeper):
    keeper.credential("acme/alice")
    assert "access-1" not in f"{keeper._opened!r} {keeper._opened._tokens!r} {keeper._opened._credentials!r}"


def test_a_refused_token_is_forgotten_and_another_is_given(scene, keeper):
    first = keeper.token("acme/alice")
    second = keeper.renewed("acme/alice", first)
    assert second.reveal() == "access-2"
    assert keeper.token("acme/alice") is second
    assert keeper.renewed("acme/alice", first) == second, "who comes late with the old one gets the new one"
    assert len(scene.sent) == 1


def test_a_refresh_on_demand_renews_what_is_fresh(scene, keeper):
    keeper.token("acme/alice")
    assert keeper.refresh("acme/alice").reveal() == "access-2"
    assert keeper.token("acme/alice").reveal() == "access-2"


def test_scopes_that_are_demanded_must_be_there_even_when_the_token_is_remembered(keeper):
    keeper.token("acme/alice")
    assert keeper.token("acme/alice", scopes=["read"]).reveal() == "access-1"
    with pytest.raises(InsufficientScope) as caught:
        keeper.token("acme/alice", scopes=["read", "write"])
    assert caught.value.evidence["missing"] == "write"


def test_who_lacks_a_scope_is_told_to_ask_for_those_it_has_too(scene, keeper):
    scene.put(a_connection(asked=Asked(scopes=("offline_access", "read"))))
    with pytest.raises(InsufficientScope, match=r"lacks write") as caught:
        keeper.token("acme/alice", scopes=["write", "read"])
    assert "`valetkey connect acme/alice --scope 'offline_access read write'`" in caught.value.fix


def test_scopes_that_a_provider_granted_are_shown_as_a_shell_takes_them(scene, keeper):
    scene.put(a_connection(tokens=msgspec.structs.replace(a_connection().tokens, scopes=("read';reboot;'",))))
    with pytest.raises(InsufficientScope) as caught:
        keeper.token("acme/alice", scopes=["write"])
    assert shlex.split(caught.value.fix.split("`")[1])[-1] == "read';reboot;' write"


def test_scopes_that_a_caller_asked_for_twice_are_on_the_token_once(scene, keeper):
    scene.put(a_connection(asked=Asked(scopes=("read", "write", "read")), tokens=None, grant="client_credentials"))
    assert keeper.token("acme/alice").scopes == ("read", "write")
    scene.ticks += SECONDS
    assert keeper.token("acme/alice").scopes == ("read", "write"), "and so they were stored"


def test_a_credential_says_where_a_token_may_go_and_is_remembered_with_it(scene, keeper):
    made = keeper.credential("acme/alice")
    assert (made.token.reveal(), made.hosts, made.scheme) == ("access-1", ("api.acme.test",), "Bearer")
    looked = scene.store.loads
    assert keeper.credential("acme/alice") is made
    assert keeper.remembered_credential("acme/alice") is made
    assert scene.store.loads == looked
    keeper.refresh("acme/alice")
    assert keeper.remembered_credential("acme/alice") is None
    assert keeper.credential("acme/alice").token.reveal() == "access-2"


def test_a_credential_is_made_anew_after_a_second(scene, keeper):
    keeper.credential("acme/alice")
    scene.put(an_app(hosts=("more.acme.test",)))
    scene.ticks += SECONDS
    assert keeper.credential("acme/alice").hosts == ("more.acme.test", "api.acme.test")


# ── one renewal ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_thirty_two_threads_that_ask_for_an_expired_token_share_one_renewal(scene, keeper):
    scene.advance(3601)
    begin, got = threading.Barrier(32), []

    def ask():
        begin.wait()
        got.append(keeper.token("acme/alice").reveal())

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["access-2"] * 32
    assert len(scene.sent) == 1


def test_what_a_renewal_raises_is_raised_by_the_keeper(scene, keeper):
    scene.advance(3601)
    scene.provider = lambda _: refusal("invalid_grant")
    with pytest.raises(NeedsReconnect):
        keeper.token("acme/alice")


def test_closing_waits_for_a_renewal_that_is_under_way(scene):
    keeper, sending, may_answer = scene.keeper(), threading.Event(), threading.Event()

    def slow(_):
        sending.set()
        assert may_answer.wait(30)
        return tokens_answer(2)

    scene.provider = slow
    scene.advance(3601)
    caller = threading.Thread(target=keeper.token, args=("acme/alice",))
    caller.start()
    sending.wait(30)
    closer = threading.Thread(target=keeper.close)
    closer.start()
    may_answer.set()
    closer.join()
    assert scene.held().tokens.refresh == Secret("refresh-2")
    caller.join()


def test_a_renewed_token_that_could_not_be_saved_is_brought_home_and_not_spent_twice(scene, keeper, monkeypatch):
    # The store still holds the refresh token that was spent. Spending it again would end the grant.
    monkeypatch.setattr("valetkey.vault.saving.SAVE_DELAYS", (0.0, 0.0))

    def answer(_):
        scene.store.down = True
        return tokens_answer(2)

    scene.provider = answer
    scene.advance(3601)
    assert keeper.token("acme/alice").reveal() == "access-2"
    assert [name for name, _ in scene.spills.all()] == [RECORD]
    scene.store.down = False
    scene.advance(50)  # the lease has lapsed too: a renewal would be begun now
    assert keeper.token("acme/alice").reveal() == "access-2"
    assert len(scene.sent) == 1
    assert scene.held().tokens.refresh == Secret("refresh-2")
    assert list(scene.spills.all()) == []


def test_a_provider_that_is_down_costs_one_request_for_all_who_ask(scene, keeper):
    scene.provider = lambda _: refusal("temporarily_unavailable", 503)
    scene.advance(3601)
    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            keeper.token("acme/alice")
    assert len(scene.sent) == 1


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────────


def test_twelve_hundred_connections_are_listed_in_order_over_several_pages(scene, keeper):
    labels = [f"user{number:04}" for number in range(1200)]
    for label in labels:
        scene.put(a_connection(label=label))
    listed = [info.name for info in keeper.connections()]
    assert listed == ["acme/alice", *(f"acme/{label}" for label in labels)]
    assert keeper.states() == {"active": 1201}


def test_the_connections_of_one_app_are_those_of_no_other(scene, keeper):
    scene.put(a_connection(app="acme2"), a_connection(app="acm"), a_connection(app="acme-2"), a_connection(label="bob"))
    assert [info.name for info in keeper.connections("acme")] == ["acme/alice", "acme/bob"]
    assert [info.name for info in keeper.connections("none")] == []
    with pytest.raises(InvalidInput):
        list(keeper.connections("no app!"))


def test_twelve_hundred_apps_are_listed_in_order(scene, keeper):
    for number in range(1200):
        scene.put(an_app(name=f"b{number:04}"))
    assert [info.name for info in keeper.apps()] == ["acme", *(f"b{number:04}" for number in range(1200))]


def test_what_is_removed_while_it_is_listed_is_left_out(scene, keeper):
    scene.put(a_connection(label="bob"), a_connection(label="carol"))
    listing = keeper.connections()
    assert next(listing).name == "acme/alice"
    entry = scene.store.load("connection/acme/bob")
    scene.store.swap("connection/acme/bob", entry.version, None)
    assert [info.name for info in listing] == ["acme/carol"]


def test_an_app_removed_while_it_is_listed_is_left_out(scene, keeper):
    scene.put(an_app(name="b"), an_app(name="c"))
    listing = keeper.apps()
    assert next(listing).name == "acme"
    scene.store.swap("app/b", scene.store.load("app/b").version, None)
    assert [info.name for info in listing] == ["c"]


def test_a_connection_is_shown_with_everything_but_its_secrets(scene, keeper):
    trouble = Trouble(sort="grant", code="invalid_grant", message="gone", at=T0, reason="crashed", cause="c", fix="f")
    scene.put(a_connection(trouble=trouble, kept={"team": "T1"}, rotates=True, generation=3, refreshed_at=T0))
    told = keeper.connection("acme/alice").to_dict()
    assert told == {
        "name": "acme/alice",
        "app": "acme",
        "provider": "acme",
        "grant": "authorization_code",
        "state": "needs_reconnect",
        "asked": [],
        "granted": ["read"],
        "created_at": "2026-03-01T12:00:00+00:00",
        "refreshed_at": "2026-03-01T12:00:00+00:00",
        "expires_at": "2026-03-01T13:00:00+00:00",
        "refresh_expires_at": None,
        "renewable": True,
        "refreshes": 2,
        "rotates": True,
        "hosts": ["api.acme.test"],
        "kept": {"team": "T1"},
        "trouble": {
            "code": "invalid_grant",
            "message": "gone",
            "reason": "crashed",
            "cause": "c",
            "fix": "f",
            "failures": 1,
            "since": "2026-03-01T12:00:00+00:00",
        },
        "access_fingerprint": Secret("access-1").fingerprint(),
        "refresh_fingerprint": Secret("refresh-1").fingerprint(),
        "forecasts": [],
        "drift": [],
        "parts": [],
        "secret_ref": "",
    }
    msgspec.json.encode(told)


def test_a_connection_nobody_consented_to_is_shown(scene, keeper):
    scene.put(a_connection(tokens=None))
    told = keeper.connection("acme/alice").to_dict()
    assert (told["state"], told["renewable"], told["expires_at"], told["trouble"]) == ("pending", False, None, None)
    assert (told["access_fingerprint"], told["refresh_fingerprint"]) == ("", "")


def test_a_connection_whose_app_is_gone_is_still_shown(scene, keeper):
    scene.store.swap("app/acme", scene.store.load("app/acme").version, None)
    told = keeper.connection("acme/alice")
    assert (told.name, told.provider, told.state) == ("acme/alice", "", "active")
    with pytest.raises(NotFound):
        keeper.connection("acme/nobody")


def test_an_app_is_shown_with_everything_but_its_secrets(scene, keeper):
    described = msgspec.structs.replace(a_provider(), parameters={"tenant": Parameter(about="the tenant")})
    scene.put(an_app(described, params={"tenant": "t"}, scopes=("read",), hosts=("own.test",)))
    told = keeper.app("acme").to_dict()
    assert (told["name"], told["client_id"], told["token_auth"]) == ("acme", "client-1", "client_secret_post")
    assert (told["has_secret"], told["has_private_key"]) == (True, False)
    assert (told["scopes"], told["hosts"], told["params"]) == (["read"], ["own.test", "api.acme.test"], {"tenant": "t"})
    assert told["created_at"] == "2026-03-01T12:00:00+00:00"
    assert "a-client-secret" not in repr(told) + repr(keeper.app("acme"))
    with pytest.raises(NotFound):
        keeper.app("none")


def test_the_log_is_shown_the_oldest_first(scene, keeper):
    keeper.refresh("acme/alice")
    told = ["audit.begun", "refresh.started", "refresh.finished", "token.handed_out"]
    assert [line.kind for line in keeper.events()] == told
    assert [line.kind for line in keeper.events(1)] == told[-1:]
    assert keeper.events()[0].actor.startswith("test:")


HOSTS = [
    # the connection's, the app's, the provider's, learned ones, and what comes of them
    ((), (), ["api.acme.test"], {}, ("api.acme.test",)),
    (("a.test",), ("b.test",), ["c.test"], {}, ("a.test", "b.test", "c.test")),
    (("a.test",), ("A.test",), ["a.test"], {}, ("a.test",)),
    ((), (), [], {}, ("acme.test",)),
    ((), (), [], {"instance_url": "https://eu7.acme.test/path"}, ("eu7.acme.test",)),
    ((), (), [], {"instance_url": "https://user@eu7.acme.test:8443"}, ("eu7.acme.test:8443",)),
    ((), (), [], {"instance_url": "eu8.acme.test"}, ("eu8.acme.test",)),
    ((), (), [], {"instance_url": ""}, ("acme.test",)),
]


@pytest.mark.parametrize("row", HOSTS)
def test_a_token_may_go_where_somebody_said(scene, keeper, row):
    own, apps, providers, kept, hosts = row
    base = a_provider()
    api = msgspec.structs.replace(base.api, hosts=providers, hosts_from=["instance_url"])
    described = msgspec.structs.replace(base, api=api, answer=Answer(keep=["instance_url"]))
    scene.put(an_app(described, hosts=apps), a_connection(hosts=own, kept=kept))
    assert keeper.credential("acme/alice").hosts == hosts
    assert keeper.connection("acme/alice").hosts == hosts


# ── apps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_app_is_not_removed_while_connections_need_it(scene, keeper):
    with pytest.raises(InvalidInput, match="acme/alice") as caught:
        keeper.remove_app("acme")
    assert "connection rm acme/alice" in caught.value.fix
    assert keeper.app("acme").name == "acme"
    scene.provider = lambda _: refusal("invalid_token")
    keeper.disconnect("acme/alice")
    keeper.remove_app("acme")
    with pytest.raises(NotFound):
        keeper.app("acme")
    with pytest.raises(NotFound):
        keeper.remove_app("acme")


def test_connections_of_an_app_with_a_longer_name_do_not_keep_it(scene, keeper):
    scene.put(an_app(name="acm"))
    keeper.remove_app("acm")
    assert [info.name for info in keeper.apps()] == ["acme"]


def test_an_added_app_is_shown_as_it_was_kept(scene, keeper):
    made = keeper.add_app(an_app(name="b", created_at=0.0))
    assert made == keeper.app("b")
    assert made.created_at == START


# ── pending authorizations ───────────────────────────────────────────────────────────────────────────────────────


def begin(keeper, number):
    binding = Secret(f"binding-{number}")
    return keeper.begin(f"acme/u{number}", redirect_uri="http://127.0.0.1:1/callback", binding=binding)


def test_old_links_are_swept_away_and_young_ones_stay(scene, keeper):
    begin(keeper, 1)
    scene.advance(PENDING_SECONDS / 2)
    begin(keeper, 2)
    scene.advance(PENDING_SECONDS / 2)
    assert keeper.sweep() == 1
    assert len(scene.store.names(names.PENDING, "", 10)) == 1
    assert keeper.sweep() == 0
    scene.advance(USED_SECONDS)
    assert keeper.sweep() == 1


def test_who_makes_a_link_clears_away_some_old_ones(scene, keeper):
    for number in range(SWEPT + 5):
        begin(keeper, number)
    scene.advance(PENDING_SECONDS)
    begin(keeper, 1000)
    assert len(scene.store.names(names.PENDING, "", 1000)) == 6


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_that_are_none_are_refused(keeper):
    for name in ("", "acme", "acme/", "/x", "acme/a b", "acme/\n", "acme/" + "x" * 200, "connection/acme/alice"):
        with pytest.raises(InvalidInput):
            keeper.token(name)


def test_repr_shows_the_store_and_no_token(scene, keeper):
    keeper.token("acme/alice")
    assert "access-1" not in repr(keeper)
    assert repr(keeper).startswith("<Keeper on ")


def test_a_damaged_record_is_called_damaged(scene, keeper):
    entry = scene.store.load(RECORD)
    scene.store.swap(RECORD, entry.version, Entry("active", entry.box[:-1] + bytes((entry.box[-1] ^ 1,))))
    with pytest.raises(ValetkeyError) as caught:
        keeper.token("acme/alice")
    assert caught.value.code == "vault_damaged"


@pytest.mark.network
def test_one_damaged_record_hides_no_other_and_can_be_removed(sandbox_vault):
    vault, sandbox = sandbox_vault
    connect(vault, sandbox, "sb/bob")
    store = vault._world.store
    entry = store.load("connection/sb/alice")
    assert store.swap("connection/sb/alice", entry.version, Entry(entry.state, entry.box[:-1] + b"x", entry.due_at))
    shown = {info.name: info for info in vault.connections()}
    assert {name: info.state for name, info in shown.items()} == {"sb/alice": "damaged", "sb/bob": "active"}
    assert shown["sb/alice"].to_dict()["trouble"]["code"] == "vault_damaged"
    with pytest.raises(VaultDamaged):
        vault.disconnect("sb/alice")
    assert vault.disconnect("sb/alice", force=True) == "failed"
    assert [info.name for info in vault.connections()] == ["sb/bob"]


def test_a_first_consent_that_was_spilled_comes_home_when_it_is_asked_for(tmp_path, desk):
    """The store was down when a person consented; the process lives on, and the store is up again."""
    store = MemoryStore()
    spills = SpillFolder(tmp_path / "spill")
    world = VaultWorld(store=store, transport=lambda: None, spills=spills, audit=a_recorder(store), clock=lambda: START)
    keeper = Keeper(desk, world)
    keeper.add_app(an_app())
    spills.put(RECORD, desk.seal_connection(a_connection(), T0))
    assert keeper.token("acme/alice").reveal() == "access-1"
    assert store.load(RECORD) is not None
    with pytest.raises(NotFound):
        keeper.token("acme/nobody")
