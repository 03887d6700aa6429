"""The server: HTTP, tokens, policies, namespaces, sealing. What the mounts do stands in a file for each engine.

What may not be here: what a secrets engine or login method answers.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

CAPABILITY = {"GET": "read", "LIST": "list", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Refusal(Exception):  # named by what it is, as the project's errors are
    """Be an answer other than success: a status, and the errors in the shape the API documents."""

    def __init__(self, status, *errors, body=None):
        super().__init__(status, errors)
        self.status = status
        self.body = {"errors": list(errors)} if body is None else body


@dataclass
class Call:
    """Be one request, after its token was looked at."""

    method: str
    path: str
    query: dict
    body: dict
    token: Token | None
    namespace: str
    server: VaultServer


@dataclass
class Token:
    """Be a token: who it belongs to, what it may do, until when it lives (0: for ever)."""

    value: str
    policies: list
    ttl: float = 0.0
    renewable: bool = False
    created: float = 0.0
    ends: float = 0.0
    accessor: str = field(default_factory=lambda: uuid.uuid4().hex)


class Engine:
    """Answer what is asked below a mount; `kind` and `version` are told to who asks about mounts."""

    kind = ""
    version = ""

    def answer(self, call, path):
        """Return a dict (200 with data), None (204), or raise Refusal; `path` is below the mount."""
        raise NotImplementedError


class VaultServer:
    """Serve on a free port of loopback: `with VaultServer() as vault: … vault.address, vault.root`.

    `advance(seconds)` moves its clock, `seal()` seals it, `fail_next(status)` lets requests fail, and `seen` holds
    what was asked for.
    """

    def __init__(self):
        from hashicorp.auth import AppRole, Kubernetes
        from hashicorp.kv import KvV2

        self.root = "hvs.root-" + uuid.uuid4().hex
        self.tokens = {self.root: Token(self.root, ["root"])}
        self.policies = {}
        self.mounts = {("", "kv/"): KvV2(), ("", "secret/"): KvV2(), ("team", "kv/"): KvV2()}
        self.logins = {"approle/": AppRole(self), "kubernetes/": Kubernetes(self)}
        self.sealed = False
        self.seen = []
        self.failing = []
        self.skew = 0.0
        self.lock = threading.RLock()
        self._mount_more()

    def _mount_more(self):
        with suppress(ImportError):
            from hashicorp.transit import Transit

            self.mounts["", "transit/"] = Transit()

    # ── what tests do to it ──────────────────────────────────────────────────────────────────────────────────

    def now(self):
        return time.time() + self.skew

    def stamp(self, seconds=None):
        moment = datetime.fromtimestamp(self.now() if seconds is None else seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

    def advance(self, seconds):
        self.skew += seconds

    def fail_next(self, status, times=1, *, body=None, headers=None):
        self.failing += [(status, body, headers or {})] * times

    def policy(self, name, rules):
        """Let tokens with this policy do `rules`: {"kv/data/google": {"read"}, "kv/metadata/*": {"list"}}."""
        self.policies[name] = rules

    def token(self, *policies, ttl=0.0, renewable=True):
        made = Token("hvs." + uuid.uuid4().hex, list(policies), ttl, renewable and ttl > 0, self.now())
        made.ends = made.created + ttl if ttl else 0.0
        self.tokens[made.value] = made
        return made

    def revoke(self, value):
        self.tokens.pop(value, None)

    def auth(self, token):
        return {
            "client_token": token.value,
            "accessor": token.accessor,
            "policies": token.policies,
            "token_policies": token.policies,
            "metadata": None,
            "lease_duration": int(token.ttl),
            "renewable": token.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": True,
            "mfa_requirement": None,
            "num_uses": 0,
        }

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, method, target, headers, raw):
        parts = urlsplit(target)
        path = unquote(parts.path).removeprefix("/v1/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if method == "GET" and query.get("list") == "true":
            method = "LIST"
        with self.lock:
            self.seen.append((method, path))
            if self.failing:
                status, body, more = self.failing.pop(0)
                return status, {"errors": ["internal error"]} if body is None else body, more
            try:
                return (*self._answered(method, path, query, headers, raw), {})
            except Refusal as refusal:
                return refusal.status, refusal.body, {}

    def _answered(self, method, path, query, headers, raw):
        if path == "sys/health":
            return (503 if self.sealed else 200), {"initialized": True, "sealed": self.sealed, "standby": False}
        if self.sealed:
            raise Refusal(503, "Vault is sealed")
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            raise Refusal(400, "failed to parse JSON input: invalid character") from None
        namespace = headers.get("X-Vault-Namespace", "").strip("/")
        token = self._alive(headers.get("X-Vault-Token", ""))
        call = Call(method, path, query, body, token, namespace, self)
        if path.startswith("auth/") and not path.startswith("auth/token/"):
            return 200, self._envelope(auth=self._login(call))
        if token is None:
            raise Refusal(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
        if path.startswith("auth/token/"):
            return self._of_token(call)
        if path.startswith("sys/internal/ui/mounts/"):
            return 200, self._envelope(self._mount_told(call, path.removeprefix("sys/internal/ui/mounts/")))
        self._allow(call)
        mount, engine = self._engine(namespace, path)
        found = engine.answer(call, path.removeprefix(mount))
        return (204, None) if found is None else (200, self._envelope(found))

    def _alive(self, value):
        token = self.tokens.get(value)
        if token is not None and token.ends and self.now() >= token.ends:
            del self.tokens[value]
            return None
        return token

    def _allow(self, call):
        if "root" in call.token.policies or self._may(call.token, call.path, CAPABILITY.get(call.method, "")):
            return
        raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    def _may(self, token, path, wanted):
        for policy in token.policies:
            for pattern, capabilities in self.policies.get(policy, {}).items():
                if fnmatchcase(path, pattern) and (not wanted or wanted in capabilities):
                    return True
        return False

    def _engine(self, namespace, path):
        for (space, mount), engine in self.mounts.items():
            if space == namespace and path.startswith(mount):
                return mount, engine
        raise Refusal(404, f'no handler for route "{path}". route entry not found.')

    def _mount_told(self, call, path):
        """Answer the look-up that Vault's own command line makes before it reads a KV secret."""
        try:
            mount, engine = self._engine(call.namespace, path.rstrip("/") + "/")
        except Refusal:
            raise Refusal(
                403, "preflight capability check returned 403, please ensure client's policies grant access to path"
            ) from None
        root = "root" in call.token.policies
        if not root and not any(p.startswith(mount) for q in call.token.policies for p in self.policies.get(q, {})):
            raise Refusal(
                403, "preflight capability check returned 403, please ensure client's policies grant access to path"
            )
        return {"path": mount, "type": engine.kind, "options": {"version": engine.version}}

    def _login(self, call):
        for mount, method in self.logins.items():
            if call.path == f"auth/{mount}login" and call.method in {"POST", "PUT"}:
                return self.auth(method.login(call.body))
        raise Refusal(404, f'no handler for route "{call.path}". route entry not found.')

    def _of_token(self, call):
        token, what = call.token, call.path.removeprefix("auth/token/")
        if what == "lookup-self" and call.method == "GET":
            ttl = int(token.ends - self.now()) if token.ends else 0
            told = {"id": token.value, "accessor": token.accessor, "policies": token.policies, "ttl": ttl}
            return 200, self._envelope({**told, "renewable": token.renewable, "creation_ttl": int(token.ttl)})
        if what == "renew-self" and call.method in {"POST", "PUT"}:
            if not token.renewable:
                raise Refusal(400, "lease is not renewable")
            token.ends = self.now() + token.ttl
            return 200, self._envelope(auth=self.auth(token))
        if what == "revoke-self":
            self.revoke(token.value)
            return 204, None
        if what == "create" and "root" in token.policies:
            made = self.token(*call.body.get("policies", ["root"]), ttl=float(call.body.get("ttl", 0)))
            return 200, self._envelope(auth=self.auth(made))
        raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    @staticmethod
    def _envelope(data=None, auth=None):
        shell = {"request_id": str(uuid.uuid4()), "lease_id": "", "renewable": False, "lease_duration": 0}
        return {**shell, "data": data, "wrap_info": None, "warnings": None, "auth": auth}

    # ── serving ──────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet for an answer; in two, the second waits for the first one's acknowledgement

            def _any(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, body, more = server.answer(self.command, self.path, self.headers, raw)
                told = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode() + b"\n"
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Cache-Control": "no-store", **more}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
