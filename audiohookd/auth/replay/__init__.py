"""Replay protection: stores of the nonces that were used."""
