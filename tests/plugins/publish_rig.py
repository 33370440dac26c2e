"""The publish plugin, in an environment with the AWS configuration of the test."""

from typing import Any

import pytest

from audiohookd.spool.catalog import Recording
from audiohookd_plugins.publish import PublishConfig, PublishPlugin
from tests.plugins.notification_rig import NotifyingDaemon

REGION = "eu-central-1"


def let_in(monkeypatch: pytest.MonkeyPatch, access_key: str = "AKIDEXAMPLE") -> None:
    """Provides credentials from now on."""
    shut_out(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def shut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provides neither credentials nor a region from now on."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", "/dev/null")


class Sender:
    """The plugin in its own daemon; ``amazon`` is the URL of all services."""

    def __init__(self, amazon: str, service: Any, target: str, **options: Any) -> None:
        self.daemon = NotifyingDaemon()
        given = {"endpoint_url": amazon, "region": REGION, "timeout": 5.0, **options}
        self.plugin = PublishPlugin(PublishConfig(service, target, **given), self.daemon)

    def tell(self, recording: Recording) -> Exception | None:
        return self.daemon.tell(self.plugin, recording)
