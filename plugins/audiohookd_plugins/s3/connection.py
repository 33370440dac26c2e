"""The client of a bucket: made when it is first needed, and made again when its credentials turn out to be stale."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3.session
import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

from audiohookd_plugins.s3.config import Fallback, S3Config
from audiohookd_plugins.s3.faults import STALE, code_of, meaning

#: Seconds.
CONNECT_TIMEOUT = 5.0
#: Times that a request is sent before it has failed: a connection that was idle too long costs one.
ATTEMPTS = 2
#: What the logs of a store have of us. botocore would compose one for each request, which is 7 % of its work.
USER_AGENT = f"audiohookd Botocore/{botocore.__version__}"


class Connection:
    """For worker threads; any number of them at a time.

    :param loader: reads what S3 is like, which is most of the work for a client; to be shared, as it remembers.
    """

    def __init__(self, place: S3Config | Fallback, config: S3Config, loader: Loader) -> None:
        self._place = place
        self._options = Config(
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
        self._lock = threading.Lock()
        self._client: Any = None
        self._loader = loader

    @contextmanager
    def requests(self) -> Iterator[Any]:
        """The client, to make requests with. It asks boto3's chain for credentials, which may take its time.

        boto3 refreshes credentials that say when they end. It does not know of those that were taken back, nor does
        it read a file again: so after a failure that may come from them, the chain is asked anew.

        :raises Unavailable: a request of the block failed, or there are no credentials. Undeliverable: it can never
            succeed. ClientError: as it came, when it is neither of these.
        """
        client = None
        try:
            client = self._current()
            yield client
        except (ClientError, BotoCoreError) as fault:
            if code_of(fault) in STALE and client is not None:
                self._forget(client)
            known = meaning(fault, self._place.bucket)
            if known is None:
                raise
            raise known from fault

    def close(self) -> None:
        """Ends the connections that are idle."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _current(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _forget(self, client: Any) -> None:
        with self._lock:
            if self._client is client:  # else somebody has made another one meanwhile
                self._client = None
        client.close()

    def _make(self) -> Any:
        session = botocore.session.get_session()
        session.register_component("data_loader", self._loader)
        return boto3.session.Session(botocore_session=session).client(
            "s3",
            region_name=self._place.region,
            endpoint_url=self._place.endpoint_url,
            config=self._options,
        )


def _signs_payload(place: S3Config | Fallback, config: S3Config) -> bool:
    """Whether each file is read once more, to sign it: its checksum is signed in any case.

    That is not enough without TLS when anyone can forge the checksum, nor for a store that does not look at it.
    """
    is_open = place.endpoint_url is not None and place.endpoint_url.startswith("http://")
    return config.confirm == "size" or (is_open and config.checksum != "sha256")
