"""Two ways to log in: AppRole and Kubernetes. Errors and statuses as the real ones have them."""

from __future__ import annotations

import uuid

from hashicorp.server import Refusal


class AppRole:
    """Give tokens for a role id and a secret id; a secret id may be good for a number of logins only."""

    def __init__(self, server):
        self.server = server
        self.roles = {}

    def role(self, *policies, ttl=3600.0, uses=0):
        """Make a role; return its role id and a secret id."""
        role_id, secret_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.roles[role_id] = {"policies": policies, "ttl": ttl, "secrets": {secret_id: uses or float("inf")}}
        return role_id, secret_id

    def login(self, body):
        if not body.get("role_id"):
            raise Refusal(400, "missing role_id")
        role = self.roles.get(body["role_id"])
        left = role["secrets"].get(body.get("secret_id"), 0) if role else 0
        if not left:
            raise Refusal(400, "invalid role or secret ID")
        role["secrets"][body["secret_id"]] = left - 1
        return self.server.token(*role["policies"], ttl=role["ttl"])


class Kubernetes:
    """Give tokens for a role's name and a service account's token."""

    def __init__(self, server):
        self.server = server
        self.roles = {}

    def role(self, name, jwt, *policies, ttl=3600.0):
        self.roles[name] = {"jwt": jwt, "policies": policies, "ttl": ttl}

    def login(self, body):
        if not body.get("role") or not body.get("jwt"):
            raise Refusal(400, f"missing {'role' if not body.get('role') else 'jwt'}")
        role = self.roles.get(body["role"])
        if role is None:
            raise Refusal(400, f'invalid role name "{body["role"]}"')
        if body["jwt"] != role["jwt"]:
            raise Refusal(403, "permission denied")
        return self.server.token(*role["policies"], ttl=role["ttl"])
