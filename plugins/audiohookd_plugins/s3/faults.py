"""What the failures of requests mean: wait, give up, or nothing in particular."""

import re
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, MissingDependencyException, ParamValidationError

from audiohookd.interfaces import Unavailable, Undeliverable

#: There is another object of this name.
EXISTS = frozenset({"PreconditionFailed", "412"})
#: What arrived is not what was announced.
CORRUPT = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
#: There is no such object; or no such bucket, which the answer to a HEAD does not tell.
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
#: Other credentials may help. The answer to a HEAD has only a status: 400 for a token that has expired.
STALE = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"),
        *("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "400", "403"),
    }
)
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403", "NotSignedUp"})
#: Of the configuration, for all recordings alike: as soon as it is put right they can go.
_SETTINGS = frozenset({"InvalidTag", "InvalidStorageClass", "InvalidEncryptionAlgorithmError"})
_ELSEWHERE = frozenset(
    {
        *("NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "TemporaryRedirect", "301", "307"),
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    }
)
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
#: What a sysadmin can do; the first that fits.
_ADVICE = (
    (_CLOCK, "the clock of this machine is wrong"),
    (STALE - _DENIED - {"400"}, "look after the credentials, they are looked for again each time"),
    (_DENIED, "the policy must allow it (of HEAD, S3 tells no reason: s3:GetObject, s3:ListBucket, kms:Decrypt)"),
    (frozenset({"400"}), "of HEAD, S3 tells no reason: mostly a token that has expired"),
    (_SETTINGS, "look after [plugins.s3]: no recording can be stored so"),
    (_ELSEWHERE, "look after name and region of the bucket"),
)
_BUSY = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestLimitExceeded", "429"),
        *("Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException"),
    }
)
_NEVER = frozenset({"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidObjectState"})
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
_NOT_IMPLEMENTED = 501
#: Characters of a store's own words that are told.
_WORDS = 200


class Refusal(Exception):
    """A request failed for a reason that tells nothing about other recordings. To be tried again."""


def code_of(fault: ClientError | BotoCoreError) -> str:
    """The code that the store gave, or the name of the class."""
    if isinstance(fault, ClientError):
        return str(fault.response.get("Error", {}).get("Code", ""))
    return type(fault).__name__


def meaning(fault: ClientError | BotoCoreError, bucket: str) -> Unavailable | Undeliverable | Refusal:
    """What to raise for the failure of a request. It names the bucket: there may be two."""
    if isinstance(fault, ClientError):
        return _of_answer(fault, bucket)
    text = f"bucket {bucket}: {_words(str(fault))}"
    if isinstance(fault, (ParamValidationError, MissingDependencyException)):
        return Refusal(text)
    return Unavailable(text + _advice(code_of(fault)))


def _of_answer(fault: ClientError, bucket: str) -> Unavailable | Undeliverable | Refusal:
    code = code_of(fault)
    text = f"bucket {bucket}: {fault.operation_name}: {code}: {_words(fault.response['Error'].get('Message', ''))}"
    if code in _NEVER:
        return Undeliverable(text)
    status = _metadata(fault).get("HTTPStatusCode", 0)
    is_down = status >= 500 and status != _NOT_IMPLEMENTED
    if is_down or code in _BUSY or _advice(code):
        return Unavailable(text + _advice(code), _retry_after(fault))
    return Refusal(text)


def _advice(code: str) -> str:
    """What a sysadmin can do about it; empty for what passes by itself, or is not known."""
    for codes, advice in _ADVICE:
        if code in codes:
            return f"; {advice}"
    return "; look after the KMS key" if code.startswith("KMS.") else ""


def _words(text: str) -> str:
    """On one line, and not all of a page that a proxy sent."""
    return " ".join(text.split())[:_WORDS]


def _retry_after(fault: ClientError) -> float | None:
    value = _metadata(fault).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if _SECONDS.fullmatch(value) else None


def _metadata(fault: ClientError) -> Any:
    return fault.response.get("ResponseMetadata", {})
