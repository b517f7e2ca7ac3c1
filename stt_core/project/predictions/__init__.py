"""What a model said of a medium, frame by frame, kept so that it need not be computed again."""
