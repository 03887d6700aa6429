"""The server: callback, health."""
