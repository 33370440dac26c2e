"""The fast path: reads whole audio frames of all connections in batches, without Autobahn."""
