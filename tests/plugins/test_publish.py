"""Notifications through AWS services, as their subscribers receive them."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from audiohookd.interfaces import INotifier, IPlugin, IPluginFactory, Unavailable
from audiohookd.plugin_host import Daemon
from audiohookd.spool.catalog import Recording
from audiohookd.testing import FakeSession
from audiohookd_plugins.publish import LIMIT, PublishConfig, PublishPlugin
from tests.plugins.notification_rig import ABOUT, CONVERSATION, ID, OTHER_ID, a_recording
from tests.plugins.publish_rig import REGION, Sender, let_in


@pytest.fixture(scope="module")
def amazon() -> Iterator[str]:
    """The URL of all AWS services."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return a_recording(tmp_path)


class Queue:
    """A queue, and the messages in it."""

    def __init__(self, amazon: str, name: str) -> None:
        self._client = client(amazon, "sqs")
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self.url: str = self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.arn: str = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]

    def messages(self) -> list[dict[str, Any]]:
        return self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            WaitTimeSeconds=0,
        ).get("Messages", [])


@functools.cache
def client(amazon: str, service: str) -> Any:
    """Clients are slow to create, so they are shared."""
    return boto3.client(service, endpoint_url=amazon, region_name=REGION)


def attributes(message: dict[str, Any]) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


ATTRIBUTES = {"type": "recording.stored", "recording": ID, "conversation": CONVERSATION}


def test_the_plugin_keeps_the_contract(amazon: str) -> None:
    sender = Sender(amazon, "sqs", f"{amazon}/123456789012/x", concurrency=3)
    assert verifyObject(IPluginFactory, PublishPlugin)
    assert verifyObject(IPlugin, sender.plugin)
    assert verifyObject(INotifier, sender.plugin)
    assert sender.plugin.observe(FakeSession()) is None
    ((_, threads, _),) = sender.daemon.asked
    assert (sender.plugin.concurrency, threads) == (3, 3)


def test_buses_of_one_name_may_be_in_two_regions() -> None:
    daemon = Daemon(Clock(), lambda: 0.0, None)  # type: ignore[arg-type]
    places: list[dict[str, Any]] = [{}, {"region": "us-east-1"}, {"endpoint_url": "https://a.example"}]
    for table, place in enumerate(places):
        config = PublishConfig("eventbridge", "calls", **{"region": REGION, **place})
        PublishPlugin(config, daemon.of_plugin(f"bus{table}"))
    assert len(daemon.pools) == 3


def test_two_tables_with_one_target_are_a_mistake() -> None:
    daemon = Daemon(Clock(), lambda: 0.0, None)  # type: ignore[arg-type]
    config = PublishConfig("eventbridge", "calls", region=REGION)
    PublishPlugin(config, daemon.of_plugin("bus"))
    with pytest.raises(ValueError, match=r"^target: another table notifies the same receiver"):
        PublishPlugin(config, daemon.of_plugin("publish"))


