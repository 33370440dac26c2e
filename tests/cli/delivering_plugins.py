"""Plugins for the tests of ``audiohookctl spool``: a carrier and a notifier that must not be built."""

from zope.interface import implementer, provider

from audiohookd.interfaces import ICarrier, INotifier, IPlugin, IPluginFactory


@provider(IPluginFactory)
@implementer(IPlugin, ICarrier)
class Carrier:  # type: ignore[misc]
    def __init__(self, *_: object) -> None:
        raise AssertionError("audiohookctl must not build a plugin")


@provider(IPluginFactory)
@implementer(IPlugin, INotifier)
class Notifier:  # type: ignore[misc]
    def __init__(self, *_: object) -> None:
        raise AssertionError("audiohookctl must not build a plugin")
