"""The KV secrets engine, version 2: versions, check-and-set, metadata, delete, undelete, destroy, list.

Written from https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2; where that is silent (what `cas` means for
a deleted secret: its current version still counts), from the behaviour of hashicorp/vault-plugin-secrets-kv.
"""

from __future__ import annotations

from hashicorp.server import Engine, Refusal

DEFAULT_VERSIONS = 10


class Key:
    """Be a secret: its versions by number, and its metadata."""

    def __init__(self, created):
        self.versions = {}
        self.current = 0
        self.created = created
        self.updated = created
        self.settings = {
            "max_versions": 0,
            "cas_required": False,
            "delete_version_after": "0s",
            "custom_metadata": None,
        }


class KvV2(Engine):
    kind = "kv"
    version = "2"

    def __init__(self):
        self.keys = {}
        self.config = {"max_versions": 0, "cas_required": False, "delete_version_after": "0s"}

    def answer(self, call, path):
        verb, _, key = path.partition("/")
        if verb == "config":
            return self._config(call)
        table = {
            ("data", "GET"): self._read,
            ("data", "POST"): self._write,
            ("data", "PUT"): self._write,
            ("data", "DELETE"): self._delete_latest,
            ("delete", "POST"): self._delete,
            ("delete", "PUT"): self._delete,
            ("undelete", "POST"): self._undelete,
            ("undelete", "PUT"): self._undelete,
            ("destroy", "POST"): self._destroy,
            ("destroy", "PUT"): self._destroy,
            ("metadata", "LIST"): self._list,
            ("metadata", "GET"): self._metadata,
            ("metadata", "POST"): self._set_metadata,
            ("metadata", "PUT"): self._set_metadata,
            ("metadata", "DELETE"): self._forget,
        }
        handler = table.get((verb, call.method))
        if handler is None:
            raise Refusal(405 if verb in {row[0] for row in table} else 404, "unsupported operation")
        return handler(call, key)

    def _config(self, call):
        if call.method == "GET":
            return dict(self.config)
        self.config.update({name: value for name, value in call.body.items() if name in self.config})
        return None

    # ── versions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, call, path):
        key = self.keys.get(path)
        number = int(call.query.get("version", 0)) or (key.current if key else 0)
        version = key.versions.get(number) if key else None
        if version is None:
            raise Refusal(404)
        told = {"data": version["data"], "metadata": self._told(key, number)}
        if version["destroyed"] or version["deletion_time"]:
            body = {"request_id": "0", "data": {**told, "data": None}, "warnings": None, "auth": None}
            raise Refusal(404, body=body)
        return told

    def _told(self, key, number):
        version = key.versions[number]
        told = {name: version[name] for name in ("created_time", "deletion_time", "destroyed")}
        return {**told, "custom_metadata": key.settings["custom_metadata"], "version": number}

    def _write(self, call, path):
        if not path or path.endswith("/"):
            raise Refusal(404, "unsupported path")
        if not isinstance(call.body.get("data"), dict):
            raise Refusal(400, "no data provided")
        key = self.keys.get(path) or Key(call.server.stamp())
        cas = (call.body.get("options") or {}).get("cas")
        if cas is not None and int(cas) != key.current:
            raise Refusal(400, "check-and-set parameter did not match the current version")
        if cas is None and (self.config["cas_required"] or key.settings["cas_required"]):
            raise Refusal(400, "check-and-set parameter required for this call")
        self.keys[path] = key
        key.current += 1
        key.updated = call.server.stamp()
        made = {"data": call.body["data"], "created_time": key.updated, "deletion_time": "", "destroyed": False}
        key.versions[key.current] = made
        most = key.settings["max_versions"] or self.config["max_versions"] or DEFAULT_VERSIONS
        for number in [number for number in key.versions if number <= key.current - most]:
            del key.versions[number]
        return self._told(key, key.current)

    def _delete_latest(self, call, path):
        key = self.keys.get(path)
        if key is not None:
            self._mark(call, key, [key.current])

    def _delete(self, call, path):
        key = self.keys.get(path)
        if not call.body.get("versions"):
            raise Refusal(400, "No version number provided")
        if key is not None:
            self._mark(call, key, call.body["versions"])

    def _mark(self, call, key, numbers):
        for number in numbers:
            version = key.versions.get(int(number))
            if version is not None and not version["deletion_time"] and not version["destroyed"]:
                version["deletion_time"] = call.server.stamp()

    def _undelete(self, call, path):
        key = self.keys.get(path)
        for number in call.body.get("versions", []):
            version = key.versions.get(int(number)) if key else None
            if version is not None and not version["destroyed"]:
                version["deletion_time"] = ""

    def _destroy(self, call, path):
        key = self.keys.get(path)
        for number in call.body.get("versions", []):
            version = key.versions.get(int(number)) if key else None
            if version is not None:
                version.update(destroyed=True, data=None)

    # ── metadata ─────────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, _call, path):
        folder = f"{path.strip('/')}/" if path.strip("/") else ""
        found = set()
        for name in self.keys:
            if name.startswith(folder):
                head, slash, _ = name.removeprefix(folder).partition("/")
                found.add(head + slash)
        if not found:
            raise Refusal(404)
        return {"keys": sorted(found, key=lambda text: text.encode())}

    def _metadata(self, _call, path):
        key = self.keys.get(path)
        if key is None:
            raise Refusal(404)
        shown = ("created_time", "deletion_time", "destroyed")
        versions = {str(number): {name: one[name] for name in shown} for number, one in key.versions.items()}
        told = {"current_version": key.current, "oldest_version": min(key.versions, default=0), "versions": versions}
        return {**key.settings, **told, "created_time": key.created, "updated_time": key.updated}

    def _set_metadata(self, call, path):
        key = self.keys.setdefault(path, Key(call.server.stamp()))
        key.settings.update({name: value for name, value in call.body.items() if name in key.settings})

    def _forget(self, _call, path):
        self.keys.pop(path, None)
