"""Counts events since the start, by name and label, and formats the counters for Prometheus."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from audiohookd.escaping import printable

#: All names. A label is a plugin's name or one of a few fixed words, never an id, to limit the number of series.
CATALOGUE: Final = {
    "connections": "WebSocket upgrades accepted",
    "rejections": "upgrades or sessions rejected, by reason",
    "limit_hits": "connections, sessions and messages that exceeded a limit, by limit",
    "reload_failures": "reloads of changed files that failed because the files are invalid, by name",
    "replay_store_failures": "requests for which the replay store had no answer, by outcome",
    "sessions": "sessions opened",
    "probes": "connection probes answered",
    "sessions_closed": "sessions ended, by reason",
    "unrecorded_sessions": "sessions that no plugin recorded, on routes without record = false",
    "protocol_errors": "sessions in which the client broke the protocol",
    "protocol_anomalies": "harmless protocol anomalies of clients, by kind",
    "peer_errors": "error messages from clients",
    "plugin_failures": "failures of plugins, by plugin",
    "callback_timeouts": "callbacks of plugins that timed out and were cancelled, by plugin",
    "required_failures": "sessions ended because a required plugin failed, by plugin",
    "unhandled_plugin_errors": "errors in timers and Deferreds of plugins that the plugin did not handle, by plugin",
    "rate_limited_sends": "events and pauses of plugins that were not sent because of a rate limit, by plugin",
    "overflow_samples": "samples dropped from the full queue of a slow plugin, by plugin",
    "unsent_entities": "results that were not sent before the session ended, by the limits in [send], by plugin",
    "audio_while_paused_bytes": "bytes of audio that clients sent in a pause that they had reported; dropped",
    "overflow_messages": "messages to clients dropped from the full queue of a slow plugin, by plugin",
    "admission_timeouts": "sessions opened without a plugin because its admission timed out",
    "pending_connections_evicted": "connections evicted before their upgrade, because too many were pending",
    "key_refresh_failures": "failed refreshes of keys, by source",
    "slow_clients_dropped": "connections dropped because the client did not read",
    "drafts_recovered": "drafts recovered after a crash, by outcome",
    "not_ready_transitions": "times that the daemon became not ready, by cause",
    "recordings_removed": "local copies of stored recordings that were removed, by cause",
    "recordings_stored": "recordings stored, by carrier",
    "notifications_sent": "notifications sent, by notifier",
    "delivery_failures": "failed deliveries that are retried, by carrier or notifier",
    "outages": "times that a carrier or notifier became unavailable, by its name",
    "dead_letters": "recordings that can never be delivered, by carrier or notifier",
    "disk_errors": "failed writes and syncs of recordings, and stalled commits, by error",
    "disk_lost_samples": "samples of recordings that could not be written and were replaced by silence",
    "journal_entry_errors": "commits of a recording with journal entries that a plugin failed to render",
    "slow_commits": "commits of recordings that took longer than flush_interval allows",
    "slow_syncs": "syncs of recordings that took longer than sync_interval allows",
    "threads_refused": "times that the system refused a thread to a pool, by pool",
    "loop_failures": "failed turns of periodic work, by loop",
    "loop_stalls": "times that periodic work stalled and was restarted, by loop",
    "reactor_blocks": "times that the reactor was blocked for 100 ms or more and all calls waited, by plugin",
    "reactor_blocked_seconds": "seconds that the reactor was blocked, 100 ms or more at a time, by plugin",
    "internal_errors": "internal errors of the daemon, in sessions, upgrades and deliveries",
}


#: The name of the label of each counter that has one.
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
    "unsent_entities": "plugin",
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

#: Gauges that keep the largest value since the start.
MAXIMA: Final = {
    "reactor_longest_block_seconds": "the longest block of the reactor since the start, by plugin",
}
MAXIMA_LABELS: Final = {"reactor_longest_block_seconds": "plugin"}
#: Metrics in seconds, which are counted in milliseconds because counts are integers.
IN_MILLISECONDS: Final = {"reactor_blocked_seconds", "reactor_longest_block_seconds"}


class Counters:
    """Counts by name and label, in the reactor thread only."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._maxima: dict[tuple[str, str], int] = {}

    def count(self, name: str, label: str = "", amount: int = 1) -> int:
        """Adds ``amount``. Returns the previous count.

        :raises KeyError: ``name`` is not in :data:`CATALOGUE`.
        """
        if name not in CATALOGUE:
            raise KeyError(name)
        before = self._counts[name, label]
        self._counts[name, label] = before + amount
        return before

    def reach(self, name: str, label: str, value: int) -> None:
        """Keeps ``value`` if it is the largest so far.

        :raises KeyError: ``name`` is not in :data:`MAXIMA`.
        """
        if name not in MAXIMA:
            raise KeyError(name)
        self._maxima[name, label] = max(value, self._maxima.get((name, label), 0))

    def expect(self, name: str, labels: Iterable[str]) -> None:
        """Adds these labels with a count of 0, because Prometheus sees no increase when a series appears.

        :raises KeyError: ``name`` has no label.
        """
        LABELS[name]
        for label in labels:
            self._counts[name, label] += 0

    def value(self, name: str, label: str = "") -> int:
        """The current count."""
        return self._counts[name, label]

    def maxima(self) -> list[tuple[str, str, int]]:
        """All maxima as (name, label, value), sorted."""
        return sorted((name, label, value) for (name, label), value in self._maxima.items())

    def items(self) -> list[tuple[str, str, int]]:
        """All counts as (name, label, count), sorted."""
        return sorted((name, label, count) for (name, label), count in self._counts.items())


def exposition(counters: Counters) -> str:
    """Formats all counters in the text format of Prometheus (0.0.4)."""
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
    """Formats the label of a metric. ``name`` is the name of the label; None for a metric without one."""
    if name is None:
        return ""
    lines = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in label.split("\n"))
    escaped = "\\n".join(lines)
    return f'{{{name}="{escaped}"}}'
