"""Formats of the files of a recording: WAV, journal, sidecar. Pure, or for worker threads."""
