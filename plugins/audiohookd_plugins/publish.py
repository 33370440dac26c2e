"""Tells of recordings through Amazon SNS, SQS or EventBridge."""

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

#: The services take 256 KiB; this leaves room for what they count besides the JSON. Bytes.
LIMIT = 250_000
#: Who says so, on EventBridge.
SOURCE = "audiohookd"

#: A conversation's id has to be like this to be the name of a group.
_GROUP = re.compile(r"[!-~]{1,128}")


class PublishConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.publish]``."""

    service: Literal["sns", "sqs", "eventbridge"] = "sns"
    #: ARN of a topic; URL of a queue; name or ARN of an event bus.
    target: str = ""
    #: Left out: that of the target, or else of AWS's own configuration.
    region: str | None = None
    #: Left out: Amazon's.
    endpoint_url: str | None = None
    timeout: Seconds = 10.0
    concurrency: Concurrency = 4


@provider(IPluginFactory)
class PublishPlugin(BlockingNotifier):
    """See the module. Credentials are looked for when there is something to publish."""

    config_type = PublishConfig
    limit = LIMIT

    def __init__(self, config: PublishConfig, daemon: IDaemon) -> None:
        self._target = config.target
        self._way = _WAYS[config.service]
        found = self._way.target.fullmatch(config.target)
        if found is None:
            raise ValueError(f"target: must be {self._way.example}")
        region = config.region or found["region"] or default_region()
        if not region:
            raise ValueError("region: is needed: neither target nor AWS's own configuration names one")
        if config.endpoint_url is not None:
            check_endpoint("endpoint_url", config.endpoint_url)
        self._service = AwsService(self._way.client, region, config.endpoint_url, config.timeout, config.concurrency)
        # A bus has the same name in every region.
        place = config.endpoint_url or region
        super().__init__(f"publish-{config.target} at {place}", "target", config.concurrency, daemon)

    def send(self, notice: Notification, now: float) -> None:
        """See :class:`BlockingNotifier`."""
        answer = self._service.call(self._way.operation, self._way.parameters(self._target, notice), now)
        if answer.get("FailedEntryCount"):  # EventBridge refuses with status 200
            (entry,) = answer["Entries"]
            raise failure(entry.get("ErrorCode", "Unknown"), entry.get("ErrorMessage", ""))


class _Way(NamedTuple):
    """How a service is told: which client of boto3, which of its methods, with which arguments."""

    client: str
    operation: str
    parameters: Callable[[str, Notification], Mapping[str, Any]]
    #: What a target looks like, with the region in it where it names one.
    target: re.Pattern[str]
    example: str


def _to_topic(target: str, notice: Notification) -> Mapping[str, Any]:
    return {"TopicArn": target, "Message": notice.body.decode(), **_attributes(notice), **_order(target, notice)}


def _to_queue(target: str, notice: Notification) -> Mapping[str, Any]:
    return {"QueueUrl": target, "MessageBody": notice.body.decode(), **_attributes(notice), **_order(target, notice)}


def _to_bus(target: str, notice: Notification) -> Mapping[str, Any]:
    entry = {
        "EventBusName": target,
        "Source": SOURCE,
        "DetailType": notice.type,
        "Detail": notice.body.decode(),
        "Time": notice.at,
    }
    return {"Entries": [entry]}


def _attributes(notice: Notification) -> Mapping[str, Any]:
    """For subscribers to filter by."""
    values = {"type": notice.type, "recording": notice.id, "conversation": _conversation(notice)}
    return {
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value is not None
        }
    }


def _order(target: str, notice: Notification) -> Mapping[str, str]:
    """FIFO queues and topics pass on one of two equal notices, and those of one conversation in order."""
    if not target.endswith(".fifo"):
        return {}
    return {"MessageDeduplicationId": notice.id, "MessageGroupId": _conversation(notice) or notice.id}


def _conversation(notice: Notification) -> str | None:
    conversation = notice.conversation or ""
    return conversation if _GROUP.fullmatch(conversation) else None


_WAYS: Mapping[str, _Way] = {
    "sns": _Way(
        "sns",
        "publish",
        _to_topic,
        re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_.-]+"),
        "the ARN of a topic, arn:aws:sns:REGION:ACCOUNT:NAME",
    ),
    "sqs": _Way(
        "sqs",
        "send_message",
        _to_queue,
        re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?|[\w.:\[\]-]+)/\w+/[\w.-]+"),
        "the URL of a queue, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
    ),
    "eventbridge": _Way(
        "events",
        "put_events",
        _to_bus,
        re.compile(r"arn:[a-z-]+:events:(?P<region>[a-z0-9-]+):\d{12}:event-bus/[\w./-]+|[\w./-]{1,256}", re.ASCII),
        "the name of an event bus, or its ARN, arn:aws:events:REGION:ACCOUNT:event-bus/NAME",
    ),
}
