"""The two faces of the core: the window and the command line."""
