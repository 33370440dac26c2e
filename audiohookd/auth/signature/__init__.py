"""HTTP message signatures (RFC 9421): reads, verifies and signs them, without I/O."""
