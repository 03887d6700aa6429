"""Many threads at once: on first use, and on one full memory. In a process of its own, so that the first use is the first."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from valetkey.errors import TokenRefused
from valetkey.jose import Key, KeySet, Policy, sign, verify

NOW = 1_790_000_000
THREADS = 16

FIRST_USE = """
import sys, threading
sys.setswitchinterval(1e-6)
from valetkey.jose import Key, KeySet, Policy, explain, sign, verify
key = Key.generate("ES256")
keys, policy = KeySet([key.public()]), Policy(issuer="i", audience="a")
start, done = threading.Barrier(16), []
def work(number):
    start.wait()
    token = sign(key, now=1790000000, jti=str(number), issuer="i", audience="a", subject="s", claims={"n": {"l": [1]}})
    assert verify(token, keys, policy, now=1790000000).token_id == str(number)
    assert explain(token, policy, keys, now=1790000000).ok
    KeySet.from_jwks(keys.to_jwks())
    done.append(number)
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(done) == list(range(16)))
"""


def test_the_first_use_may_come_from_sixteen_threads_at_once():
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "True", "")


@pytest.fixture
def hasty():
    """Let threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_on_one_full_memory_get_their_own_claims_and_keep_it_bounded():
    key = Key.secret(bytes(range(64)))
    policy, old = Policy(issuer="i", audience="a", cache=8), KeySet([key])
    other = KeySet([Key.secret(bytes(range(1, 65)))])
    tokens = {str(n): sign(key, now=NOW, jti=str(n), issuer="i", audience="a") for n in range(40)}
    start = Barrier(THREADS)

    def work(number):
        start.wait()
        for jti, token in list(tokens.items()) * 5:
            assert verify(token, old, policy, now=NOW).token_id == jti
            if number % 2:
                # Other keys have another generation: what was verified with the first set never counts for them.
                with pytest.raises(TokenRefused):
                    verify(token, other, policy, now=NOW)
        return len(policy.memory)

    with ThreadPoolExecutor(THREADS) as pool:
        sizes = list(pool.map(work, range(THREADS)))
    assert max(sizes) <= 8 + THREADS  # each thread may put one more between the look and the swap
