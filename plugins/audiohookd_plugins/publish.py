"""Announces recordings through Amazon SNS, SQS or EventBridge."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from zope.interface import provider

from audiohookd.interfaces import IDaemon, IPluginFactory
from audiohookd_plugins.aws import check_endpoint
from audiohookd_plugins.notifications.aws_service import AwsService, default_region, failure
from audiohookd_plugins.notifications.notifier import BlockingNotifier, Concurrency, Seconds
from audiohookd_plugins.notifications.payload import Notification

#: Bytes. The services accept 256 KiB, which includes more than the JSON.
LIMIT = 250_000
#: The ``Source`` of EventBridge events.
SOURCE = "audiohookd"

#: The form of a conversation's id that is valid as a message group.
_GROUP = re.compile(r"[!-~]{1,128}")


class PublishConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.publish]``."""

    service: Literal["sns", "sqs", "eventbridge"] = "sns"
    #: ARN of a topic; URL of a queue; name or ARN of an event bus.
    target: str = ""
    #: Default: the region in the target, or else in AWS's own configuration.
    region: str | None = None
    #: Default: Amazon's.
    endpoint_url: str | None = None
    timeout: Seconds = 10.0
    concurrency: Concurrency = 4


@provider(IPluginFactory)
class PublishPlugin(BlockingNotifier):
    """See the module. Credentials are looked up by the first request."""

    config_type = PublishConfig
    limit = LIMIT

    def __init__(self, config: PublishConfig, daemon: IDaemon) -> None:
        self._target = config.target
        self._api = _APIS[config.service]
        found = self._api.target.fullmatch(config.target)
        if found is None:
            raise ValueError(f"target: must be {self._api.example}")
        region = config.region or found["region"] or default_region()
        if not region:
            raise ValueError("region: is needed: neither target nor AWS's own configuration names one")
        if config.endpoint_url is not None:
            check_endpoint("endpoint_url", config.endpoint_url)
        self._service = AwsService(self._api.client, region, config.endpoint_url, config.timeout, config.concurrency)
        # buses in different regions may have the same name
        place = config.endpoint_url or region
        super().__init__(f"publish-{config.target} at {place}", "target", config.concurrency, daemon)

    def send(self, notification: Notification, now: float) -> None:
        """See :class:`BlockingNotifier`."""
        answer = self._service.call(self._api.operation, self._api.parameters(self._target, notification), now)
        if answer.get("FailedEntryCount"):  # EventBridge rejects entries with status 200
            (entry,) = answer["Entries"]
            raise failure(entry.get("ErrorCode", "Unknown"), entry.get("ErrorMessage", ""))


class _ServiceApi(NamedTuple):
    """How to publish to a service: boto3's client, the method, and its arguments."""

    client: str
    operation: str
    parameters: Callable[[str, Notification], Mapping[str, Any]]
    #: The form of a target, with a group for its region.
    target: re.Pattern[str]
    example: str


def _to_topic(target: str, notification: Notification) -> Mapping[str, Any]:
    return {
        "TopicArn": target,
        "Message": notification.body.decode(),
        **_attributes(notification),
        **_order(target, notification),
    }


def _to_queue(target: str, notification: Notification) -> Mapping[str, Any]:
    return {
        "QueueUrl": target,
        "MessageBody": notification.body.decode(),
        **_attributes(notification),
        **_order(target, notification),
    }


def _to_bus(target: str, notification: Notification) -> Mapping[str, Any]:
    entry = {
        "EventBusName": target,
        "Source": SOURCE,
        "DetailType": notification.type,
        "Detail": notification.body.decode(),
        "Time": notification.at,
    }
    return {"Entries": [entry]}


def _attributes(notification: Notification) -> Mapping[str, Any]:
    """Message attributes, for subscribers to filter by."""
    values = {"type": notification.type, "recording": notification.id, "conversation": _conversation(notification)}
    return {
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value is not None
        }
    }


def _order(target: str, notification: Notification) -> Mapping[str, str]:
    """FIFO queues and topics deduplicate notifications, and keep the order within a conversation."""
    if not target.endswith(".fifo"):
        return {}
    return {
        "MessageDeduplicationId": notification.id,
        "MessageGroupId": _conversation(notification) or notification.id,
    }


def _conversation(notification: Notification) -> str | None:
    conversation = notification.conversation or ""
    return conversation if _GROUP.fullmatch(conversation) else None


_APIS: Mapping[str, _ServiceApi] = {
    "sns": _ServiceApi(
        "sns",
        "publish",
        _to_topic,
        re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_.-]+"),
        "the ARN of a topic, arn:aws:sns:REGION:ACCOUNT:NAME",
    ),
    "sqs": _ServiceApi(
        "sqs",
        "send_message",
        _to_queue,
        re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?|[\w.:\[\]-]+)/\w+/[\w.-]+"),
        "the URL of a queue, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
    ),
    "eventbridge": _ServiceApi(
        "events",
        "put_events",
        _to_bus,
        re.compile(r"arn:[a-z-]+:events:(?P<region>[a-z0-9-]+):\d{12}:event-bus/[\w./-]+|[\w./-]{1,256}", re.ASCII),
        "the name of an event bus, or its ARN, arn:aws:events:REGION:ACCOUNT:event-bus/NAME",
    ),
}
