"""What is sent to the client, and when (protocol section 9.1)."""
