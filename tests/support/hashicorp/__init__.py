"""A small server that speaks as HashiCorp Vault does, because no binary of the real one can be had here.

Written from the HTTP API's public documentation and, for KV v2, from what the real plugin's public source does. The
tests that use it run against a real server too, when TEST_VAULT_ADDR and TEST_VAULT_TOKEN are set (realvault.py).
What may not be here: imports of valetkey. A server that shares code with the client agrees with its mistakes.
"""

from hashicorp.server import Engine, Refusal, VaultServer

__all__ = ["Engine", "Refusal", "VaultServer"]
