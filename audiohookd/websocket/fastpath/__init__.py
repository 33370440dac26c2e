"""The fast path: reads whole messages of all connections in batches, without Autobahn."""
