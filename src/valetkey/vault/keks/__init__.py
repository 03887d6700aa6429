"""Ways to come by a vault's key other than a file beside it; each ends in 32 bytes that wrap the keyring."""
