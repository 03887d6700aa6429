"""The sandbox provider: a real authorization server and a protected API on loopback.

    from valetkey.testing import Sandbox

    with Sandbox(manner="rotating", access_lifetime=2.0) as sandbox:
        sandbox.url, sandbox.clients["sandbox-web"], sandbox.provider()
        answer = sandbox.login(url)          # a person logs in and allows; `url` is your authorization request
        sandbox.expire_access_tokens()
        sandbox.drop_next_answer()           # the next refresh is obeyed, and its answer lost
        sandbox.count("refresh_token"), sandbox.grant_alive("alice")

It needs nothing but the core of valetkey. It is for loopback: it lets every name and password in.
"""

from valetkey.testing.clients import SandboxClient
from valetkey.testing.desk import Asking
from valetkey.testing.manner import MANNERS, Manner
from valetkey.testing.sandbox import Sandbox

__all__ = ["MANNERS", "Asking", "Manner", "Sandbox", "SandboxClient"]
