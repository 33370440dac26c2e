"""Announces recordings by HTTP: POSTs a signed JSON notification, with retries until the response is a success."""

import hashlib
from pathlib import Path

from msgspec import Struct
from zope.interface import provider

from audiohookd.interfaces import IDaemon, IPluginFactory
from audiohookd_plugins.notifications.notifier import BlockingNotifier, Concurrency, Seconds
from audiohookd_plugins.notifications.payload import Notification
from audiohookd_plugins.notifications.signature import Secrets, read_secrets
from audiohookd_plugins.notifications.urls import is_loopback, web_address
from audiohookd_plugins.notifications.webhook_client import (
    PROXY_AUTHORIZATION,
    WebhookClient,
    connections,
    read_headers,
)


class WebhookConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.webhook]``."""

    url: str = ""
    #: Secrets to sign with, one per line.
    secret_file: Path | None = None
    #: Required to send without a secret.
    allow_unsigned: bool = False
    #: Required to send to another machine without TLS.
    allow_http: bool = False
    #: Additional headers, "Name: value", one per line.
    headers_file: Path | None = None
    #: Certificates to trust, in place of the system's.
    ca_file: Path | None = None
    #: A URL. Proxy variables of the environment are ignored.
    proxy: str | None = None
    timeout: Seconds = 10.0
    concurrency: Concurrency = 4


@provider(IPluginFactory)
class WebhookPlugin(BlockingNotifier):
    """See the module. Files are read when the plugin is built."""

    config_type = WebhookConfig

    def __init__(self, config: WebhookConfig, daemon: IDaemon) -> None:
        self._secrets = _secrets(config)
        self._receiver = _receiver(config)
        # A digest, since several URLs may share a host, and a URL may contain a secret.
        digest = hashlib.sha256(config.url.encode()).hexdigest()
        super().__init__(f"webhook-{digest[:12]}", "url", config.concurrency, daemon)

    def send(self, notification: Notification, now: float) -> None:
        """See :class:`BlockingNotifier`."""
        self._receiver.post(notification.body, self._headers(notification, int(now)), now)

    def _headers(self, notification: Notification, timestamp: int) -> dict[str, str]:
        headers = {"webhook-id": notification.id, "webhook-timestamp": str(timestamp)}
        if self._secrets is not None:
            headers["webhook-signature"] = self._secrets.sign(notification.id, timestamp, notification.body)
        return headers


def _secrets(config: WebhookConfig) -> Secrets | None:
    if config.secret_file is not None:
        return read_secrets(config.secret_file)
    if not config.allow_unsigned:
        text = "is required, or anyone could forge notifications; to send them unsigned, set allow_unsigned = true"
        raise ValueError(f"secret_file: {text}")
    return None


def _receiver(config: WebhookConfig) -> WebhookClient:
    if not config.url:
        raise ValueError("url: is required: where to POST to")
    url = web_address("url", config.url)
    if url.scheme != "https" and not config.allow_http and not is_loopback(url):
        raise ValueError("url: must begin with https:// unless it is on this machine; else set allow_http = true")
    headers = {} if config.headers_file is None else read_headers(config.headers_file)
    to_proxy = {name: headers.pop(name) for name in [PROXY_AUTHORIZATION] if name in headers}
    proxy = None if config.proxy is None else web_address("proxy", config.proxy)
    pool = connections(config.concurrency, config.ca_file, proxy, to_proxy)
    return WebhookClient(url, pool, headers, config.timeout)
