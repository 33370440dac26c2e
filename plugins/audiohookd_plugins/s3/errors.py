"""Meaning of request errors: wait, give up, or retry this recording only."""

import re
from http import HTTPStatus
from typing import Any, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError, MissingDependencyException, ParamValidationError
from botocore.parsers import ResponseParserError

from audiohookd.escaping import loggable
from audiohookd.interfaces import Unavailable, Undeliverable

#: The exceptions of a botocore request. A response that is not S3's XML raises ResponseParserError.
Failure: TypeAlias = ClientError | BotoCoreError | ResponseParserError
FAILURES = (ClientError, BotoCoreError, ResponseParserError)
#: Codes: an object with this key exists.
EXISTS = frozenset({"PreconditionFailed", "412"})
#: Codes: the data does not match its checksum.
CORRUPT = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
#: Codes: the object does not exist, or the bucket; the response to a HEAD does not say which.
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
#: Codes that new credentials may resolve. The response to a HEAD has only a status: 400 for an expired token.
STALE = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"),
        *("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "400", "403"),
    }
)
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403", "NotSignedUp"})
#: Codes of a wrong configuration: no recording can be stored until it is corrected.
_SETTINGS = frozenset({"InvalidTag", "InvalidStorageClass", "InvalidEncryptionAlgorithmError"})
_ELSEWHERE = frozenset(
    {
        *("NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "TemporaryRedirect"),
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    }
)
#: Codes that S3 itself does not return for these requests.
_UNKNOWN = frozenset({"NotImplemented", "501", "MissingContentLength", "411"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
#: Advice for the operator, by codes; the first match applies.
_ADVICE = (
    (_CLOCK, "the clock of this machine or of the store is wrong: compare timedatectl with the Date of a response"),
    (STALE - _DENIED - {"400"}, "check the credentials; they are looked up again for each retry"),
    (_DENIED, "the policy must allow it (for HEAD, S3 gives no reason: s3:GetObject, s3:ListBucket, kms:Decrypt)"),
    (frozenset({"400"}), "for HEAD, S3 gives no reason: most likely an expired token"),
    (_SETTINGS, "check [plugins.s3]: no recording can be stored with these settings"),
    (_ELSEWHERE, "check name and region of the bucket"),
    (_UNKNOWN, "the store, or a proxy in front of it, rejects a header: see the table of stores in docs/s3.rst"),
)
#: Codes of a busy store, which may accept the request later.
BUSY = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestLimitExceeded", "429"),
        *("Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException"),
    }
)
_NEVER = frozenset({"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidObjectState"})
#: The text of a store that rejects the headers: some have no specific code for that.
_CHECKSUM_HEADER = re.compile(r"x-amz-(?:sdk-)?checksum|checksum.{0,40}(?:not supported|unsupported)", re.I)
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
#: Characters of a store's error text that are shown.
_WORDS = 200


class UploadRejected(Exception):
    """A request failed for a reason that says nothing about other recordings. It is retried."""


def code_of(error: Exception) -> str:
    """The store's error code, or the name of the exception's class."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def status_of(error: Exception) -> int:
    """The HTTP status; 0 without a response."""
    status = _metadata(error).get("HTTPStatusCode", 0) if isinstance(error, ClientError) else 0
    return int(status)


def describe(error: Failure) -> str:
    """One line: the operation, and the store's error."""
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {code_of(error)}: {_words(_message(error))}"
    if isinstance(error, ResponseParserError):
        return f"the response is not that of an S3 store; check endpoint_url: {_words(str(error))}"
    return _words(str(error))


def rejects_checksums(error: ClientError) -> bool:
    """Whether the store rejects the checksum headers, whatever their values."""
    is_rejected = status_of(error) in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_IMPLEMENTED)
    return is_rejected and code_of(error) not in CORRUPT and _CHECKSUM_HEADER.search(_message(error)) is not None


def meaning(error: Failure, bucket: str, place: str = "") -> Unavailable | Undeliverable | UploadRejected:
    """The exception to raise for a failed request. Its text names the bucket: there may be two.

    :param place: endpoint and region of the bucket as configured, for the text about a redirect.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, bucket, place)
    text = f"bucket {bucket}: {describe(error)}"
    if isinstance(error, (ParamValidationError, MissingDependencyException)):
        return UploadRejected(text)
    return Unavailable(text + _advice(code_of(error)))


def _of_answer(error: ClientError, bucket: str, place: str) -> Unavailable | Undeliverable | UploadRejected:
    code, status = code_of(error), status_of(error)
    text = f"bucket {bucket}: {describe(error)}"
    if code in _NEVER:
        return Undeliverable(text)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Unavailable(text + _redirect_advice(error, place))
    is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    is_for_all = is_down or code in BUSY or (_advice(code) and code not in _UNKNOWN)
    text += _advice(code)
    return Unavailable(text, _retry_after(error)) if is_for_all else UploadRejected(text)


def _advice(code: str) -> str:
    """Advice for the operator; empty for temporary or unknown errors."""
    for codes, advice in _ADVICE:
        if code in codes:
            return f"; {advice}"
    return "; check the KMS key" if code.startswith("KMS.") else ""


def _redirect_advice(error: ClientError, place: str) -> str:
    """Where the store says the bucket is. Redirects to other hosts are not followed, so they receive no audio."""
    headers = _metadata(error).get("HTTPHeaders", {})
    details = error.response.get("Error", {})
    target = _words(str(headers.get("location") or details.get("Endpoint") or ""))
    region = _words(str(headers.get("x-amz-bucket-region") or details.get("Region") or ""))
    to = f" to {target}" if target else ""
    named = f" (bucket region {region})" if region else ""
    settings = f" (now {place})" if place else ""
    return f"; the store redirects{to}{named}: set region and endpoint_url of the bucket{settings}"


def _words(text: str) -> str:
    """On one line and shortened: a proxy may send a whole page."""
    return loggable(" ".join(text.split()), _WORDS)


def _retry_after(error: ClientError) -> float | None:
    value = _metadata(error).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if _SECONDS.fullmatch(value) else None


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def _metadata(error: ClientError) -> Any:
    return error.response.get("ResponseMetadata", {})
