"""API keys: their secrets and scope, the sources they are loaded from, and how they are reloaded."""
