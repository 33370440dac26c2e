"""A client of one of Amazon's services, and what its failures mean. For worker threads."""

import re
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from audiohookd.escaping import loggable
from audiohookd.interfaces import Unavailable
from audiohookd_plugins.aws import Access
from audiohookd_plugins.notices.notifier import CONNECT_TIMEOUT, Refused, delay

#: How much of what a service says goes into a message, in characters.
SHOWN = 300

#: Codes of what meets every notice alike: too many at a time, who we are, what we may, what is not there, and theirs.
_FOR_ALL = re.compile(
    r"throttl|toomany|limitexceeded|overlimit|slowdown|accessdenied|authoriz|expired|signature|token|accesskey"
    r"|unrecognizedclient|optin|notfound|nonexistent|doesnotexist|kms|internal|unavailable|timeout",
    re.IGNORECASE,
)
#: Codes, and names of exceptions, of what new credentials may cure.
_CREDENTIALS = re.compile(r"credential|token|expired|signature|accesskey|unrecognizedclient", re.IGNORECASE)


class Service:
    """One service at one place. To be made at start.

    :param timeout: seconds to wait for an answer.
    :param connections: how many are kept open.
    """

    def __init__(self, name: str, region: str, endpoint_url: str | None, timeout: float, connections: int) -> None:
        config = Config(
            connect_timeout=min(CONNECT_TIMEOUT, timeout),
            read_timeout=timeout,
            max_pool_connections=connections,
            # Whoever calls tries again, and knows better when.
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        self._access = Access(name, region, endpoint_url, config)

    def call(self, operation: str, parameters: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """What the service answers.

        :param operation: a method of boto3's client.
        :param now: seconds since the epoch.
        :raises Unavailable: it cannot be reached, or takes nothing from us at the moment.
        :raises Refused: it does not take this.
        """
        try:
            answer: Mapping[str, Any] = getattr(self._access.client(), operation)(**parameters)
        except (ClientError, BotoCoreError) as fault:
            if _CREDENTIALS.search(_code(fault)):
                self._access.forget()
            raise _meaning(fault, now) from fault
        return answer


def default_region() -> str | None:
    """The region that the environment, or AWS's own configuration, names. Blocks: for start-up only.

    :raises ValueError: that configuration is wrong.
    """
    try:
        region: str | None = boto3.session.Session().region_name
    except BotoCoreError as fault:
        raise ValueError(str(fault)) from fault
    return region


def failure(code: str, text: str, status: int = 0, retry_after: float | None = None) -> Exception:
    """What a service's error is to be raised as. It is a single line."""
    line = loggable(" ".join(f"{code}: {text}".split()), SHOWN)
    if status in (401, 403, 408, 429) or status >= 500 or _FOR_ALL.search(code):
        return Unavailable(line, retry_after)
    return Refused(line)


def _meaning(fault: ClientError | BotoCoreError, now: float) -> Exception:
    if isinstance(fault, ParamValidationError):
        return Refused(str(fault))
    if not isinstance(fault, ClientError):
        return Unavailable(f"{type(fault).__name__}: {fault}")  # network, TLS, DNS, credentials
    about = fault.response.get("ResponseMetadata", {})
    retry_after = about.get("HTTPHeaders", {}).get("retry-after")
    status = about.get("HTTPStatusCode", 0)
    return failure(_code(fault), fault.response.get("Error", {}).get("Message", ""), status, delay(retry_after, now))


def _code(fault: ClientError | BotoCoreError) -> str:
    if isinstance(fault, ClientError):
        return str(fault.response.get("Error", {}).get("Code", "Unknown"))
    return type(fault).__name__
