"""Who may open a session: HTTP message signatures, keys, and nonces already seen."""
