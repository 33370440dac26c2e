"""Keys in AWS Secrets Manager."""

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError, SourceUnavailable
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.auth.keys.rotation import Rotation, merge_versions
from audiohookd.config.schema import AwsSecret

#: Seconds to connect, and for an answer; each is tried twice.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 3.0, 5.0, 2

#: What nobody but the sysadmin can put right. All else may be over the next time.
_OUR_FAULT = frozenset(
    {
        "AccessDeniedException",
        "DecryptionFailure",
        "InvalidParameterException",
        "InvalidRequestException",
        "ResourceNotFoundException",
        "ValidationException",
    }
)


class _Incomplete(Exception):
    """An answer lacks the member that the text names."""


@implementer(IKeySource)
class SecretsManager:
    """A secret, by name or ARN: its current version, and the one before for some time after a rotation.

    Credentials come from where boto3 looks for them. What is told of a failure is its name, for the text may be
    anybody's.

    :param now: UNIX seconds.
    """

    def __init__(self, name: str, settings: AwsSecret, now: Callable[[], float]) -> None:
        self.name = name
        self.interval = settings.refresh
        self._settings = settings
        self._now = now
        self._rotation = Rotation()
        self._client: Any = None

    def changed(self) -> bool:
        """See :class:`IKeySource`. To find out is to load it."""
        return True

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        from botocore.exceptions import ClientError, NoRegionError  # noqa: PLC0415 - 25 MB, for those who use it

        try:
            return self._load()
        except NoRegionError:
            raise self._error("region is needed: neither the ARN nor AWS's own configuration names one") from None
        except BadKeys as fault:
            raise self._error(f"{fault} (version AWSCURRENT)") from None
        except ClientError as fault:
            code = fault.response.get("Error", {}).get("Code", "unknown")
            kind = KeySourceError if code in _OUR_FAULT else SourceUnavailable
            raise self._error(f"Secrets Manager says {code}", kind) from None
        except _Incomplete as fault:
            raise self._error(f"the answer has no {fault}", SourceUnavailable) from None
        except Exception as fault:  # of boto3, or because the answer is not what it should be
            raise self._error(f"cannot be fetched ({type(fault).__name__})", SourceUnavailable) from None

    def _load(self) -> Keys:
        if self._client is None:
            self._client = _client(self._settings)
        answer = self._fetch("AWSCURRENT")
        current = read_keys(_text(answer))
        now = self._now()
        since = self._rotation.since(_member(answer, "VersionId"), _member(answer, "CreatedDate").timestamp(), now)
        until = since + self._settings.overlap
        return merge_versions(current, self._previous(), until) if now < until else current

    def _previous(self) -> Keys:
        """None where there is no version before, or it was none: that is why there is another one now."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - see load

        try:
            return read_keys(_text(self._fetch("AWSPREVIOUS")))
        except BadKeys:
            return Keys({})
        except ClientError as fault:
            if fault.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                return Keys({})
            raise

    def _fetch(self, stage: str) -> Any:
        return self._client.get_secret_value(SecretId=self._settings.secret, VersionStage=stage)

    def _error(self, what: str, kind: type[KeySourceError] = KeySourceError) -> KeySourceError:
        return kind(f"secret {self._settings.secret!r}: {what}")


def _client(settings: AwsSecret) -> Any:
    """Takes some hundred milliseconds, and may ask the network for credentials with the first request."""
    import boto3  # noqa: PLC0415 - see load
    from botocore.config import Config  # noqa: PLC0415

    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    config = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries=retries)
    region = settings.region or _region_of(settings.secret)
    # A session of its own: boto3's default one belongs to everybody, and is not for several threads.
    session = boto3.session.Session(region_name=region or None)
    return session.client("secretsmanager", endpoint_url=settings.endpoint_url or None, config=config)


def _region_of(secret: str) -> str:
    """An ARN names it: ``arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME``."""
    parts = secret.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else ""


def _text(answer: Any) -> bytes | str:
    text: bytes | str = answer["SecretString"] if "SecretString" in answer else _member(answer, "SecretBinary")
    return text


def _member(answer: Any, name: str) -> Any:
    if name not in answer:
        raise _Incomplete(name)
    return answer[name]
