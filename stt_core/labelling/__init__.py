"""The labelling tools without the window: from an image and a label map to a change."""
