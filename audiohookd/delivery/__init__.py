"""Ready recordings, carried away and told of: what is due, tried again until it is done."""