class TestSqs:
    def test_a_message_has_body_and_attributes(self, amazon: str, recording: Recording) -> None:
        queue = Queue(amazon, "calls")
        assert Sender(amazon, "sqs", queue.url).tell(recording) is None
        (message,) = queue.messages()
        notice = json.loads(message["Body"])
        assert (notice["type"], notice["id"]) == ("recording.stored", ID)
        assert notice["data"]["stored"]["s3"]["bucket"] == "calls"
        assert attributes(message) == ATTRIBUTES

    def test_of_equal_ones_a_fifo_queue_passes_on_one(self, amazon: str, tmp_path: Path) -> None:
        queue = Queue(amazon, "calls.fifo")
        for recording_id in (ID, OTHER_ID, ID):
            sender = Sender(amazon, "sqs", queue.url)
            assert sender.tell(a_recording(tmp_path, recording_id=recording_id)) is None
        messages = queue.messages()
        assert [json.loads(message["Body"])["id"] for message in messages] == [ID, OTHER_ID]
        assert {message["Attributes"]["MessageGroupId"] for message in messages} == {CONVERSATION}
        assert [message["Attributes"]["MessageDeduplicationId"] for message in messages] == [ID, OTHER_ID]

    def test_a_conversation_without_a_proper_name_is_a_group_of_one(self, amazon: str, tmp_path: Path) -> None:
        queue = Queue(amazon, "odd.fifo")
        sender = Sender(amazon, "sqs", queue.url)
        odd = {f"{number}{ID[1:]}": text for number, text in enumerate([None, "", "a b", "ä", "x" * 129])}
        for recording_id, text in odd.items():
            recording = a_recording(tmp_path, {**ABOUT, "conversation": text}, recording_id=recording_id)
            assert sender.tell(recording) is None
        messages = queue.messages()
        assert [message["Attributes"]["MessageGroupId"] for message in messages] == list(odd)
        assert [json.loads(message["Body"])["data"]["conversation"] for message in messages] == list(odd.values())
        assert {"conversation"} & {name for message in messages for name in attributes(message)} == set()

    def test_receipts_are_left_out_when_they_are_too_large(self, amazon: str, tmp_path: Path) -> None:
        queue = Queue(amazon, "large")
        recording = a_recording(tmp_path, receipts={"s3": {"parts": ["x" * 1000] * 300}})
        assert Sender(amazon, "sqs", queue.url).tell(recording) is None
        (message,) = queue.messages()
        assert len(message["Body"]) < LIMIT
        data = json.loads(message["Body"])["data"]
        assert (data["truncated"], data["stored"]) == (True, {"s3": {}})

    def test_no_such_queue_yet(self, amazon: str, recording: Recording) -> None:
        """Nothing can be sent, so the delivery of all recordings pauses."""
        sender = Sender(amazon, "sqs", f"{amazon}/123456789012/later")
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert "QueueDoesNotExist" in str(fault) or "NonExistentQueue" in str(fault)
        queue = Queue(amazon, "later")
        assert sender.tell(recording) is None
        assert len(queue.messages()) == 1


class TestSns:
    def test_every_subscriber_gets_it(self, amazon: str, recording: Recording) -> None:
        sns = client(amazon, "sns")
        topic = sns.create_topic(Name="calls")["TopicArn"]
        raw, wrapped, other = (Queue(amazon, f"sns-{name}") for name in ("raw", "wrapped", "other"))
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=raw.arn, Attributes={"RawMessageDelivery": "true"})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=wrapped.arn)
        policy = json.dumps({"conversation": ["another"]})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=other.arn, Attributes={"FilterPolicy": policy})
        assert Sender(amazon, "sns", topic).tell(recording) is None
        (message,) = raw.messages()
        assert json.loads(message["Body"])["id"] == ID
        assert attributes(message) == ATTRIBUTES
        (message,) = wrapped.messages()
        assert json.loads(json.loads(message["Body"])["Message"])["id"] == ID
        assert other.messages() == []

    def test_of_equal_ones_a_fifo_topic_passes_on_one(self, amazon: str, recording: Recording) -> None:
        sns = client(amazon, "sns")
        topic = sns.create_topic(Name="calls.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
        queue = Queue(amazon, "sns.fifo")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
        sender = Sender(amazon, "sns", topic)
        assert [sender.tell(recording), sender.tell(recording)] == [None, None]
        (message,) = queue.messages()
        assert message["Attributes"]["MessageGroupId"] == CONVERSATION

    def test_no_such_topic(self, amazon: str, recording: Recording) -> None:
        fault = Sender(amazon, "sns", f"arn:aws:sns:{REGION}:123456789012:gone").tell(recording)
        assert isinstance(fault, Unavailable)
        assert str(fault).startswith("NotFound: ")


class TestEventBridge:
    def test_an_event_that_rules_can_match(self, amazon: str, recording: Recording) -> None:
        events = client(amazon, "events")
        bus = events.create_event_bus(Name="calls")["EventBusArn"]
        queue, other = Queue(amazon, "matched"), Queue(amazon, "unmatched")
        for target, kind in ((queue, "recording.stored"), (other, "recording.ready")):
            pattern = json.dumps({"source": ["audiohookd"], "detail-type": [kind]})
            events.put_rule(Name=kind, EventPattern=pattern, EventBusName="calls")
            events.put_targets(Rule=kind, EventBusName="calls", Targets=[{"Id": "1", "Arn": target.arn}])
        for name in (bus, "calls"):
            assert Sender(amazon, "eventbridge", name).tell(recording) is None
        messages = [json.loads(message["Body"]) for message in queue.messages()]
        assert len(messages) == 2
        assert other.messages() == []
        for event in messages:
            assert (event["source"], event["detail-type"]) == ("audiohookd", "recording.stored")
            assert event["detail"]["data"]["recording"] == ID
            assert event["time"].startswith("2026-01-01T12:05:00")
