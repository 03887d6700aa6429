"""Secret managers, as clients of them: HashiCorp Vault (OpenBao) and AWS, and secrets that are named by a reference."""
