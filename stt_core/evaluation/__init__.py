"""Measuring predictions on data sets."""
