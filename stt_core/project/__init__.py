"""What a person has made, on disk."""
