"""Writes drafts: group commit, append-only files, fsync. Runs in the writer thread."""
