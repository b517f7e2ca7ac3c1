"""Learning: the loop, its losses, its recipes."""
