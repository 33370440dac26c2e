"""The meaning of each error response of a store."""

from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    ParamValidationError,
    ProfileNotFound,
    SSLError,
)

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3.errors import STALE, UploadRejected, code_of, meaning


def answer(status: int, code: str, message: str = "", **headers: str) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message, "StringToSign": "secret", "AWSAccessKeyId": "secret"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (503, "SlowDown", "SlowDown: "),
        (503, "503", "503: "),
        (500, "InternalError", "InternalError: "),
        (200, "InternalError", "InternalError: "),
        (502, "Bad Gateway", "Bad Gateway: "),
        (400, "RequestTimeout", "RequestTimeout: "),
        (429, "TooManyRequests", "TooManyRequests: "),
        (400, "ExpiredToken", "; check the credentials"),
        (403, "InvalidAccessKeyId", "; check the credentials"),
        (403, "SignatureDoesNotMatch", "; check the credentials"),
        (403, "RequestTimeTooSkewed", "; the clock of this machine or of the store is wrong"),
        (403, "AccessDenied", "; the policy must allow it"),
        (403, "403", "; the policy must allow it"),
        (400, "400", "most likely an expired token"),
        (404, "NoSuchBucket", "; check name and region of the bucket"),
        (301, "PermanentRedirect", "; the store redirects: set region and endpoint_url of the bucket"),
        (302, "302", "; the store redirects: set region and endpoint_url of the bucket"),
        (303, "303", "; the store redirects: set region and endpoint_url of the bucket"),
        (308, "308", "; the store redirects: set region and endpoint_url of the bucket"),
        (400, "AuthorizationHeaderMalformed", "; check name and region of the bucket"),
        (400, "KMS.DisabledException", "; check the KMS key"),
    ],
)
def test_an_error_of_the_store_makes_everything_wait(status: int, code: str, advice: str) -> None:
    known = meaning(answer(status, code), "recordings")
    assert isinstance(known, Unavailable)
    assert str(known).startswith(f"bucket recordings: PutObject: {code}: ")
    assert advice in str(known)
    assert known.retry_after is None


def test_a_redirect_names_where_the_bucket_is_and_what_is_configured() -> None:
    fault = answer(307, "307", location="http://other.example/\r\nforged", **{"x-amz-bucket-region": "eu-west-1"})
    assert str(meaning(fault, "recordings", "endpoint_url http://store, region us-east-1")) == (
        "bucket recordings: PutObject: 307: ; the store redirects to http://other.example/ forged (bucket region"
        " eu-west-1): set region and endpoint_url of the bucket (now endpoint_url http://store, region us-east-1)"
    )


@pytest.mark.parametrize(
    "fault",
    [
        EndpointConnectionError(endpoint_url="http://store"),
        ConnectTimeoutError(endpoint_url="http://store"),
        SSLError(endpoint_url="https://store", error="certificate has expired"),
        ProfileNotFound(profile="not-there"),
    ],
    ids=code_of,
)
def test_a_missing_response_makes_everything_wait(fault: BotoCoreError) -> None:
    known = meaning(fault, "recordings")
    assert isinstance(known, Unavailable)
    assert str(known) == f"bucket recordings: {fault}"


def test_missing_credentials_make_everything_wait() -> None:
    known = meaning(CredentialRetrievalError(provider="sso", error_msg="no token"), "recordings")
    assert isinstance(known, Unavailable)
    assert "sso: no token; check the credentials" in str(known)


@pytest.mark.parametrize("code", ["InvalidTag", "InvalidStorageClass"])
def test_rejected_settings_make_everything_wait(code: str) -> None:
    known = meaning(answer(400, code, "no"), "recordings")
    assert isinstance(known, Unavailable)
    assert "check [plugins.s3]" in str(known)


@pytest.mark.parametrize("code", ["EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidObjectState"])
def test_a_permanent_error_is_undeliverable(code: str) -> None:
    known = meaning(answer(400, code, "no"), "recordings")
    assert isinstance(known, Undeliverable)
    assert str(known) == f"bucket recordings: PutObject: {code}: no"


@pytest.mark.parametrize(
    "fault",
    [
        answer(409, "ConditionalRequestConflict"),
        answer(409, "OperationAborted"),
        answer(404, "NoSuchUpload"),
        answer(501, "NotImplemented"),
        answer(418, "Teapot"),
        ParamValidationError(report="wrong"),
    ],
    ids=code_of,
)
def test_another_error_concerns_one_recording_only(fault: ClientError | BotoCoreError) -> None:
    known = meaning(fault, "recordings")
    assert type(known) is UploadRejected
    assert str(known).startswith("bucket recordings: ")


@pytest.mark.parametrize(
    ("value", "seconds"), [("17", 17.0), ("0", 0.0), ("soon", None), ("-1", None), ("1e9", None)]
)
def test_retry_after_is_parsed(value: str, seconds: float | None) -> None:
    known = meaning(answer(503, "SlowDown", **{"retry-after": value}), "recordings")
    assert isinstance(known, Unavailable)
    assert known.retry_after == seconds


def test_the_text_is_one_line_without_secrets() -> None:
    text = str(meaning(answer(503, "503", "<html>\n\r" + "x" * 9999), "recordings"))
    assert "\n" not in text
    assert len(text) < 300
    assert "secret" not in text


def test_other_credentials_may_help() -> None:
    assert {"ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentialsError"} <= STALE
    assert not {"AccessDenied", "SlowDown", "NoSuchBucket"} & STALE
