"""Counters of events since the start, for the metrics and the log."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from audiohookd.escaping import printable

#: All counters. A label is the name of a plugin or one of a few fixed words, never an id: their number is unbounded.
CATALOGUE: Final = {
    "connections": "WebSocket upgrades accepted",
    "rejections": "upgrades and sessions rejected, by reason",
    "limit_hits": "connections, sessions and messages rejected because of a limit, by limit",
    "reload_failures": "changed files that could not be reloaded, by file",
    "replay_store_failures": "requests that the replay store did not answer, by what was done with them",
    "sessions": "sessions opened",
    "probes": "connection probes answered",
    "sessions_closed": "sessions closed, by reason",
    "unrecorded_sessions": "sessions that no plugin recorded, on routes without record = false",
    "protocol_errors": "sessions in which the client broke the protocol",
    "protocol_anomalies": "harmless deviations of clients from the protocol, by kind",
    "peer_errors": "error messages received from clients",
    "plugin_failures": "failures of plugins, by plugin",
    "callback_timeouts": "callbacks of plugins that took too long and were cancelled, by plugin",
    "required_failures": "sessions ended because a plugin that they require failed, by plugin",
    "unhandled_plugin_errors": "errors in timers and Deferreds of plugins that the plugin did not handle, by plugin",
    "rate_limited_sends": "events and pauses of plugins that were not sent because of a rate limit, by plugin",
    "overflow_samples": "samples that a slow plugin did not get, by plugin",
    "overflow_messages": "messages that a slow plugin did not get, by plugin",
    "admission_timeouts": "sessions opened because plugins took too long to admit them",
    "pending_connections_evicted": "connections dropped before their upgrade because too many were waiting",
    "key_refresh_failures": "reloads of keys that failed, by source",
    "slow_clients_dropped": "connections dropped because the client did not read",
    "drafts_recovered": "drafts left behind by a crash, by outcome",
    "not_ready_transitions": "times that the daemon stopped accepting calls, by cause",
    "recordings_removed": "local copies of stored recordings removed, by cause",
    "recordings_stored": "recordings stored elsewhere, by carrier",
    "notifications_sent": "recordings notified, by notifier",
    "delivery_failures": "failed deliveries that will be retried, by carrier or notifier",
    "outages": "times that a carrier or notifier became unavailable, by its name",
    "dead_letters": "recordings that cannot be delivered, by carrier or notifier",
    "disk_errors": "writes of recordings that failed, by error; commits that stalled; failed syncs",
    "disk_lost_samples": "samples of recordings that could not be written, replaced by silence",
    "journal_entry_errors": "commits of a recording with journal entries that a plugin could not render",
    "slow_commits": "commits of recordings that took longer than flush_interval",
    "slow_syncs": "syncs of recordings that took longer than sync_interval",
    "threads_refused": "times that the system refused a thread to a pool, by pool",
    "loop_failures": "iterations of periodic work that failed, by loop",
    "loop_stalls": "restarts of periodic work that had stopped, by loop",
    "reactor_blocks": "times that the reactor was blocked for 100 ms or more and all calls waited, by plugin",
    "reactor_blocked_seconds": "seconds that the reactor was blocked, 100 ms or more at a time, by plugin",
    "internal_errors": "errors of our own, in sessions and upgrades",
}


#: The name of the label, for counters that have one.
LABELS: Final = {
    "rejections": "reason",
    "limit_hits": "limit",
    "reload_failures": "file",
    "replay_store_failures": "done",
    "sessions_closed": "reason",
    "protocol_anomalies": "kind",
    "plugin_failures": "plugin",
    "callback_timeouts": "plugin",
    "required_failures": "plugin",
    "unhandled_plugin_errors": "plugin",
    "rate_limited_sends": "plugin",
    "overflow_samples": "plugin",
    "overflow_messages": "plugin",
    "drafts_recovered": "outcome",
    "not_ready_transitions": "cause",
    "recordings_removed": "cause",
    "recordings_stored": "carrier",
    "notifications_sent": "notifier",
    "delivery_failures": "plugin",
    "outages": "plugin",
    "dead_letters": "plugin",
    "disk_errors": "error",
    "key_refresh_failures": "source",
    "threads_refused": "pool",
    "loop_failures": "loop",
    "loop_stalls": "loop",
    "reactor_blocks": "plugin",
    "reactor_blocked_seconds": "plugin",
}

#: The largest values since the start, by name.
MAXIMA: Final = {
    "reactor_longest_block_seconds": "the longest block of the reactor since the start, by plugin",
}
MAXIMA_LABELS: Final = {"reactor_longest_block_seconds": "plugin"}
#: Names whose unit is the second. They are counted in milliseconds since counts are integers.
IN_MILLISECONDS: Final = {"reactor_blocked_seconds", "reactor_longest_block_seconds"}


class Counters:
    """Counts by name and label. Only for the reactor's thread."""

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
        """Exposes these labels at 0 before the first event: a rise from an absent value cannot be seen.

        :raises KeyError: a name that has no label.
        """
        LABELS[name]
        for label in labels:
            self._counts[name, label] += 0

    def value(self, name: str, label: str = "") -> int:
        """The present count."""
        return self._counts[name, label]

    def maxima(self) -> list[tuple[str, str, int]]:
        """All of :data:`MAXIMA` that were reached: name, label, value; sorted."""
        return sorted((name, label, value) for (name, label), value in self._maxima.items())

    def items(self) -> list[tuple[str, str, int]]:
        """All of them: name, label, count; sorted."""
        return sorted((name, label, count) for (name, label), count in self._counts.items())


def exposition(counters: Counters) -> str:
    """All counters in the text format of Prometheus (0.0.4)."""
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
