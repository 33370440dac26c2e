"""Sets of networks, for the allow list and for trusted proxies. From the configuration, or from a file."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from audiohookd.edge.client_address import Address, parse_address
from audiohookd.text_encoding import decode_text

#: Largest file of networks, in bytes. Genesys Cloud publishes some hundreds of networks for all of its regions.
MAX_FILE = 1_048_576


class NetworkSet:
    """A set of networks. A look-up takes one step for each prefix length in the set.

    :param texts: in CIDR notation; a bare address is a network of one address.
    :raises ValueError: a text is not a network. The error quotes it.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._known: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            network = _network(text)
            shift = network.max_prefixlen - network.prefixlen
            self._known.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: Address | None) -> bool:
        """Whether a network has the address. An unknown address (None) is in no network."""
        return address is not None and any(
            int(address) >> shift in known
            for (version, shift), known in self._known.items()
            if version == address.version
        )

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))


def trusts(proxies: NetworkSet | None, peer: str | None) -> bool:
    """Whether to trust ``X-Forwarded-For`` from ``peer``. Without a set of proxies, every peer is trusted."""
    return proxies is None or parse_address(peer or "") in proxies


def read_networks(path: Path) -> list[str]:
    """Reads the networks in a file: one on each line, with comments after #. Blocks.

    :raises ValueError: a line is not a network, or the file has none. A file that is written only in part must
        neither reject all clients nor accept all.
    :raises OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE} bytes")
    found = []
    for number, line in enumerate(decode_text(content, "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                _network(text)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            found.append(text)
    if not found:
        raise ValueError("contains no network")
    return found


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not a network such as '192.0.2.0/24'{_suggestion(text)}") from None


def _suggestion(text: str) -> str:
    """Suggests a network for an address with bits beyond its prefix. It is only a hint: the prefix may be wrong."""
    try:
        return f", did you mean '{ip_network(text, strict=False)}'?"
    except ValueError:
        return ""
