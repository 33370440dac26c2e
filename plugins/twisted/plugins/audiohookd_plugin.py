"""Registers the ``twistd audiohookd`` command."""

from twisted.application.service import ServiceMaker

audiohookd = ServiceMaker(
    "audiohookd", "audiohookd.tap", "Receive the audio of Genesys Cloud calls (AudioHook)", "audiohookd"
)
