"""Labels of one frame carried to the frames after and before it, by one of three methods."""
