"""What time does to a refresh: answers that come late, tokens that end meanwhile, renewals that overtake each other.

The cases were found by the simulation (tests/simulation); each stands here by itself, in its shortest form.
"""

from __future__ import annotations

import msgspec
import pytest

from valetkey.effects import Note, Send, Spill, Swap
from valetkey.errors import ProviderTimeout, StoreUnavailable
from valetkey.values import Secret
from valetkey.vault.judge import Demand
from valetkey.vault.records import Intent, Lease, TokenSet
from valetkey.vault.recover import recover
from valetkey.vault.renew import LEASE_SECONDS, obtain
from valetkey.vault.saving import keep
from valetkey.vault.spill import SpillFolder
from vaultkit import START, FakeWorld, a_connection, an_app, drive, held, put, tokens_answer

ANY = Demand()
RECORD = "connection/acme/alice"


def ready(desk, answers, **connection):
    """Return a world whose token has one second to live, and whose provider takes its time with each answer."""
    left = iter(answers)

    def provider(_request):
        seconds, answer = next(left)
        world.advance(seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = FakeWorld(provider)
    put(desk, world, an_app(), a_connection(**{"expires_in": 60.0, **connection}))
    world.advance(59)
    return world


def change(desk, world, **changes):
    entry = world.store.load(RECORD)
    changed = msgspec.structs.replace(held(desk, world), **changes)
    assert world.store.swap(RECORD, entry.version, desk.seal_connection(changed, world.now.timestamp()))


def test_a_lifetime_counts_from_the_asking_for_the_answer_may_take_its_time(desk):
    world = ready(desk, [(20, tokens_answer(expires_in=3600))])
    served = drive(obtain(desk, "acme/alice", ANY), world)
    assert served.token.expires_at.timestamp() == START.timestamp() + 59 + 3600


def test_a_token_that_ended_while_the_provider_was_asked_in_vain_is_not_handed_out(desk):
    world = ready(desk, [(30, ProviderTimeout("no answer", sent=True))])
    with pytest.raises(ProviderTimeout):
        drive(obtain(desk, "acme/alice", ANY), world)


def test_a_token_that_still_lives_is_handed_out_when_the_provider_was_asked_in_vain(desk):
    world = ready(desk, [(0.5, ProviderTimeout("no answer", sent=True))])
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-1"


def overtaken(desk, late, demand=ANY, **meanwhile):
    """Let a first refresh take longer than its lease; meanwhile the record changes. Return what is held in the end."""
    world = ready(desk, [(LEASE_SECONDS, late)])

    def overtake(question):
        if isinstance(question, Send):
            change(desk, world, lease=Lease("other", 0.0), **meanwhile)

    world.before = overtake
    drive(obtain(desk, "acme/alice", demand), world)
    return held(desk, world)


def tokens(access: str, refresh: str) -> TokenSet:
    moment = START.timestamp() + 100
    return TokenSet(access=Secret(access), obtained_at=moment, expires_at=moment + 3600, refresh=Secret(refresh))


def test_a_late_answer_does_not_replace_what_a_later_refresh_got_for_the_same_refresh_token(desk):
    after = overtaken(
        desk, tokens_answer(refresh=False), tokens=tokens("access-of-the-other", "refresh-1"), generation=2
    )
    assert after.tokens.access == Secret("access-of-the-other")


def test_a_late_answer_is_kept_where_the_refresh_token_it_replaces_is_still_held(desk):
    after = overtaken(desk, tokens_answer(), generation=2)
    assert after.tokens.refresh == Secret("refresh-2")
    assert after.generation == 3


def test_a_late_answer_for_one_token_does_not_undo_the_renewal_of_another(desk):
    after = overtaken(desk, tokens_answer(), parts={"user": tokens("user-2", "user-refresh-2")}, generation=2)
    assert after.tokens.refresh == Secret("refresh-2")
    assert after.parts["user"].refresh == Secret("user-refresh-2")


TARGET = "resource=https://other.test"


def test_a_late_answer_is_kept_though_another_targets_token_was_renewed_with_the_same_refresh_token(desk):
    other = {TARGET: tokens("other-2", "refresh-1")}
    after = overtaken(desk, tokens_answer(refresh=False), parts=other, generation=2, spent_for=TARGET)
    assert after.tokens.access == Secret("access-2")
    assert after.parts[TARGET].access == Secret("other-2")


def test_a_late_answer_for_a_target_does_not_undo_the_renewal_of_the_connections_own_token(desk):
    after = overtaken(
        desk,
        tokens_answer(refresh=False),
        demand=Demand(part=TARGET),
        tokens=tokens("access-of-the-other", "refresh-1"),
        generation=2,
    )
    assert after.tokens.access == Secret("access-of-the-other")
    assert after.parts[TARGET].access == Secret("access-2")


def test_the_refresh_token_that_came_late_for_a_target_is_kept_beside_the_token_of_others(desk):
    after = overtaken(
        desk,
        tokens_answer(),
        demand=Demand(part=TARGET),
        tokens=tokens("access-of-the-other", "refresh-1"),
        generation=2,
    )
    assert (after.tokens.access, after.tokens.refresh) == (Secret("access-of-the-other"), Secret("refresh-2"))


def test_what_others_changed_meanwhile_stays_changed(desk):
    after = overtaken(desk, tokens_answer(), hosts=("api.acme.test",))
    assert after.tokens.refresh == Secret("refresh-2")
    assert after.hosts == ("api.acme.test",)


def test_what_others_saved_meanwhile_is_looked_at_before_it_is_handed_out(desk):
    world = ready(desk, [(LEASE_SECONDS, tokens_answer()), (0, tokens_answer(4))])

    def reconnect(question):
        if isinstance(question, Send) and world.asked.count("Send") == 1:
            ended = msgspec.structs.replace(tokens("access-3", "refresh-3"), expires_at=START.timestamp() + 60)
            change(desk, world, tokens=ended, lease=None, intent=None)

    world.before = reconnect
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-4"


def test_a_lease_by_a_clock_that_is_ahead_keeps_nobody_waiting_longer_than_any_lease(desk):
    world = ready(desk, [(0, tokens_answer())])
    change(desk, world, lease=Lease("ahead", world.now.timestamp() + 7200))
    world.advance(1)
    began = world.now
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert LEASE_SECONDS <= (world.now - began).total_seconds() < LEASE_SECONDS + 1


def test_who_waited_for_a_refresh_that_was_spilled_brings_it_home_instead_of_spending_the_same_token_again(desk):
    world = ready(desk, [(0, tokens_answer())])

    def full(question):
        if isinstance(question, Swap) and "Send" in world.asked:
            raise StoreUnavailable("the disk is full")

    world.before = full
    drive(obtain(desk, "acme/alice", ANY), world)
    assert list(world.spilled) == [RECORD]
    world.before = lambda _: None
    world.advance(LEASE_SECONDS)
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert held(desk, world).tokens.refresh == Secret("refresh-2")
    assert world.asked.count("Send") == 1


def test_an_entry_that_is_of_no_use_any_more_does_not_keep_anybody_waiting(desk):
    doubt = Intent(attempt="a", fingerprint=Secret("refresh-1").fingerprint(), started_at=START.timestamp())
    world = ready(desk, [(0, tokens_answer())], intent=doubt, generation=7)
    world.spilled[RECORD] = desk.seal_connection(a_connection(generation=3), START.timestamp())
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"


def test_what_was_spilled_is_found_by_its_name(desk, tmp_path):
    folder = SpillFolder(tmp_path / "vault.spill")
    assert folder.get(RECORD) is None
    entry = desk.seal_connection(a_connection(), START.timestamp())
    folder.put(RECORD, entry)
    assert folder.get(RECORD).box == entry.box
    assert folder.get("connection/acme/bob") is None


def test_a_consent_whose_saving_was_delayed_does_not_replace_a_later_one(desk):
    world = ready(desk, [])
    moment = world.now.timestamp()
    change(desk, world, tokens=tokens("access-of-the-later", "refresh-of-the-later"), consented_at=moment)
    earlier = a_connection(consented_at=moment - 1)
    drive(keep(desk, 1, earlier, replaces=True), world)
    assert held(desk, world).tokens.access == Secret("access-of-the-later")


def test_a_spilled_consent_comes_home_though_the_older_grant_was_renewed_meanwhile(desk):
    world = ready(desk, [])
    change(desk, world, generation=5)
    kept = a_connection(refresh="refresh-of-a-new-consent", generation=2, consented_at=world.now.timestamp())
    assert drive(recover(desk, RECORD, desk.seal_connection(kept, world.now.timestamp())), world) is True
    assert held(desk, world).tokens.refresh == Secret("refresh-of-a-new-consent")


def test_a_spilled_token_comes_home_beside_another_that_was_renewed_meanwhile(desk):
    world = ready(desk, [])
    change(desk, world, parts={"user": tokens("user-2", "user-refresh-2")}, generation=5)
    spent = Secret("refresh-1").fingerprint()
    kept = a_connection(
        refresh="refresh-2", generation=2, spent=spent, parts={"user": tokens("user-1", "user-refresh-1")}
    )
    assert drive(recover(desk, RECORD, desk.seal_connection(kept, world.now.timestamp())), world) is True
    after = held(desk, world)
    assert after.tokens.refresh == Secret("refresh-2")
    assert after.parts["user"].refresh == Secret("user-refresh-2")


def test_a_consent_that_was_written_though_the_store_could_not_say_so_is_not_written_over_its_own_renewal(desk):
    world = ready(desk, [])
    moment = world.now.timestamp()
    change(desk, world, tokens=tokens("access-2", "refresh-2"), consented_at=moment, generation=2)
    drive(keep(desk, 1, a_connection(consented_at=moment), replaces=True), world)
    assert held(desk, world).tokens.refresh == Secret("refresh-2")


def test_a_request_that_could_be_answered_only_after_its_lease_is_not_sent(desk):
    world = ready(desk, [(0, tokens_answer())])
    slow = iter([20.0])

    def sleep_in_the_log(question):
        if isinstance(question, Note):
            world.advance(next(slow, 0.0))

    world.before = sleep_in_the_log
    assert drive(obtain(desk, "acme/alice", ANY), world).token.reveal() == "access-2"
    assert world.notes[0] == world.notes[1] == ("refresh.started", "unknown", ""), "it was claimed anew"
    assert world.asked.count("Sleep") == 0, "the first claim was given back"


def test_an_answer_that_a_slow_store_does_not_take_lies_beside_it_before_the_lease_lapses(desk):
    world = ready(desk, [(20.0, tokens_answer())])
    claimed, spilled_at = [], []

    def away(question):
        if isinstance(question, Swap) and claimed:
            world.advance(10)
            if len(claimed) < 4:
                claimed.append(world.now)
                raise StoreUnavailable("nobody answers there")
        elif isinstance(question, Swap):
            claimed.append(world.now)
        elif isinstance(question, Spill) and not spilled_at:
            spilled_at.append(world.now)

    world.before = away
    drive(obtain(desk, "acme/alice", ANY), world)
    world.before = lambda _: None
    assert (spilled_at[0] - claimed[0]).total_seconds() < LEASE_SECONDS
    assert held(desk, world).tokens.refresh == Secret("refresh-2"), "it was saved in the end"
    version = world.store.load(RECORD).version
    assert drive(recover(desk, RECORD, world.spilled[RECORD]), world), "and what lies beside it is of no use any more"
    assert world.store.load(RECORD).version == version
