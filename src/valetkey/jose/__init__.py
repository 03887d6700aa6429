"""JSON Web Signatures and Tokens, pure: keys, sign, verify (RFC 7515, 7517, 7518, 7519, 8037, 8725, 9068, 9864)."""

from valetkey.jose.claims import Claims
from valetkey.jose.explaining import Check, Explanation, explain
from valetkey.jose.key import Key
from valetkey.jose.keyset import KeySet
from valetkey.jose.policy import Policy
from valetkey.jose.remote import RemoteKeys, verified
from valetkey.jose.replay import Replays
from valetkey.jose.signing import sign, sign_bytes
from valetkey.jose.verifying import claimed_issuer, verify, verify_bytes

__all__ = [
    "Check",
    "Claims",
    "Explanation",
    "Key",
    "KeySet",
    "Policy",
    "RemoteKeys",
    "Replays",
    "claimed_issuer",
    "explain",
    "sign",
    "sign_bytes",
    "verified",
    "verify",
    "verify_bytes",
]
