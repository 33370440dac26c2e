"""Authenticates upgrade requests: HTTP message signatures, API keys, and replay protection."""
