"""Logs, metrics, the admin port, and the watchdog of the reactor."""
