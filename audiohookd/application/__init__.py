"""Builds the service tree of the daemon from the configuration: :mod:`audiohookd.application.build`."""
