"""Sockets to sessions, and sessions to plugins."""
