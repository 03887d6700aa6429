"""The sandbox provider: a real authorization server on loopback."""
