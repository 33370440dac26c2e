"""Plugins of a sysadmin: who carries recordings away, and who tells of them."""

from zope.interface import implementer, provider

from audiohookd.interfaces import ICarrier, INotifier, IPlugin, IPluginFactory


@provider(IPluginFactory)
@implementer(IPlugin, ICarrier)
class Carrier:
    def __init__(self, *_: object) -> None:
        raise AssertionError("nobody builds a plugin to look at a spool")


@provider(IPluginFactory)
@implementer(IPlugin, INotifier)
class Teller:
    def __init__(self, *_: object) -> None:
        raise AssertionError("nobody builds a plugin to look at a spool")
