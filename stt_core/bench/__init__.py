"""The benchmark's core groups."""
