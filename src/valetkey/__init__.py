"""The auth layer for automations."""
