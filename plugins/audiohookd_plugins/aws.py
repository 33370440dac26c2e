"""Clients of Amazon's services that are there when the first request is, and bound what they read."""

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

#: Bytes that an answer may have.
ANSWER = 1 << 20

#: No user: that would be a secret in the file, and in the logs. And what botocore keeps as it is: no %, no //.
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[A-Za-z0-9._~-]+)*/?")


class Access:
    """A client of one service at one place. To be made at start; for worker threads then, any number at a time.

    To make the client takes hundreds of milliseconds in which no other thread gets far, so it is made here. Its
    credentials are looked for by boto3's chain, which may ask a network, when the first request needs them; see
    :class:`LateCredentials`. Where AWS's own configuration makes no sense nothing fails here: then each
    :meth:`client` tries anew.

    :param name: as boto3 calls the service.
    :param config: its ``read_timeout`` is for a whole answer of the service, and for the wait for credentials. What
        boto3's chain asks for those has limits of its own, or none.
    :param loader: reads what the service is like, which is most of the work; to be shared, as it remembers.
    :param allowances: for answers to some operations, where that is more than ``read_timeout`` and :data:`ANSWER`.
    :param handlers: of botocore's events, by name.
    :raises ValueError: no region is known, and the endpoint is Amazon's. For S3 botocore would take us-east-1.
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
        # Any other mode might ask the machine's metadata service where it is.
        self._config = config.merge(Config(defaults_mode="legacy"))
        self._loader = loader or create_loader()
        self._allowances = allowances or {}
        self._handlers = handlers or {}
        self._credentials = LateCredentials(self._look, config.read_timeout)
        self._lock = threading.Lock()
        self._client: Any = None
        if endpoint_url is None and not self._knows_region():
            named = "neither this table nor AWS_DEFAULT_REGION nor the profile of AWS's own configuration names one"
            raise ValueError(f"region: is needed: {named}")
        with suppress(BotoCoreError, ValueError):  # the first request says so
            self._client = self._make()

    def client(self) -> Any:
        """The client.

        :raises BotoCoreError: AWS's own configuration is wrong. ValueError: so is the endpoint.
        """
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def forget(self) -> None:
        """The credentials were of no use: the next request looks for others. Not all of them say when they end."""
        self._credentials.forget()

    def close(self) -> None:
        """Ends the connections that are idle. Does not wait for a thread that makes the client just now."""
        client = self._client
        if client is not None:
            client.close()

    def _make(self) -> Any:
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
        except BotoCoreError:  # that configuration is wrong: the first request says so
            return True

    def _look(self) -> Any:
        """In a session of its own: it would remember its files."""
        return self._session().get_credentials()

    def _session(self) -> Any:
        session = botocore.session.Session()
        session.register_component("data_loader", self._loader)
        if self._region is not None:  # also for whoever is asked for credentials
            session.set_config_variable("region", self._region)
        return session


def check_endpoint(key: str, url: str) -> None:
    """Whether the URL ``url``, the value of ``key``, can stand before a service's own paths.

    :raises ValueError: with a line for the user, in which it is not repeated.
    """
    try:
        is_right = _ENDPOINT.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(f"{key}: must be like https://store.example or https://store.example/path: no user, %, ?, #")


def _bound(client: Any, seconds: float, allowances: Mapping[str, Allowance]) -> None:
    """There is no other way to choose botocore's connections; the tests see to it that this one works."""
    asked = threading.local()  # a request is sent, and answered, in one thread

    def note(event_name: str, **_: Any) -> None:
        asked.allowance = allowances.get(event_name.rpartition(".")[2], Allowance())

    client.meta.events.register("before-send", note)
    classes = client._endpoint.http_session._pool_classes_by_scheme
    bounds = Bounds(seconds, ANSWER, time.monotonic, lambda: asked.allowance)
    classes.update(bounded(classes, bounds))
