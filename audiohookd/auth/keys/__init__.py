"""API keys: what each may do, where they come from, and how they stay current."""
