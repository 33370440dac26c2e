"""Sets of networks, and the file that lists them."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.edge.client_address import parse_address
from audiohookd.edge.networks import MAX_FILE, NetworkSet, read_networks


def around(address: Any, bits: int) -> Any:
    return ip_network((address, bits), strict=False)


def networks() -> st.SearchStrategy:
    four = st.builds(around, st.ip_addresses(v=4), st.integers(0, 32))
    six = st.builds(around, st.ip_addresses(v=6), st.integers(0, 128))
    return four | six


@given(st.lists(networks(), max_size=20), st.ip_addresses())
def test_a_set_has_the_addresses_of_all_its_networks(some: list[Any], address: Any) -> None:
    assert (address in NetworkSet(map(str, some))) == any(address in network for network in some)


@given(networks())
def test_the_first_and_the_last_address_are_in_a_network(network: Any) -> None:
    known = NetworkSet([str(network)])
    assert network.network_address in known
    assert network.broadcast_address in known
    assert len(known) == 1


def test_a_bare_address_is_a_network_of_one_address() -> None:
    assert parse_address("192.0.2.1") in NetworkSet(["192.0.2.1"])
    assert parse_address("192.0.2.2") not in NetworkSet(["192.0.2.1"])


def test_an_unknown_address_is_in_no_network() -> None:
    assert None not in NetworkSet(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.0/33", "'192.0.2.0/33' is not a network such as '192.0.2.0/24'"),
        ("example.com", "'example.com' is not a network such as '192.0.2.0/24'"),
        ("192.0.2.7/24", "'192.0.2.7/24' is not a network such as '192.0.2.0/24', did you mean '192.0.2.0/24'?"),
    ],
)
def test_an_invalid_network_is_reported(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"\A{re.escape(expected)}\Z"):
        NetworkSet(["::/0", text])


class TestFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "allow"

    def test_file_has_one_network_per_line_and_comments(self, file: Path) -> None:
        file.write_text("# Frankfurt\n192.0.2.0/24 # first\n\n  2001:db8::/32\r\n#198.51.100.0/24\n")
        assert read_networks(file) == ["192.0.2.0/24", "2001:db8::/32"]

    def test_one_bad_line_makes_the_file_invalid(self, file: Path) -> None:
        file.write_text("192.0.2.0/24\n192.0.2.\n")
        with pytest.raises(ValueError, match=r"line 2: '192\.0\.2\.' is not a network"):
            read_networks(file)

    @pytest.mark.parametrize("content", [b"", b"# none\n", b"\n\n"])
    def test_empty_file_is_invalid(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with pytest.raises(ValueError, match="contains no network"):
            read_networks(file)

    def test_file_size_is_limited(self, file: Path) -> None:
        file.write_bytes(b"#" * (MAX_FILE + 1))
        with pytest.raises(ValueError, match="larger than"):
            read_networks(file)

    @pytest.mark.parametrize("content", [b"\xff\xfe1\x00", b"192.0.2.0/24\x00"])
    def test_binary_file_is_invalid(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"line 1: .* is not a network"):
            read_networks(file)
