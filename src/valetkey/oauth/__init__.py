"""The client's half of OAuth2, pure: ask a request, read an answer."""
