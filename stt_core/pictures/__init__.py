"""Figures for paper and screen: what a model saw, selected and read."""
