"""What happened how often, since the start: plain numbers, for logs and for whoever asks."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from audiohookd.escaping import printable

#: Every name there is. A label is a plugin's name or one of a few fixed words, never an id: ids would grow for ever.
CATALOGUE: Final = {
    "connections": "WebSocket upgrades accepted",
    "refusals": "upgrades or sessions refused, by reason",
    "limits": "connections, sessions and messages that were beyond a limit, by limit",
    "bad_reloads": "files that changed, but something in them is wrong, so that they were not taken over, by name",
    "replay_store_failures": "requests for which the replay store had no answer, by what was done",
    "sessions": "sessions opened",
    "probes": "connection probes answered",
    "endings": "sessions ended, by reason",
    "unrecorded": "sessions that no plugin recorded, on routes without record = false",
    "faults": "sessions in which the client broke the protocol",
    "tolerated": "oddities of clients that do no harm, by kind",
    "peer_errors": "error messages of clients",
    "plugin_failures": "failures of plugins, by plugin",
    "late_callbacks": "callbacks of plugins that took too long and were cancelled, by plugin",
    "required_failures": "sessions ended because a plugin failed that they require, by plugin",
    "unhandled_plugin_errors": "errors in timers and Deferreds of plugins that the plugin did not handle, by plugin",
    "limited_sends": "events and pauses of plugins that were not sent because they were too many, by plugin",
    "overflow_samples": "samples that a plugin was too slow for, by plugin",
    "overflow_messages": "messages to clients that a plugin was too slow for, by plugin",
    "late_admissions": "sessions opened without waiting any longer for plugins",
    "crowded_out": "connections dropped before their upgrade, because too many waited for one",
    "key_refresh_failures": "times that keys could not be loaded again, by source",
    "clogged": "connections dropped because the client did not read",
    "repaired": "drafts that were left behind, by what became of them",
    "obstacles": "times that new calls were refused from then on because they could not be recorded, by cause",
    "removals": "recordings, stored elsewhere, that were removed here because of their age or for lack of room",
    "stored": "recordings stored elsewhere, by carrier",
    "told": "recordings told of, by notifier",
    "delivery_failures": "recordings that failed and are tried again, by carrier or notifier",
    "outages": "times that a carrier or notifier became unavailable, by its name",
    "dead_letters": "recordings that can never be delivered, by carrier or notifier",
    "disk_faults": "writes of recordings that the disk refused, by error, commits that stalled, syncs",
    "disk_lost_samples": "samples of recordings that the disk refused, which are silence now",
    "unmade_lines": "commits of a recording with entries that a plugin could not make",
    "slow_commits": "writes of recordings that took longer than promised",
    "slow_syncs": "rounds of syncing recordings that took longer than promised",
    "threads_refused": "times that the system refused a thread to a pool, by pool",
    "loop_failures": "turns of periodic work that failed, by loop",
    "loop_stalls": "times that periodic work had stopped and was started again, by loop",
    "reactor_blocks": "times that the reactor was blocked for 100 ms or more and all calls waited, by plugin",
    "reactor_blocked_seconds": "seconds that the reactor was blocked, 100 ms or more at a time, by plugin",
    "internal_errors": "errors of our own, in sessions and upgrades",
}


#: What the label of a name says, for those that have one.
LABELS: Final = {
    "refusals": "reason",
    "limits": "limit",
    "bad_reloads": "file",
    "replay_store_failures": "done",
    "endings": "reason",
    "tolerated": "kind",
    "plugin_failures": "plugin",
    "late_callbacks": "plugin",
    "required_failures": "plugin",
    "unhandled_plugin_errors": "plugin",
    "limited_sends": "plugin",
    "overflow_samples": "plugin",
    "overflow_messages": "plugin",
    "repaired": "outcome",
    "obstacles": "cause",
    "removals": "cause",
    "stored": "carrier",
    "told": "notifier",
    "delivery_failures": "plugin",
    "outages": "plugin",
    "dead_letters": "plugin",
    "disk_faults": "error",
    "key_refresh_failures": "source",
    "threads_refused": "pool",
    "loop_failures": "loop",
    "loop_stalls": "loop",
    "reactor_blocks": "plugin",
    "reactor_blocked_seconds": "plugin",
}

#: The largest values since the start.
MAXIMA: Final = {
    "reactor_longest_block_seconds": "the longest time that the reactor was blocked since the start, by plugin",
}
MAXIMA_LABELS: Final = {"reactor_longest_block_seconds": "plugin"}
#: Names whose unit is the second. They are counted in milliseconds, for counts are integers.
IN_MILLISECONDS: Final = {"reactor_blocked_seconds", "reactor_longest_block_seconds"}


class Counters:
    """Counts by name and label. For the reactor thread alone."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._maxima: dict[tuple[str, str], int] = {}

    def count(self, name: str, label: str = "", amount: int = 1) -> int:
        """Adds ``amount``; returns what was there before.

        :raises KeyError: a name that is not in :data:`CATALOGUE`.
        """
        if name not in CATALOGUE:
            raise KeyError(name)
        before = self._counts[name, label]
        self._counts[name, label] = before + amount
        return before

    def reach(self, name: str, label: str, value: int) -> None:
        """Keeps ``value`` if it is the largest so far.

        :raises KeyError: a name that is not in :data:`MAXIMA`.
        """
        if name not in MAXIMA:
            raise KeyError(name)
        self._maxima[name, label] = max(value, self._maxima.get((name, label), 0))

    def expect(self, name: str, labels: Iterable[str]) -> None:
        """Lists what is going to be counted by these labels from now on, at 0: of what is not there none sees a rise.

        :raises KeyError: a name that has no label.
        """
        LABELS[name]
        for label in labels:
            self._counts[name, label] += 0

    def value(self, name: str, label: str = "") -> int:
        """The count so far."""
        return self._counts[name, label]

    def maxima(self) -> list[tuple[str, str, int]]:
        """All of :data:`MAXIMA` that were reached: name, label, value; sorted."""
        return sorted((name, label, value) for (name, label), value in self._maxima.items())

    def items(self) -> list[tuple[str, str, int]]:
        """All of them: name, label, count; sorted."""
        return sorted((name, label, count) for (name, label), count in self._counts.items())


