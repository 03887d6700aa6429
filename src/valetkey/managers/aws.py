"""AWS: clients of its services with time-outs, and every failure as one of our errors.

Credentials, region and endpoints are found as by AWS's own tools (environment, ~/.aws, roles of machines and pods).
The library boto3 is an extra, imported late. What may not be here: which service is asked for what (awssecrets.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from valetkey.errors import Fact, InvalidInput, ValetkeyError
from valetkey.installing import to_add
from valetkey.managers.failures import refused, unavailable
from valetkey.managers.quiet import asking, hush
from valetkey.values import secure_url

T = TypeVar("T")

Service = Literal["secretsmanager", "kms"]

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
ATTEMPTS: Final = 2
"""Of boto's own: what fails twice is weather, which the schedule tries again later and with growing pauses."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Be which region, profile and endpoint are asked; what is empty is found as by AWS's own tools."""

    region: str = ""
    profile: str = ""
    endpoint: str = ""


class Aws:
    """Ask services of AWS. Thread-safe; a client is made at the first question to its service."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    def ask(self, service: Service, work: Callable[[Any], T], doing: str, *, region: str = "") -> T:
        """Let `work` ask through a client of a service; `doing` names it in errors ("read the secret google").

        Raises ManagerRefused, ManagerUnavailable or InvalidInput.
        """
        outcome = self._tried(service, work, doing, region)
        if isinstance(outcome, _Failed):
            raise outcome.error
        return outcome

    def _tried(self, service: Service, work: Callable[[Any], T], doing: str, region: str) -> T | _Failed:
        """Do the work; return what hindered it as a value, so that no frame of a library hangs on the error."""
        try:
            with asking():
                return work(self._client(service, region or self.settings.region))
        except ValetkeyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a library raises may hold what was sent
            return _Failed(_explained(error, doing))

    def _client(self, service: Service, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._made(service, region)
            return self._clients[service, region]

    def _made(self, service: Service, region: str) -> Any:
        try:
            import boto3  # late: an extra, and costs to import
            from botocore.config import Config
        except ImportError:
            raise InvalidInput("AWS needs the library boto3, which is not installed", fix=to_add("aws")) from None
        retries: Any = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        hush()
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
        session = boto3.session.Session(region_name=region or None, profile_name=self.settings.profile or None)
        made: Any = session.client(service, endpoint_url=self.settings.endpoint or None, config=config)
        hush()  # again, for those that came with the client
        secure_url(made.meta.endpoint_url, f"endpoint of AWS {service}")
        return made

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.region or '(region as usual)'}>"


@dataclass(frozen=True, slots=True)
class _Failed:
    error: ValetkeyError


DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
MISSING: Final = frozenset({"ResourceNotFoundException", "NotFoundException"})
PASSING: Final = frozenset(
    {"InternalServiceError", "InternalFailure", "KMSInternalException", "KeyUnavailableException", "ServiceUnavailable"}
    | {"DependencyTimeoutException", "RequestTimeout", "RequestTimeoutException"}
)
"""Codes of AWS's errors: common ones, those of Secrets Manager, and those of KMS."""


def _explained(error: Exception, doing: str) -> ValetkeyError:
    """Return boto's error as ours; of its own words only the code, which is one of a fixed list."""
    from botocore import exceptions as boto

    facts: dict[str, Fact] = {"reason": type(error).__name__}
    if isinstance(error, boto.ClientError):
        answer: Any = error.response
        code = str(answer.get("Error", {}).get("Code", ""))[:80]
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return _answered(code, status, doing, facts | {"aws_code": code, "status": status})
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return refused(
            f"no AWS credentials were found: could not {doing}",
            facts,
            cause="neither the environment, nor ~/.aws, nor a role of this machine gives any",
            fix="give this process a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    for kind, (said, fix) in {
        boto.NoRegionError: ("no AWS region is known", "set AWS_REGION, or name the secret by its ARN"),
        boto.ProfileNotFound: ("AWS_PROFILE names a profile that is not there", "see ~/.aws/config"),
        boto.ParamValidationError: ("AWS takes no such name", "check the name"),
    }.items():
        if isinstance(error, kind):
            return InvalidInput(f"{said}: could not {doing}", fix=fix)
    if isinstance(error, boto.BotoCoreError):
        late = isinstance(error, boto.ConnectTimeoutError | boto.ReadTimeoutError)
        said = "gave no answer in time" if late else "could not be reached"
        return unavailable(f"AWS {said}: could not {doing}", facts)
    return refused(f"the answer of AWS cannot be read: could not {doing}", facts)


def _answered(code: str, status: int, doing: str, facts: dict[str, Fact]) -> ValetkeyError:
    if code in THROTTLED or status == 429:
        message = f"AWS says that we ask too often: could not {doing}"
        return unavailable(message, facts, code="manager_throttled", cause=f"a quota of the account ({code})")
    if code in MISSING:
        message = f"AWS has nothing of that name: could not {doing}"
        cause = "the name is misspelt, or the secret is in another region or account, or has no version of that stage"
        return refused(message, facts, code="manager_secret_missing", cause=cause)
    if code in DENIED or status in {401, 403}:
        fix = "let the role or user do it (IAM policy, and the policy of the KMS key behind it)"
        return refused(f"AWS does not allow it ({code}): could not {doing}", facts, fix=fix)
    if code in PASSING or status >= 500:
        return unavailable(f"AWS failed ({code}): could not {doing}", facts)
    return refused(f"AWS refuses the request ({code}): could not {doing}", facts)
