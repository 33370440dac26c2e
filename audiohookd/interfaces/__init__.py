"""The contract for plugin authors.

A plugin observes sessions and may send events into them. The daemon calls all methods in the reactor thread, never
re-entrantly.

Methods MUST NOT BLOCK. While one method sleeps, queries or computes for half a second, the daemon serves no call for
half a second. Run slow work in a worker pool (:meth:`IDaemon.workers`). The daemon logs each block of 100 ms or more
with plugin, callback, file and line. A plugin that does not block can harm only its own observers: it cannot delay
``opened`` or ``pong``, stop another plugin, or grow memory without bound.

An observer is called in this order: ``opened`` first, then the other methods in the order of the events, ``closing``
at most once, ``closed`` exactly once and last. If a method returns a Deferred or is a coroutine, the daemon calls
this observer again only after it has finished; this is the observer's backpressure. The queue of waiting calls is
bounded. Audio that exceeds the bound is replaced by one explicit gap.

:mod:`audiohookd.observer` has no-op implementations to derive from.
"""

from audiohookd.interfaces.daemon import IDaemon, IWorkers, PoolFull, WrongThread
from audiohookd.interfaces.delivery import ICarrier, INotifier, Unavailable, Undeliverable
from audiohookd.interfaces.plugin import IAdmission, IOpening, IPlugin, IPluginFactory
from audiohookd.interfaces.recording import IDraft, IJournalEntry, IRecorder, IRecording, ISpool
from audiohookd.interfaces.session import IAudioSink, ISession, ISessionObserver, PartialLoss

__all__ = [
    "IAdmission",
    "IAudioSink",
    "ICarrier",
    "IDaemon",
    "IDraft",
    "IJournalEntry",
    "INotifier",
    "IOpening",
    "IPlugin",
    "IPluginFactory",
    "IRecorder",
    "IRecording",
    "ISession",
    "ISessionObserver",
    "ISpool",
    "IWorkers",
    "PartialLoss",
    "PoolFull",
    "Unavailable",
    "Undeliverable",
    "WrongThread",
]
