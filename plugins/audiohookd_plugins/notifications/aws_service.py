"""A client of one AWS service, and the meaning of its errors. For worker threads."""

import re
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from audiohookd.escaping import loggable
from audiohookd.interfaces import Unavailable
from audiohookd_plugins.aws import Access
from audiohookd_plugins.notifications.notifier import CONNECT_TIMEOUT, NotificationRejected, delay

#: Characters of a service's error text that are shown.
SHOWN = 300

#: Error codes that concern all notifications alike: throttling, authentication, permissions, a missing target, and
#: errors of the service.
_FOR_ALL = re.compile(
    r"throttl|toomany|limitexceeded|overlimit|slowdown|accessdenied|authoriz|expired|signature|token|accesskey"
    r"|unrecognizedclient|optin|notfound|nonexistent|doesnotexist|kms|internal|unavailable|timeout",
    re.IGNORECASE,
)
#: Error codes and names of exceptions that new credentials may resolve.
_CREDENTIALS = re.compile(r"credential|token|expired|signature|accesskey|unrecognizedclient", re.IGNORECASE)


class AwsService:
    """One AWS service at one endpoint. Create it at start.

    :param timeout: seconds to wait for a response.
    :param connections: how many are kept open.
    """

    def __init__(self, name: str, region: str, endpoint_url: str | None, timeout: float, connections: int) -> None:
        config = Config(
            connect_timeout=min(CONNECT_TIMEOUT, timeout),
            read_timeout=timeout,
            max_pool_connections=connections,
            # The delivery service retries, with its own backoff.
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        self._access = Access(name, region, endpoint_url, config)

    def call(self, operation: str, parameters: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Calls the service, and returns its response.

        :param operation: a method of boto3's client.
        :param now: seconds since the epoch.
        :raises Unavailable: the service is unreachable, or accepts no request at the moment.
        :raises NotificationRejected: the service rejects this request.
        """
        try:
            answer: Mapping[str, Any] = getattr(self._access.client(), operation)(**parameters)
        except (ClientError, BotoCoreError) as error:
            if _CREDENTIALS.search(_code(error)):
                self._access.forget()
            raise _meaning(error, now) from error
        return answer


def default_region() -> str | None:
    """The region in the environment or in AWS's own configuration. Blocks: for start-up only.

    :raises ValueError: that configuration is invalid.
    """
    try:
        region: str | None = boto3.session.Session().region_name
    except BotoCoreError as error:
        raise ValueError(str(error)) from error
    return region


def failure(code: str, text: str, status: int = 0, retry_after: float | None = None) -> Exception:
    """The exception for an error of the service, with a text of one line."""
    line = loggable(" ".join(f"{code}: {text}".split()), SHOWN)
    if status in (401, 403, 408, 429) or status >= 500 or _FOR_ALL.search(code):
        return Unavailable(line, retry_after)
    return NotificationRejected(line)


def _meaning(error: ClientError | BotoCoreError, now: float) -> Exception:
    if isinstance(error, ParamValidationError):
        return NotificationRejected(str(error))
    if not isinstance(error, ClientError):
        return Unavailable(f"{type(error).__name__}: {error}")  # network, TLS, DNS, credentials
    about = error.response.get("ResponseMetadata", {})
    retry_after = about.get("HTTPHeaders", {}).get("retry-after")
    status = about.get("HTTPStatusCode", 0)
    return failure(_code(error), error.response.get("Error", {}).get("Message", ""), status, delay(retry_after, now))


def _code(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__
