"""Frames of videos and image folders by index, and writing videos."""
