"""The ``audiohookctl`` command and its sub-commands."""
