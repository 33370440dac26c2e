"""What the user did wrong."""


class UsageError(Exception):
    """The command cannot run as it was given. Its text is one line for the user: what is wrong and what to do."""
