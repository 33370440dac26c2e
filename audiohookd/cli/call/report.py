"""Writes the results of the calls to stdout, and messages, progress and a summary to stderr."""

import json
from pathlib import Path
from typing import Any, TextIO

from hdrh.histogram import HdrHistogram
from tqdm import tqdm

from audiohookd.cli.call.speech import Speech
from audiohookd.cli.progress import bar
from audiohookd.escaping import printable
from audiohookd.protocol import events
from audiohookd.protocol.client.events import Accepted, Disconnected, Heard, Results, Stopped
from audiohookd.protocol.client.session import RATE

NOT_CLOSED = "the connection was lost before the server closed the session"

_PERCENTILES = (50, 90, 95, 99, 99.9)


class RoundTrips:
    """A histogram of the round trips of the protocol's ping, from 1 microsecond to 1 minute, to three digits."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, 60_000_000, 3)

    def add(self, nanoseconds: int) -> None:
        """Adds a round trip."""
        self._histogram.record_value(min(max(nanoseconds // 1000, 1), 60_000_000))

    def __str__(self) -> str:
        histogram = self._histogram
        count = histogram.get_total_count()
        if not count:
            return "round trip: none measured"
        values = {"min": histogram.get_min_value()}
        values |= {f"p{rank:g}": histogram.get_value_at_percentile(rank) for rank in _PERCENTILES}
        values["max"] = histogram.get_max_value()
        listed = " ".join(f"{name} {value / 1000:.3f}" for name, value in values.items())
        return f"round trip in ms: {listed} of {count}"


class Report:
    """Counts the results of all calls, and writes lines about them.

    :param results: receives the server's events, one JSON object per line; None to omit them.
    :param messages: receives everything else.
    :param total: samples per channel of all calls together, for the progress bar; None if unknown.
    :param bar_after: seconds until the progress bar appears; None: never.
    :param speech: collects the server's audio, for a single call.
    """

    def __init__(
        self,
        results: TextIO | None,
        messages: TextIO,
        total: int | None = None,
        bar_after: float | None = None,
        speech: Speech | None = None,
    ) -> None:
        self.failures = 0
        self._results = results
        self._messages: TextIO | None = messages
        self._round_trips = RoundTrips()
        #: What the server says, if it is to be saved.
        self.speech = speech
        self._calls = self._closed = self._sent = self._moved = 0
        self._bar = bar(
            total=None if total is None else round(total / RATE),
            unit="s",
            file=messages,
            disable=bar_after is None,
            delay=bar_after or 0,
            mininterval=0,
            miniters=1,
        )

    def call(self) -> "CallReport":
        """Counts a call that starts, and returns its report."""
        self._calls += 1
        return CallReport(self._calls, self)

    def progress(self) -> None:
        """Updates the progress bar. Twice a second is often enough."""
        self._bar.update(self._moved // RATE - self._bar.n)

    def interim(self) -> None:
        """Prints the round trips so far."""
        self.say(str(self._round_trips))

    def summary(self) -> None:
        """Removes the progress bar, and prints the round trips and the counts."""
        self._bar.close()
        self.say(str(self._round_trips))
        self.say(
            f"calls: {self._calls}, completed: {self._closed}, failed: {self.failures},"
            f" audio sent: {self._sent / RATE:.1f} s"
        )

    def save(self, path: Path) -> None:
        """Writes what the server said. An error is a failure of the command."""
        try:
            if self.speech is not None:
                self.speech.write(path)
        except OSError as error:
            self.failures += 1
            self.say(f"call: cannot write {str(path)!r}: {error.strerror}")

    def say(self, text: str) -> None:
        """Writes a line for the user."""
        if self._messages is None:
            return
        try:
            tqdm.write(printable(text), file=self._messages)
        except OSError:  # the terminal was closed; the calls continue
            self._messages = None
            self._bar.disable = True

    def result(self, line: dict[str, Any]) -> None:
        """Writes a line of JSON for a program."""
        if self._results is None:
            return
        try:
            tqdm.write(printable(json.dumps(line, ensure_ascii=False)), file=self._results)
            self._results.flush()
        except OSError:
            self._results = None  # the reader, such as `| head`, has closed the pipe; the calls continue

    def round_trip(self, nanoseconds: int) -> None:
        """Adds a measured round trip."""
        self._round_trips.add(nanoseconds)

    def audio_transferred(self, samples: int, is_sent: bool) -> None:
        """Counts the audio of a call."""
        self._moved += samples
        if is_sent:
            self._sent += samples

    def ended(self, number: int, failure: str | None, is_closed: bool) -> None:
        """Counts a call that has ended, and reports its failure."""
        self._closed += is_closed and failure is None
        if failure is not None:
            self.failures += 1
            self.say(f"call {number}: {failure}")


class CallReport:
    """Collects the result of one call. It is the CallObserver of a CallSession."""

    def __init__(self, number: int, report: Report) -> None:
        self.number = number
        self._report = report
        self._failure: str | None = None
        self._is_opened = self._is_closed = self._starts_paused = False

    def event_received(self, event: events.Event) -> None:
        """See :class:`~audiohookd.cli.call.call.CallObserver`."""
        match event:
            case Results(entities=entities):
                for entity in entities:
                    self._report.result({"call": self.number, **entity})
            case Accepted():
                self._accepted(event)
            case events.RoundTrip(nanoseconds=nanoseconds):
                self._report.round_trip(nanoseconds)
            case events.Tolerated(what=what):
                self.note(f"note: {what}, which this client ignores")
            case events.Fault(detail=detail):
                self._fail(f"error {detail}")
            case events.Paused() | events.Resumed():
                self._paused(isinstance(event, events.Paused))
            case Heard() | Stopped() | events.Playback():
                self._heard(event)
            case Disconnected():
                self._disconnected(event)
            case events.Ended(reason=reason):
                self._is_closed = reason != events.CONNECTION_LOST

    def audio_transferred(self, samples: int, is_sent: bool) -> None:
        """See :class:`~audiohookd.cli.call.call.CallObserver`."""
        self._report.audio_transferred(samples, is_sent)

    def note(self, text: str) -> None:
        """Writes a line about this call for the user."""
        self._report.say(f"call {self.number}: {text}")

    def over(self, reason: str | None, closing: str | None = None) -> None:
        """The call has ended.

        :param reason: why there was no WebSocket; None if there was one.
        :param closing: how the server closed the WebSocket; None if it did not.
        """
        self._fail(reason)
        if not self._is_closed:
            awaited = "closed" if self._is_opened else "opened"
            self._fail(f"the server closed the WebSocket before {awaited}: {closing}" if closing else NOT_CLOSED)
        self._report.ended(self.number, self._failure, self._is_closed)

    def _accepted(self, event: Accepted) -> None:
        self._is_opened, self._starts_paused = True, event.start_paused
        if self._report.speech is not None:
            self._report.speech.start(event.media)
        if event.media is None:
            self.note("the server wants no audio")
        if event.discard_to is not None:
            self.note(f"the server discards audio before {event.discard_to} (discardTo)")
        if event.start_paused:
            self.note("the server opened the session paused (startPaused): it gets no audio until it sends resume")
        if event.supported_languages is not None:
            self.note(f"the server's languages: {', '.join(event.supported_languages) or 'none'}")

    def _paused(self, is_paused: bool) -> None:
        if not is_paused:
            self.note("the server resumed the audio")
        elif not self._starts_paused:
            self.note("the server paused the audio")
        self._starts_paused = False

    def _heard(self, event: Heard | Stopped | events.Playback) -> None:
        """The server of an Audio Connector speaks, or stops."""
        speech = self._report.speech
        match event:
            case events.Playback(started=started):
                self.note("the server's audio begins" if started else "the server's audio has ended")
            case Heard(start=start, data=data) if speech is not None:
                speech.add(start, data)
            case Stopped(start=start) if speech is not None:
                speech.cut(start)

    def _disconnected(self, event: Disconnected) -> None:
        info = f": {event.info[:200]}" if event.info else ""
        variables = event.output_variables
        outputs = "" if variables is None else f"; outputVariables {json.dumps(dict(variables))}"
        said = f"the server disconnected, reason {event.reason}{info}{outputs}"
        if event.reason == "completed":
            self.note(said)
        else:
            self._fail(said)

    def _fail(self, reason: str | None) -> None:
        self._failure = self._failure or reason  # the first failure causes the others
