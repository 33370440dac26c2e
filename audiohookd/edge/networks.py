"""Networks that calls may come from, or proxies are in: a list in the configuration, and one in a file of its own."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from audiohookd.edge.client_address import Address, parse_address
from audiohookd.text_encoding import decode_text

#: Bytes of a file of networks. Genesys Cloud publishes some hundreds of them for all of its regions.
MAX_FILE = 1_048_576


class NetworkSet:
    """A set of addresses, as networks. Looking one up takes a step for each size of network that there is.

    :param texts: in CIDR notation; a bare address is a network of one.
    :raises ValueError: one that is none, with its text.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._known: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            network = _network(text)
            shift = network.max_prefixlen - network.prefixlen
            self._known.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: Address | None) -> bool:
        """None, an address that nobody could tell, is in none."""
        return address is not None and any(
            int(address) >> shift in known
            for (version, shift), known in self._known.items()
            if version == address.version
        )

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))


def trusts(proxies: NetworkSet | None, peer: str | None) -> bool:
    """Whether to believe what ``peer`` says of where a request comes from. None for the networks: whoever he is."""
    return proxies is None or parse_address(peer or "") in proxies


def read_networks(path: Path) -> list[str]:
    """The networks of a file: one a line; what follows a # is a comment. Blocks.

    :raises ValueError: something in it is wrong, or there is none in it: half a file must not shut everybody out, nor
        let everybody in.
    :raises OSError: it cannot be read.
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
            except ValueError as fault:
                raise ValueError(f"line {number}: {fault}") from None
            found.append(text)
    if not found:
        raise ValueError("has no network in it")
    return found


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is no network such as '192.0.2.0/24'{_meant(text)}") from None


def _meant(text: str) -> str:
    """Bits beyond the prefix are a slip, and whichever way it is taken may be the wrong one."""
    try:
        return f", did you mean '{ip_network(text, strict=False)}'?"
    except ValueError:
        return ""
