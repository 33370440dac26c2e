"""One AudioHook session and its plugins."""