def exposition(counters: Counters) -> str:
    """All that was counted, in the text format of Prometheus (0.0.4)."""
    lines: list[str] = []
    values = counters.items()
    for name, explanation in sorted(CATALOGUE.items()):
        metric = f"audiohookd_{name}_total"
        lines += (f"# HELP {metric} {explanation}", f"# TYPE {metric} counter")
        samples = [(label, count) for counted, label, count in values if counted == name]
        if not samples and name not in LABELS:
            samples = [("", 0)]
        lines += [_line(metric, name, LABELS.get(name), label, count) for label, count in samples]
    for name, explanation in sorted(MAXIMA.items()):
        metric = f"audiohookd_{name}"
        lines += (f"# HELP {metric} {explanation}", f"# TYPE {metric} gauge")
        reached = [(label, value) for kept, label, value in counters.maxima() if kept == name]
        lines += [_line(metric, name, MAXIMA_LABELS.get(name), label, value) for label, value in reached]
    return "\n".join(lines) + "\n"


def _line(metric: str, name: str, label_name: str | None, label: str, value: int) -> str:
    shown = f"{value / 1000:.3f}" if name in IN_MILLISECONDS else str(value)
    return f"{metric}{labelled(label_name, label)} {shown}"


def labelled(name: str | None, label: str) -> str:
    """What comes between a metric and its value. ``name`` is that of its label; None: it has none."""
    if name is None:
        return ""
    lines = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in label.split("\n"))
    escaped = "\\n".join(lines)
    return f'{{{name}="{escaped}"}}'
