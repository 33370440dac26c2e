"""Policy before a WebSocket exists: addresses, rate limits, PROXY protocol, TLS."""
