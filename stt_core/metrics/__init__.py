"""How good a segmentation is, and how steady."""
