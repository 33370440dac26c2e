"""A plugin, and its part in how sessions are opened."""

from typing import Any

from zope.interface import Attribute, Interface

from audiohookd.interfaces.daemon import IDaemon
from audiohookd.interfaces.session import ISession, ISessionObserver
from audiohookd.protocol.messages import DisconnectReason

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class IPluginFactory(Interface):
    """Builds a plugin. An entry point of the group ``audiohookd.plugins`` names it; usually it is a class."""

    config_type = Attribute(
        "A frozen msgspec.Struct of the plugin's own keys in its [plugins.NAME] table. They are checked before the"
        " plugin is built. Fields of type pathlib.Path are made absolute, relative to the configuration file."
    )

    def __call__(config: Any, daemon: "IDaemon") -> "IPlugin":
        """Builds the plugin, once per process, before any port is open. Must not use the network.

        Any exception stops the start-up with one line that names the plugin.

        :param config: an instance of ``config_type``.
        :returns: the plugin of this table.
        :raises ValueError: the operator made a mistake in the configuration; the text becomes the line.
        """


class IPlugin(Interface):
    """A plugin, shared by all sessions of the routes that name it.

    A plugin that also provides :class:`twisted.application.service.IService` is started before the first session
    and stopped after the last one.
    """

    def observe(session: "ISession") -> "ISessionObserver | None":
        """Returns an observer for a session that was opened.

        Called after ``opened`` was sent, and never for a connection probe. If it raises, this session has no observer
        of this plugin; if the plugin is ``required``, the session ends.

        :returns: the observer, or None if the plugin does not observe this session.
        """


class IAdmission(Interface):
    """Provided by a plugin that decides how a session is opened, or rejects it.

    The daemon calls all admission plugins of a route in the order of the configuration file. Each sees the changes
    of the previous ones. Together they have ``[session] admission_timeout`` seconds. If they time out, ``opened`` is
    sent without them, or the session ends if one of the late plugins is ``required``.
    """

    def admit(opening: "IOpening") -> Any:
        """Changes ``opening``, or rejects the session by :meth:`IOpening.reject`.

        The daemon cancels the result when it times out or when the call has ended.

        :returns: None, a Deferred or a coroutine.
        """


class IOpening(Interface):
    """A session before ``opened`` is sent."""

    session = Attribute("The ISession. Its methods cannot send yet.")
    media = Attribute(
        "Assignable: tuple of the Media offers that the route accepts. The daemon selects the first in the format"
        " that the route prefers (PCMU by default)."
    )
    start_paused = Attribute("Assignable: True asks the client to send no audio until ``session.resume()``.")
    discard_to = Attribute("Assignable: position in samples up to which the client may skip audio, or None.")
    supported_languages = Attribute(
        "Assignable: tuple of language codes, up to 32,000 bytes as JSON. Sent only if the client asked for them."
    )
    supported_languages_wanted = Attribute("True if the client asked for the list of languages.")

    def reject(info: str, reason: DisconnectReason = "error") -> None:
        """Rejects the session: the daemon sends ``disconnect`` instead of ``opened``.

        :param info: logged by Genesys Cloud, so it must not contain internal details. Up to 32,000 bytes.
        """
