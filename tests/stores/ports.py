"""Free ports on loopback."""

import random
import socket


def free_ports(count: int, spare: int = 0) -> list[int]:
    """``count`` different free ports, below the kernel's range for outgoing connections.

    :param spare: the port this far above each of them is free, too.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(10_000, 32_000 - spare)
        if port not in ports and _is_free(port) and _is_free(port + spare):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
