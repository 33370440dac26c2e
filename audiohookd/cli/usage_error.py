"""The error that every sub-command raises for a mistake in its arguments."""


class UsageError(Exception):
    """The command cannot run with these arguments. The text is one line with the mistake and its remedy."""
