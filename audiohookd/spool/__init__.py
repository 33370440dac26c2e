"""Recordings on disk: drafts that grow while a call runs, and ready recordings."""
