"""Face: what `valetkey.open()` gives; the vault's keeper with the injectors as its methods."""
