"""What an app proves itself with, taken out of it and put into it. Pure.

What may not be here: plans (rotation.py), and how a proof is sent (oauth/authentication.py).
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from valetkey.errors import ClientRefused, InvalidInput, ProviderError
from valetkey.providers.schema import Provider, TokenAuth
from valetkey.vault.records import App
from valetkey.vault.staged import Proof, Role, Staged, Tried


def proof_of(app: App) -> Proof:
    """Return what an app proves itself with now."""
    return Proof(
        secret=app.secret,
        secret_ref=app.secret_ref,
        private_key=app.private_key,
        private_key_ref=app.private_key_ref,
        key_alg=app.key_alg,
        key_id=app.key_id,
        method=app.token_auth or "",
        since=app.secret_since or app.created_at,
        expires_at=app.secret_expires_at,
    )


def with_proof(app: App, proof: Proof) -> App:
    """Return an app that proves itself with another proof, and is the same in everything else."""
    return msgspec.structs.replace(
        app,
        secret=proof.secret,
        secret_ref=proof.secret_ref,
        private_key=proof.private_key,
        private_key_ref=proof.private_key_ref,
        key_alg=proof.key_alg,
        key_id=proof.key_id,
        token_auth=cast("TokenAuth", proof.method) if proof.method else None,
        secret_since=proof.since,
        secret_expires_at=proof.expires_at,
    )


def turned(app: App, *, refused: Tried | None = None) -> App:
    """Return an app with its two proofs in each other's place; `refused` is what the one that goes met with.

    The next becomes the one in use, and that the previous; back again, the other way round.
    """
    staged = app.staged
    if staged is None:
        return app
    role: Role = "previous" if staged.role == "next" else "next"
    other = Staged(proof=proof_of(app), role=role, tried=refused)
    return msgspec.structs.replace(with_proof(app, staged.proof), staged=other)


def changed(app: App, given: Proof, provider: Provider) -> Proof:
    """Return the whole proof of an app in which only what is given is another; raises InvalidInput.

    Where a key comes to an app that had a secret, or the other way round, the method changes with it.
    """
    whole = proof_of(app)
    by_secret = given.secret is not None or bool(given.secret_ref)
    by_key = given.private_key is not None or bool(given.private_key_ref)
    if by_secret is by_key:
        raise InvalidInput(
            "one thing is staged at a time", fix="give a secret, a private key, or a reference to one of them"
        )
    usual = whole.method or provider.asking.token_auth
    method = whole.method
    if by_secret and usual in {"private_key_jwt", "none"} and whole.secret is None and not whole.secret_ref:
        method = _by_secret(provider)
    if by_key and whole.private_key is None and not whole.private_key_ref:
        method = "private_key_jwt"
    named = {"method": given.method or method, "since": given.since, "expires_at": given.expires_at}
    if by_secret:
        return msgspec.structs.replace(whole, secret=given.secret, secret_ref=given.secret_ref, **named)
    key = {"private_key": given.private_key, "private_key_ref": given.private_key_ref}
    return msgspec.structs.replace(whole, **key, key_alg=given.key_alg, key_id=given.key_id, **named)


def _by_secret(provider: Provider) -> str:
    usual = provider.asking.token_auth
    return "client_secret_basic" if usual in {"private_key_jwt", "none"} else ""


def other_app(app: App, refusal: ClientRefused, moment: float) -> App | None:
    """Return an app as it proves itself with its other proof, where a refusal of this one lets that be tried.

    Only where the provider itself said invalid_client: then it looked at the client and not at the grant (RFC 6749
    section 5.2). A bare 401 may have come from anywhere, also from behind the point where a refresh token is spent.
    """
    staged = app.staged
    if staged is None or staged.proof.over(moment) or not plainly_refused(refusal):
        return None
    return with_other(app, staged)


def with_other(app: App, staged: Staged) -> App:
    """Return an app that proves itself with what was staged, and has nothing beside it; it is not to be stored."""
    return msgspec.structs.replace(with_proof(app, staged.proof), staged=None)


def plainly_refused(refusal: ClientRefused) -> bool:
    """Say whether the provider said in a whole answer that the client is refused."""
    return refusal.code == "invalid_client" and not refusal.evidence.get("inferred", False)


def both_refused(app: App, refusal: ClientRefused) -> ClientRefused:
    """Return the refusal of both proofs of an app."""
    which = "staged" if app.staged is None or app.staged.role == "next" else "previous"
    return ClientRefused(
        f"{refusal.message}; it takes neither the secret in use nor the {which} one",
        cause="both have ended or are wrong, or the client itself was removed at the provider",
        fix=f"make a new secret in the provider's console, `valetkey app secret forget {app.name}`, then stage it",
        **_evidence(refusal),
    )


def trial_refused(app: App, name: str, refusal: ProviderError) -> ProviderError:
    """Return the refusal of a staged proof on trial; what says nothing of the proof is given as it is."""
    if not isinstance(refusal, ClientRefused):
        return refusal
    return ClientRefused(
        f"{refusal.message}; the staged secret of {app.name} is refused, and {name} goes on with the one in use",
        cause="the staged secret is wrong, is of another client, or is not known yet at every server of the provider",
        fix="wait a few minutes and try again; or compare it with the provider's console: "
        f"`valetkey app secret forget {app.name}`, then stage it again",
        **_evidence(refusal),
    )


def _evidence(refusal: ClientRefused) -> dict[str, Any]:
    return dict(refusal.evidence)
