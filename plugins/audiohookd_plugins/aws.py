"""AWS clients that are created at start, with bounded response time and size."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader

from audiohookd_plugins.bounded_http import Allowance, Bounds, bounded
from audiohookd_plugins.lazy_credentials import LateCredentials

#: The largest response, in bytes.
ANSWER = 1 << 20

#: Without a user, which would be a secret in the file and in logs; without % and //, which botocore changes.
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[A-Za-z0-9._~-]+)*/?")


class Access:
    """A client of one AWS service at one endpoint. Create it at start; then worker threads share it.

    Creating a client takes hundreds of milliseconds in which other threads hardly run, so it happens here.
    Credentials are looked up by boto3's chain when the first request needs them, since that may use a network; see
    :class:`LateCredentials`. An invalid AWS configuration raises nothing here: each :meth:`client` then retries.

    :param name: of the service, as in boto3.
    :param config: its ``read_timeout`` bounds a whole response of the service, and the wait for credentials. Requests
        of boto3's chain for credentials have other limits, or none.
    :param loader: reads the service description, which is most of the work. Share it: it caches.
    :param allowances: larger limits than ``read_timeout`` and :data:`ANSWER`, by operation.
    :param handlers: of botocore's events, by event name.
    :raises ValueError: no region is known, and the endpoint is Amazon's. For S3 botocore would use us-east-1.
    """

    def __init__(
        self,
        name: str,
        region: str | None,
        endpoint_url: str | None,
        config: Config,
        loader: Loader | None = None,
        allowances: Mapping[str, Allowance] | None = None,
        handlers: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._name = name
        self._region = region
        self._endpoint_url = endpoint_url
        # other modes may ask the machine's metadata service for the region
        self._config = config.merge(Config(defaults_mode="legacy"))
        self._loader = loader or create_loader()
        self._allowances = allowances or {}
        self._handlers = handlers or {}
        self._credentials = LateCredentials(self._fetch_credentials, config.read_timeout)
        self._lock = threading.Lock()
        self._client: Any = None
        if endpoint_url is None and not self._knows_region():
            named = "neither this table nor AWS_DEFAULT_REGION nor the profile of AWS's own configuration names one"
            raise ValueError(f"region: is needed: {named}")
        with suppress(BotoCoreError, ValueError):  # the first request raises it
            self._client = self._create()

    def client(self) -> Any:
        """The client.

        :raises BotoCoreError: the AWS configuration is invalid.
        :raises ValueError: the endpoint is invalid.
        """
        with self._lock:
            if self._client is None:
                self._client = self._create()
            return self._client

    def forget(self) -> None:
        """Drops the credentials after a failed request, so that the next request looks up others.

        Not all credentials have an expiry time.
        """
        self._credentials.forget()

    def close(self) -> None:
        """Closes idle connections. Does not wait for a thread that is creating the client."""
        client = self._client
        if client is not None:
            client.close()

    def _create(self) -> Any:
        session = self._session()
        session.register_component("credential_provider", self._credentials)
        client = session.create_client(self._name, endpoint_url=self._endpoint_url, config=self._config)
        for event, handler in self._handlers.items():
            client.meta.events.register(event, handler)
        _bound(client, self._config.read_timeout, self._allowances)
        return client

    def _knows_region(self) -> bool:
        try:
            return bool(self._session().get_config_variable("region"))
        except BotoCoreError:  # invalid configuration: the first request raises it
            return True

    def _fetch_credentials(self) -> Any:
        """Looks up credentials in a new session, since a session caches its files."""
        return self._session().get_credentials()

    def _session(self) -> Any:
        session = botocore.session.Session()
        session.register_component("data_loader", self._loader)
        if self._region is not None:  # also for credential providers
            session.set_config_variable("region", self._region)
        return session


def check_endpoint(key: str, url: str) -> None:
    """Checks that ``url``, the value of ``key``, can precede a service's own paths.

    :raises ValueError: with a line for the user that does not contain the URL.
    """
    try:
        is_right = _ENDPOINT.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(f"{key}: must be like https://store.example or https://store.example/path: no user, %, ?, #")


def _bound(client: Any, seconds: float, allowances: Mapping[str, Allowance]) -> None:
    """Replaces the client's connection classes with bounded ones.

    botocore has no public way to do this; tests check that this one works.
    """
    request = threading.local()  # a request is sent, and its response read, in one thread

    def note(event_name: str, **_: Any) -> None:
        request.allowance = allowances.get(event_name.rpartition(".")[2], Allowance())

    client.meta.events.register("before-send", note)
    classes = client._endpoint.http_session._pool_classes_by_scheme
    bounds = Bounds(seconds, ANSWER, time.monotonic, lambda: request.allowance)
    classes.update(bounded(classes, bounds))
