"""What the failures of requests mean: wait, give up, or nothing in particular."""

import re
from http import HTTPStatus
from typing import Any, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError, MissingDependencyException, ParamValidationError
from botocore.parsers import ResponseParserError

from audiohookd.escaping import loggable
from audiohookd.interfaces import Unavailable, Undeliverable

#: What botocore raises for a request. An answer that is not S3's XML has a class of its own.
Failure: TypeAlias = ClientError | BotoCoreError | ResponseParserError
FAILURES = (ClientError, BotoCoreError, ResponseParserError)
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
        *("NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "TemporaryRedirect"),
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    }
)
#: What S3 itself would not say of these requests.
_UNKNOWN = frozenset({"NotImplemented", "501", "MissingContentLength", "411"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
#: What a sysadmin can do; the first that fits.
_ADVICE = (
    (_CLOCK, "the clock of this machine, or of the store, is wrong: compare timedatectl with the Date of an answer"),
    (STALE - _DENIED - {"400"}, "look after the credentials, they are looked for again each time"),
    (_DENIED, "the policy must allow it (of HEAD, S3 tells no reason: s3:GetObject, s3:ListBucket, kms:Decrypt)"),
    (frozenset({"400"}), "of HEAD, S3 tells no reason: mostly a token that has expired"),
    (_SETTINGS, "look after [plugins.s3]: no recording can be stored so"),
    (_ELSEWHERE, "look after name and region of the bucket"),
    (_UNKNOWN, "the store, or a proxy before it, does not take a header: see the table of stores in docs/s3.rst"),
)
#: Later it may be taken.
BUSY = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestLimitExceeded", "429"),
        *("Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException"),
    }
)
_NEVER = frozenset({"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidObjectState"})
#: In the words of a store that does not take the headers: some have no code of their own for it.
_CHECKSUM_HEADER = re.compile(r"x-amz-(?:sdk-)?checksum|checksum.{0,40}(?:not supported|unsupported)", re.I)
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
#: Characters of a store's own words that are told.
_WORDS = 200


class Refusal(Exception):
    """A request failed for a reason that tells nothing about other recordings. To be tried again."""


def code_of(fault: Exception) -> str:
    """The code that the store gave, or the name of the class."""
    if isinstance(fault, ClientError):
        return str(fault.response.get("Error", {}).get("Code", ""))
    return type(fault).__name__


def status_of(fault: Exception) -> int:
    """The HTTP status; 0 when there was no answer."""
    status = _metadata(fault).get("HTTPStatusCode", 0) if isinstance(fault, ClientError) else 0
    return int(status)


def describe(fault: Failure) -> str:
    """One line: what was asked, and what the store says of it."""
    if isinstance(fault, ClientError):
        return f"{fault.operation_name}: {code_of(fault)}: {_words(_message(fault))}"
    if isinstance(fault, ResponseParserError):
        return f"the answer is not that of an S3 store; look after endpoint_url: {_words(str(fault))}"
    return _words(str(fault))


def rejects_checksums(fault: ClientError) -> bool:
    """Whether the store does not take the headers, whatever is in them."""
    is_rejected = status_of(fault) in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_IMPLEMENTED)
    return is_rejected and code_of(fault) not in CORRUPT and _CHECKSUM_HEADER.search(_message(fault)) is not None


def meaning(fault: Failure, bucket: str, place: str = "") -> Unavailable | Undeliverable | Refusal:
    """What to raise for the failure of a request. It names the bucket: there may be two.

    :param place: endpoint and region of the bucket as they are configured, for the text of a redirect.
    """
    if isinstance(fault, ClientError):
        return _of_answer(fault, bucket, place)
    text = f"bucket {bucket}: {describe(fault)}"
    if isinstance(fault, (ParamValidationError, MissingDependencyException)):
        return Refusal(text)
    return Unavailable(text + _advice(code_of(fault)))


def _of_answer(fault: ClientError, bucket: str, place: str) -> Unavailable | Undeliverable | Refusal:
    code, status = code_of(fault), status_of(fault)
    text = f"bucket {bucket}: {describe(fault)}"
    if code in _NEVER:
        return Undeliverable(text)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Unavailable(text + _redirect_advice(fault, place))
    is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    is_for_all = is_down or code in BUSY or (_advice(code) and code not in _UNKNOWN)
    text += _advice(code)
    return Unavailable(text, _retry_after(fault)) if is_for_all else Refusal(text)


def _advice(code: str) -> str:
    """What a sysadmin can do about it; empty for what passes by itself, or is not known."""
    for codes, advice in _ADVICE:
        if code in codes:
            return f"; {advice}"
    return "; look after the KMS key" if code.startswith("KMS.") else ""


def _redirect_advice(fault: ClientError, place: str) -> str:
    """What the store says of where the bucket is. Redirects to other hosts are not followed: they get no audio."""
    headers = _metadata(fault).get("HTTPHeaders", {})
    error = fault.response.get("Error", {})
    target = _words(str(headers.get("location") or error.get("Endpoint") or ""))
    region = _words(str(headers.get("x-amz-bucket-region") or error.get("Region") or ""))
    to = f" to {target}" if target else ""
    named = f" (bucket region {region})" if region else ""
    settings = f" (now {place})" if place else ""
    return f"; the store redirects{to}{named}: set region and endpoint_url of the bucket{settings}"


def _words(text: str) -> str:
    """On one line, and not all of a page that a proxy sent."""
    return loggable(" ".join(text.split()), _WORDS)


def _retry_after(fault: ClientError) -> float | None:
    value = _metadata(fault).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if _SECONDS.fullmatch(value) else None


def _message(fault: ClientError) -> str:
    return str(fault.response.get("Error", {}).get("Message", ""))


def _metadata(fault: ClientError) -> Any:
    return fault.response.get("ResponseMetadata", {})
