"""Explains why a request was rejected."""
