"""How the world's authorization servers behave: one TOML file per provider, one schema, one loader."""

from __future__ import annotations

from valetkey.providers.loader import filled, keys, load, near, overridden, read
from valetkey.providers.schema import Provider

__all__ = ["Provider", "filled", "keys", "load", "near", "overridden", "read"]
