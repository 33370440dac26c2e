"""Notices of recordings: what the plugins have in common that tell others of them."""
