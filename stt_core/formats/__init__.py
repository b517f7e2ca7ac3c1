"""One file a format: what other programs read and write."""
