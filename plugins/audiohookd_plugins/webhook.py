"""Tells of recordings by HTTP: POSTs a signed notice in JSON, again and again until the answer is a success."""

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
    #: Secrets to sign with, one a line.
    secret_file: Path | None = None
    #: Without a secret this has to be said.
    allow_unsigned: bool = False
    #: Without TLS, other machines have to be allowed.
    allow_http: bool = False
    #: Further headers, "Name: value", one a line.
    headers_file: Path | None = None
    #: Certificates to trust, in place of the system's.
    ca_file: Path | None = None
    #: A URL. What the environment says of proxies is for others.
    proxy: str | None = None
    timeout: Seconds = 10.0
    concurrency: Concurrency = 4


@provider(IPluginFactory)
class WebhookPlugin(BlockingNotifier):
    """See the module. All that it needs is read when it is built."""

    config_type = WebhookConfig

    def __init__(self, config: WebhookConfig, daemon: IDaemon) -> None:
        self._secrets = _secrets(config)
        self._receiver = _receiver(config)
        # There may be several, even at one host. Not the URL itself: it may be as good as a password.
        digest = hashlib.sha256(config.url.encode()).hexdigest()
        super().__init__(f"webhook-{digest[:12]}", "url", config.concurrency, daemon)

    def send(self, notice: Notification, now: float) -> None:
        """See :class:`BlockingNotifier`."""
        self._receiver.post(notice.body, self._headers(notice, int(now)), now)

    def _headers(self, notice: Notification, timestamp: int) -> dict[str, str]:
        headers = {"webhook-id": notice.id, "webhook-timestamp": str(timestamp)}
        if self._secrets is not None:
            headers["webhook-signature"] = self._secrets.sign(notice.id, timestamp, notice.body)
        return headers


def _secrets(config: WebhookConfig) -> Secrets | None:
    if config.secret_file is not None:
        return read_secrets(config.secret_file)
    if not config.allow_unsigned:
        raise ValueError("secret_file: is needed, or anybody could send such notices; else say allow_unsigned = true")
    return None


def _receiver(config: WebhookConfig) -> WebhookClient:
    if not config.url:
        raise ValueError("url: is needed: where to POST to")
    url = web_address("url", config.url)
    if url.scheme != "https" and not config.allow_http and not is_loopback(url):
        raise ValueError("url: must begin with https:// where it is not on this machine; else say allow_http = true")
    headers = {} if config.headers_file is None else read_headers(config.headers_file)
    to_proxy = {name: headers.pop(name) for name in [PROXY_AUTHORIZATION] if name in headers}
    proxy = None if config.proxy is None else web_address("proxy", config.proxy)
    pool = connections(config.concurrency, config.ca_file, proxy, to_proxy)
    return WebhookClient(url, pool, headers, config.timeout)
