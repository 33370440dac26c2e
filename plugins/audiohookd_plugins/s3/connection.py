"""The client of a bucket, and the translation of its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore
from botocore.config import Config
from botocore.loaders import Loader

from audiohookd_plugins.aws import ANSWER, Access
from audiohookd_plugins.bounded_http import Allowance
from audiohookd_plugins.s3 import probe
from audiohookd_plugins.s3.config import Fallback, S3Config
from audiohookd_plugins.s3.errors import FAILURES, STALE, code_of, meaning
from audiohookd_plugins.s3.read_back import RANGE, READING

#: Seconds.
CONNECT_TIMEOUT = 5.0
#: Seconds for the response to CompleteMultipartUpload, which is white space until the parts are joined.
JOINING = 1800.0
#: How often a request is sent before it has failed; an idle connection that the store closed costs one attempt.
ATTEMPTS = 2
#: For the store's access logs. botocore would compose a user agent for each request, which is 7 % of its work.
USER_AGENT = f"audiohookd Botocore/{botocore.__version__}"


class Connection:
    """The client of one bucket. Create it at start; then worker threads share it.

    :param loader: see :class:`Access`.
    """

    def __init__(self, place: S3Config | Fallback, config: S3Config, loader: Loader) -> None:
        self._bucket = place.bucket
        self._place = _describe(place)
        options = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=config.timeout,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=config.concurrency,
            tcp_keepalive=True,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=USER_AGENT,
            s3={
                "addressing_style": "path" if place.path_style else "auto",
                "payload_signing_enabled": _signs_payload(place, config),
            },
        )
        self._access = Access(
            "s3",
            place.region,
            place.endpoint_url,
            options,
            loader,
            {"CompleteMultipartUpload": Allowance(JOINING), "GetObject": Allowance(READING, RANGE + ANSWER)},
            {"before-send.s3.UploadPart": probe.alter, "before-call.s3.HeadBucket": _redirect_once},
        )

    @contextmanager
    def requests(self) -> Iterator[Any]:
        """The client, to make requests with. It waits for credentials as long as for a response.

        boto3 refreshes credentials with an expiry time, but notices neither revoked credentials nor a changed file.
        So after a failure that credentials may have caused, the chain is queried again.

        :raises Unavailable: a request of the block failed, or there are no credentials.
        :raises Undeliverable: the request can never succeed.
        :raises UploadRejected: another error.
        """
        try:
            yield self._access.client()
        except FAILURES as error:
            if code_of(error) in STALE:
                self._access.forget()
            raise meaning(error, self._bucket, self._place) from error

    def close(self) -> None:
        """Closes idle connections."""
        self._access.close()


def _describe(place: S3Config | Fallback) -> str:
    """Endpoint and region as configured, for errors."""
    return f"endpoint_url {place.endpoint_url or 'of Amazon'}, region {place.region or 'of the environment'}"


def _redirect_once(params: Any, **_: Any) -> None:
    """Limits botocore's search for the region of a bucket to one redirect.

    botocore sends a HEAD of the bucket. If that is redirected, too, without naming a region, it sends another, and so
    on until Python's stack is exhausted.
    """
    params["context"].get("s3_redirect", {})["redirected"] = True


def _signs_payload(place: S3Config | Fallback, config: S3Config) -> bool:
    """Whether each file is read once more to sign it, although its checksum is always signed.

    The signed checksum is not enough without TLS if the checksum can be forged, nor for a store that ignores it.
    """
    is_open = place.endpoint_url is not None and place.endpoint_url.startswith("http://")
    return config.confirm == "size" or config.checksum == "none" or (is_open and config.checksum != "sha256")
