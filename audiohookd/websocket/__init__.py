"""The WebSocket: HTTP head, opening handshake, frames, send and receive limits. Only this package uses Autobahn."""
