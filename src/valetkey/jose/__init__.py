"""JSON Web Signatures and Tokens, pure: keys, sign, verify."""
