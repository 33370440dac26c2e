"""Keys in AWS Secrets Manager."""

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError, SourceUnavailable
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.auth.keys.rotation import Rotation, merge_versions
from audiohookd.config.schema import AwsSecret

#: Seconds to connect and to wait for an answer, and how often a request is sent.
CONNECT_TIMEOUT, READ_TIMEOUT, ATTEMPTS = 3.0, 5.0, 2

#: Errors that only the operator can correct. All others may be temporary.
_PERMANENT_ERRORS = frozenset(
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
    """An answer has no member of this name."""


@implementer(IKeySource)
class SecretsManager:
    """A secret, by name or ARN: its current version, and for some time after a rotation the previous one.

    boto3 finds the credentials. An error text has only the name of a foreign exception, because its text may contain
    anything.

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
        """See :class:`IKeySource`. Only a load can tell."""
        return True

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        from botocore.exceptions import ClientError, NoRegionError  # noqa: PLC0415 - takes 25 MB

        try:
            return self._load()
        except NoRegionError:
            raise self._error(
                "no region: set region, since neither the ARN nor the AWS configuration names one"
            ) from None
        except BadKeys as error:
            raise self._error(f"{error} (version AWSCURRENT)") from None
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            kind = KeySourceError if code in _PERMANENT_ERRORS else SourceUnavailable
            raise self._error(f"Secrets Manager says {code}", kind) from None
        except _Incomplete as error:
            raise self._error(f"the answer has no {error}", SourceUnavailable) from None
        except Exception as error:  # from boto3, or from an answer of an unexpected shape
            raise self._error(f"cannot be fetched ({type(error).__name__})", SourceUnavailable) from None

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
        """Returns the keys of the previous version: none if there is no such version, or its content is invalid."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - see load

        try:
            return read_keys(_text(self._fetch("AWSPREVIOUS")))
        except BadKeys:
            return Keys({})
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                return Keys({})
            raise

    def _fetch(self, stage: str) -> Any:
        return self._client.get_secret_value(SecretId=self._settings.secret, VersionStage=stage)

    def _error(self, text: str, kind: type[KeySourceError] = KeySourceError) -> KeySourceError:
        return kind(f"secret {self._settings.secret!r}: {text}")


def _client(settings: AwsSecret) -> Any:
    """Builds a client, which takes some hundred milliseconds. Its first request may fetch credentials."""
    import boto3  # noqa: PLC0415 - see load
    from botocore.config import Config  # noqa: PLC0415

    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    config = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries=retries)
    region = settings.region or _region_of(settings.secret)
    # A separate session: boto3's default session is global, and is not safe for several threads.
    session = boto3.session.Session(region_name=region or None)
    return session.client("secretsmanager", endpoint_url=settings.endpoint_url or None, config=config)


def _region_of(secret: str) -> str:
    """Returns the region in an ARN: ``arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME``."""
    parts = secret.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else ""


def _text(answer: Any) -> bytes | str:
    text: bytes | str = answer["SecretString"] if "SecretString" in answer else _member(answer, "SecretBinary")
    return text


def _member(answer: Any, name: str) -> Any:
    if name not in answer:
        raise _Incomplete(name)
    return answer[name]
