"""``audiohookctl``."""
