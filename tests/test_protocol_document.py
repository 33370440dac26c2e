"""docs/protocol.rst: references to it resolve; its examples, tables and figures agree with the code."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audiohookd.auth.replay.store import replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import message_signature as signature
from audiohookd.protocol import codec, entities
from audiohookd.protocol.media import MAX_OFFERS, parse_offers
from audiohookd.protocol.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Event, Open, Opened, Parameters
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import LEGAL, TOLERATED, State
from audiohookd.protocol.timeouts import POSITION_LEEWAY, Timeouts

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "protocol.rst"
TEXT = DOCUMENT.read_text("utf-8")
#: "0" to "10.5": the sections that have a number.
HEADINGS = re.findall(r"^(\d+)(?:(?:\.(\d+))|\.) (?=\S).*\n(?:=+|-+)$", TEXT, re.MULTILINE)
SECTIONS = [f"{chapter}.{part}" if part else chapter for chapter, part in HEADINGS]

_NUMBER = r"\d+(?:\.\d+)*"
_LIST = rf"{_NUMBER}(?:(?:,|,? and|,? or| to)\s+{_NUMBER})*"
_of_protocol = re.compile(rf"\bprotocol(?:\.rst)?`{{0,2}},?\s+sections?\s+({_LIST})", re.IGNORECASE)
_of_itself = re.compile(rf"(?<!RFC \d{{4}}, )\bsections?\s+({_LIST})", re.IGNORECASE)
#: The text between the words of a reference that continues on the next line of a comment.
_new_line = re.compile(r"\s*\n[ \t]*(?:#:?[ \t]*)?")


def references(text: str, pattern: re.Pattern[str] = _of_protocol) -> list[str]:
    """The numbers of the sections that ``text`` refers to. "2.3 to 2.5" refers to three sections."""
    numbers: list[str] = []
    for match in pattern.finditer(_new_line.sub(" ", text)):
        numbers += re.findall(_NUMBER, match[1])
        for first, last in re.findall(rf"({_NUMBER}) to ({_NUMBER})", match[1]):
            parent, _, start = first.rpartition(".")
            end = last.rpartition(".")[2]
            numbers += [f"{parent}.{part}".lstrip(".") for part in range(int(start) + 1, int(end))]
    return numbers


def unresolved(text: str, pattern: re.Pattern[str] = _of_protocol) -> list[str]:
    return [number for number in references(text, pattern) if number not in SECTIONS]


def sources() -> Iterator[Path]:
    for root in ("audiohookd", "plugins", "tests", "bench", "docs"):
        for suffix in ("py", "c", "rst", "txt"):
            yield from sorted((ROOT / root).rglob(f"*.{suffix}"))
    yield from sorted(ROOT.glob("*.rst"))


# ---- references -------------------------------------------------------------------------------------


def test_every_reference_to_a_section_resolves() -> None:
    found, wrong = 0, []
    for path in sources():
        if path == Path(__file__):
            continue
        text = path.read_text("utf-8")
        found += len(references(text))
        wrong += [f"{path.relative_to(ROOT)}: protocol section {number}" for number in unresolved(text)]
    assert not wrong
    assert found >= 19  # fewer: references were removed, or the pattern no longer finds them


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("the envelope (protocol section 3.1).", []),
        ("Protocol sections 2.3 to 2.5: authentication", []),
        ("protocol sections 4 to 6", []),
        ("``docs/protocol.rst``, section 5.2", []),
        ("RFC 8259, section 8.9", []),
        ("# as the protocol\n    #: section 3.99 says", ["3.99"]),
        ("protocol section 99", ["99"]),
        ("protocol section 4.1", ["4.1"]),
        ("protocol sections 9.3 to 9.6", ["9.6", "9.5"]),
        ("protocol sections 1.1, 1.9 and 2.7", ["1.9", "2.7"]),
        ("docs/protocol.rst, section 3.2.1", ["3.2.1"]),
    ],
)
def test_a_reference_to_an_unknown_section_is_found(text: str, wrong: list[str]) -> None:
    assert unresolved(text) == wrong


def test_the_document_refers_to_its_own_sections_and_to_files_that_exist() -> None:
    assert unresolved(TEXT, _of_itself) == []
    for path in re.findall(r"``(docs/\S+?)``", TEXT):
        assert (ROOT / path).is_file(), path


def test_sections_are_in_order_and_have_a_label() -> None:
    order = [tuple(map(int, number.split("."))) for number in SECTIONS]
    assert order == sorted(set(order))
    labels = re.findall(r"^\.\. _protocol-([0-9-]+):\n\n(\d+(?:\.\d+)?)\.? ", TEXT, re.MULTILINE)
    assert labels == [(number.replace(".", "-"), number) for number in SECTIONS]


# ---- examples ---------------------------------------------------------------------------------------


def examples(text: str) -> Iterator[dict[str, Any]]:
    """The JSON values in all code blocks."""
    decoder = json.JSONDecoder()
    for block in re.findall(r"^\.\. code-block:: json\n((?:\n| +.*\n)+)", text, re.MULTILINE):
        rest = block.strip()
        while rest:
            value, end = decoder.raw_decode(rest)
            yield value
            rest = rest[end:].lstrip()


def section(number: str) -> str:
    start = TEXT.index(f".. _protocol-{number.replace('.', '-')}:")
    end = TEXT.find("\n.. _protocol-", start)
    return TEXT[start:end] if end >= 0 else TEXT[start:]


EXAMPLES = list(examples(TEXT))


def decoded(message: dict[str, Any]) -> tuple[codec.ClientEnvelope | codec.ServerEnvelope, Parameters]:
    data = json.dumps(message).encode()
    decode = codec.decode_client_envelope if "serverseq" in message else codec.decode_server_envelope
    envelope = decode(data)
    parameters = codec.decode_parameters(envelope)
    assert parameters is not None
    return envelope, parameters


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: f"{message['type']}-{message['seq']}")
def test_an_example_is_a_whole_message(message: dict[str, Any]) -> None:
    envelope, parameters = decoded(message)
    # Decoding ignores unknown fields. Encoding the result shows that there were none.
    if isinstance(envelope, codec.ClientEnvelope):
        data = codec.encode_client(envelope.id, envelope.seq, envelope.serverseq, envelope.position, parameters)
    else:
        data = codec.encode_server(envelope.id, envelope.seq, envelope.clientseq, parameters)
    assert json.loads(data) == message
    if isinstance(parameters, Open | Opened):
        assert len(parse_offers(parameters.media)) == len(parameters.media)
    if isinstance(parameters, Event):
        assert len(entities.encode_entities(parameters.entities)) == len(parameters.entities)
        for entity in parameters.entities:
            assert json.loads(msgspec.json.encode(entities.parse_entity(entity))) == entity


def test_every_type_of_message_has_an_example() -> None:
    assert {message["type"] for message in EXAMPLES if "serverseq" in message} == set(CLIENT_MESSAGES)
    assert {message["type"] for message in EXAMPLES if "clientseq" in message} == set(SERVER_MESSAGES)


def test_every_field_has_a_name_in_the_document() -> None:
    kinds: list[Any] = [
        *CLIENT_MESSAGES.values(),
        *SERVER_MESSAGES.values(),
        codec.ClientEnvelope,
        codec.ServerEnvelope,
    ]
    names = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert {name for name in names if f"``{name}``" not in TEXT} == set()


def test_the_daemon_speaks_the_whole_session() -> None:
    messages = list(examples(section("3.8")))
    (opening,) = (message for message in messages if message["type"] == "open")
    session = Session(opening["id"], opening["parameters"]["organizationId"], Timeouts(), lambda: 0.0)
    (media,) = parse_offers(
        tuple(msgspec.Raw(json.dumps(offer).encode()) for offer in opening["parameters"]["media"])
    )
    ours: dict[str, Callable[[], object]] = {
        "opened": partial(session.accept, media),
        "pause": session.pause,
        "resume": session.resume,
        "closed": session.finish,
    }
    sent = []
    for message in messages:
        if "serverseq" in message:
            session.receive_text(json.dumps(message).encode())
        elif message["type"] in ours:
            ours[message["type"]]()
        sent += [json.loads(data) for data in session.take_outgoing()]
    assert sent == [message for message in messages if "clientseq" in message]
    assert session.state is State.CLOSED


def test_the_signed_request_verifies() -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n)+)", re.sub(r"\\\n +", "", section("2.3")))
    request, base = ([line.strip() for line in block.splitlines()] for block in blocks)
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in request[1:])}
    upgrade = UpgradeRequest(request[0].split()[1], headers)
    (text,) = re.findall(r"client secret is ``(\S+)``", TEXT)
    secret = base64.b64decode(text)
    verified = signature.verify(upgrade, secret, 1767225601)
    assert verified is not None
    assert verified.components == signature.REQUIRED_COMPONENTS
    *components, parameters = base
    mac = signature.mac(secret, "".join(f"{line}\n" for line in components), parameters.split(": ", 1)[1])
    assert mac == verified.value


# ---- tables and figures -----------------------------------------------------------------------------


def rows(title: str) -> list[list[str]]:
    """The cells of the list table that follows ``title``."""
    body = TEXT.split(title, 1)[1].split("\n\n", 2)[1]
    cells = [re.split(r"\n     - ", row) for row in re.split(r"(?:^|\n)   \* - ", body)[1:]]
    return [[" ".join(cell.split()) for cell in row] for row in cells]


def test_the_table_of_states_agrees_with_the_code() -> None:
    header, *table = rows(".. list-table:: Text messages by state")
    states = [State[name] for name in header[1:]]
    assert states == [state for state in State if state is not State.GONE]
    assert [row[0] for row in table] == [
        f"``{name}``"
        for name in (
            "open",
            "ping",
            "paused",
            "resumed",
            "discarded",
            "update",
            "dtmf",
            "barge_in",
            "playback_started",
            "playback_completed",
            "close",
            "error",
        )
    ]
    for name, *cells in table:
        for state, cell in zip(states, cells, strict=True):
            pair = (state, name.strip("`"))
            expected = "act" if pair in LEGAL else "ignore" if pair in TOLERATED else "error"
            assert cell == expected, pair


def test_the_table_of_timers_agrees_with_the_code() -> None:
    table = rows("5.3 Timers\n----------\n\n.. list-table::")
    seconds = [float(row[3].replace(",", "")) for row in table[1:] if row[3] != "–"]
    assert seconds == list(msgspec.structs.astuple(Timeouts()))


@pytest.mark.parametrize(
    "sentence",
    [
        f"audiohookd accepts up to {codec.MAX_RECEIVED:,} bytes and sends up to {codec.MAX_SENT:,}.",
        f"Above {2 * codec.MAX_RECEIVED:,} bytes it closes the WebSocket.",
        f"audiohookd accepts an age of {signature.MAX_AGE} s, and adds {signature.CLOCK_SKEW} s of skew",
        f"twice the skew: {replay_window(signature.MAX_AGE, signature.CLOCK_SKEW):.0f} s.",
        f"At least {signature.MIN_NONCE_LENGTH} characters",
        f"skips offers that it does not know, and reads the first {MAX_OFFERS}.",
        f"as long as the session has been open, plus {POSITION_LEEWAY:.0f} s.",
    ],
)
def test_a_figure_in_a_sentence_is_that_of_the_code(sentence: str) -> None:
    assert sentence in " ".join(TEXT.split())
