"""The client's side of an AudioHook session, without I/O: for tests, ``audiohookctl call`` and load."""
