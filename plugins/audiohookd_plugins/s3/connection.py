"""The client of a bucket, and what its failures mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore
from botocore.config import Config
from botocore.loaders import Loader

from audiohookd_plugins.answers import Allowance
from audiohookd_plugins.aws import ANSWER, Access
from audiohookd_plugins.s3 import probe
from audiohookd_plugins.s3.config import Fallback, S3Config
from audiohookd_plugins.s3.faults import FAILURES, STALE, code_of, meaning
from audiohookd_plugins.s3.read_back import RANGE, READING

#: Seconds.
CONNECT_TIMEOUT = 5.0
#: For the answer to "join the parts", which is white space until they are.
JOINING = 1800.0
#: Times that a request is sent before it has failed: a connection that was idle too long costs one.
ATTEMPTS = 2
#: What the logs of a store have of us. botocore would compose one for each request, which is 7 % of its work.
USER_AGENT = f"audiohookd Botocore/{botocore.__version__}"


class Connection:
    """For worker threads, any number of them at a time; to be made at start.

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
        """The client, to make requests with. For credentials it waits as long as for an answer.

        boto3 refreshes credentials that say when they end. It does not know of those that were taken back, nor does
        it read a file again: so after a failure that may come from them, the chain is asked anew.

        :raises Unavailable: a request of the block failed, or there are no credentials. Undeliverable: it can never
            succeed. Refusal: it is neither of these.
        """
        try:
            yield self._access.client()
        except FAILURES as fault:
            if code_of(fault) in STALE:
                self._access.forget()
            raise meaning(fault, self._bucket, self._place) from fault

    def close(self) -> None:
        """Ends the connections that are idle."""
        self._access.close()


def _describe(place: S3Config | Fallback) -> str:
    """Endpoint and region as they are configured, for errors."""
    return f"endpoint_url {place.endpoint_url or 'of Amazon'}, region {place.region or 'of the environment'}"


def _redirect_once(params: Any, **_: Any) -> None:
    """For botocore's search for the region of a bucket, which begins with a redirect.

    It sends a HEAD of the bucket; when that is redirected, too, and names no region, it sends the next, and so on
    until Python's stack is full.
    """
    params["context"].get("s3_redirect", {})["redirected"] = True


def _signs_payload(place: S3Config | Fallback, config: S3Config) -> bool:
    """Whether each file is read once more, to sign it: its checksum is signed in any case.

    That is not enough without TLS when anyone can forge the checksum, nor for a store that does not look at it.
    """
    is_open = place.endpoint_url is not None and place.endpoint_url.startswith("http://")
    return config.confirm == "size" or config.checksum == "none" or (is_open and config.checksum != "sha256")
