"""A daemon that Genesys Cloud streams the audio of calls to (AudioHook, version 2)."""

__version__ = "0.1.0"
