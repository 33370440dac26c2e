"""The sockets of all calls, and the one epoll that watches them."""

import select

from bench.generator.call import Call


class Sockets:
    """Tells each leg when its socket is readable, or writable."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._legs: dict[int, Call] = {}

    def watch(self, leg: Call) -> None:
        """From now on, or otherwise than before. See :class:`~bench.generator.call.Owner`."""
        descriptor = leg.fileno()
        wanted = select.EPOLLIN | (select.EPOLLOUT if leg.is_clogged else 0)
        if self._legs.get(descriptor) is leg:
            self._epoll.modify(descriptor, wanted)
        else:  # the kernel has forgotten whoever had the number before, when that was closed
            self._legs[descriptor] = leg
            self._epoll.register(descriptor, wanted)

    def fileno(self) -> int:
        """Can be read when one of the sockets can."""
        return self._epoll.fileno()

    def look(self) -> None:
        """Passes on what has come, without waiting.

        Each answer by itself, at once, would cost 1 to 2 % of a processor with 500 calls.
        """
        for descriptor, event in self._epoll.poll(0):
            leg = self._legs[descriptor]
            if event & select.EPOLLOUT:
                leg.writable()
            if event & ~select.EPOLLOUT and not leg.is_gone:
                leg.readable()
            if leg.is_gone:
                del self._legs[descriptor]

    def close(self) -> None:
        """The watch is over."""
        self._epoll.close()
