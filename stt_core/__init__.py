"""Sparse temporal transformers for video segmentation: the method, without a window."""
