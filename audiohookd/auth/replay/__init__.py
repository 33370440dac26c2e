"""Replay protection: stores of used nonces."""
