"""Predictions as labels to learn from: which pixels are believed, and why the others are not."""
