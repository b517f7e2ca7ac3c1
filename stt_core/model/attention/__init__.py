"""Sparse temporal attention: what it computes, and the ways of computing it."""
