"""What there is to ask of a prediction: what it rests on, and what it would be otherwise."""
