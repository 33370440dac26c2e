"""The time that a rejection takes does not reveal whether the API key is known."""

import statistics
import time
from collections.abc import Mapping

import pytest
from twisted.internet.task import Clock

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import MAX_INPUT, MAX_SIGNATURE
from audiohookd.websocket.protocol import REJECTION_TIME
from tests.auth.foreign_signer import API_KEY, CREATED, SECRET, replaced, signed, unsigned

ROUNDS = 300
#: Largest ratio of the times of two requests that must be indistinguishable. Noise on a busy machine reaches 1.15.
ALIKE = 1.3
#: Of all the time that a refusal takes: so much at most may be work, or the rest would not hide it.
SHARE = 0.1

#: Of one length, for that is what the caller knows anyway.
OPEN_KEY, ROTATED_KEY, EXPIRED_KEY, UNKNOWN = (API_KEY[:-1] + letter for letter in "ABCD")
KEYS = {
    API_KEY: Key((SECRET,)),
    OPEN_KEY: Key((b"",)),
    ROTATED_KEY: Key((b"new", b"newer"), previous=(b"old", b"older"), previous_until=CREATED + 1000),
    EXPIRED_KEY: Key((SECRET,), not_after=CREATED - 1),
}
KNOWN = tuple(KEYS)


def medians(requests: Mapping[str, UpgradeRequest]) -> dict[str, float]:
    """Returns the seconds to reject each, measured in turns, so that other load affects all of them."""
    authenticator = Authenticator(Keys(KEYS), MemoryReplayStore(16, Clock().seconds))
    taken: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(ROUNDS):
        for name, request in requests.items():
            begun = time.perf_counter()
            judged = authenticator.authenticate(request, CREATED)
            taken[name].append(time.perf_counter() - begun)
            judged.addCallback(lambda verdict: _expect_refusal(verdict.accepted))
    return {name: statistics.median(times) for name, times in taken.items()}


def _expect_refusal(accepted: bool) -> None:
    assert not accepted


def wrong(api_key: str) -> UpgradeRequest:
    return signed(headers={"x-api-key": api_key}, keyid=f'"{api_key}"', secret=b"a guess")


def malformed(api_key: str) -> UpgradeRequest:
    return replaced(wrong(api_key), signature_input='sig1=("@request-target" "@authority")), x')


def incomplete(api_key: str) -> UpgradeRequest:
    return replaced(wrong(api_key), signature="other=:AA==:")


def several(api_key: str) -> UpgradeRequest:
    """As many forgeries as are verified, and more."""
    one = wrong(api_key).headers
    members = {name: one[name].removeprefix("sig1=") for name in ("signature", "signature-input")}
    values = {name: ", ".join(f"s{n}={text}" for n in range(6)) for name, text in members.items()}
    return replaced(wrong(api_key), **{name.replace("-", "_"): value for name, value in values.items()})


@pytest.mark.parametrize("kind", [wrong, malformed, incomplete, several])
def test_a_known_key_takes_as_long_as_an_unknown_one(kind: object) -> None:
    assert callable(kind)
    found = medians({api_key: kind(api_key) for api_key in (UNKNOWN, *KNOWN)})
    assert max(found.values()) <= ALIKE * min(found.values()), found


def test_an_unsigned_request_takes_equally_long_for_all_keys() -> None:
    secured = (API_KEY, ROTATED_KEY, EXPIRED_KEY)  # OPEN_KEY would be let in
    found = medians({api_key: unsigned(x_api_key=api_key) for api_key in (UNKNOWN, *secured)})
    # A few microseconds, of which a look into a table is one.
    assert max(found.values()) <= 2 * min(found.values()) + 20e-6, found


def test_any_request_takes_a_small_part_of_the_rejection_delay() -> None:
    long_list = 'sig1=("a"' + ' "a"' * (MAX_INPUT // 4 - 10) + ")"
    requests = {
        "nothing": UpgradeRequest("/", {}),
        "wrong": wrong(API_KEY),
        "malformed": malformed(API_KEY),
        "many components": replaced(wrong(API_KEY), signature_input=long_list + ';created=1;keyid="k";nonce="n"'),
        "many parameters": replaced(wrong(API_KEY), signature_input="sig1=()" + ";a" * (MAX_INPUT // 2 - 10)),
        "many members": replaced(wrong(API_KEY), signature_input=",".join(f"a{n}" for n in range(400))),
        "brackets": replaced(wrong(API_KEY), signature_input="sig1=" + "(" * (MAX_INPUT - 5)),
        "a long signature": replaced(wrong(API_KEY), signature="sig1=:" + "A" * (MAX_SIGNATURE - 7) + ":"),
        "many signatures": replaced(
            wrong(API_KEY),
            signature_input=",".join(f'a{n}=();created=1;keyid="k";nonce="n"' for n in range(40)),
            signature=",".join(f"a{n}=:AA==:" for n in range(80)),
        ),
        "many signatures of no use": replaced(
            wrong(API_KEY),
            signature_input=",".join(f"a{n}" for n in range(80)),
            signature=",".join(f"a{n}=:AA==:" for n in range(80)),
        ),
        "signatures of our kind": several(API_KEY),
        "too long": replaced(wrong(API_KEY), signature_input="sig1=()" + ";a" * 8_000),
    }
    found = medians(requests)
    assert max(found.values()) <= SHARE * REJECTION_TIME, found
