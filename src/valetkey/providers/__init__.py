"""How the world's authorization servers behave: one TOML file per provider, one schema, one loader."""
