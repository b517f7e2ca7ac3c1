"""The scene generator: a street drive with its picture, exact labels and exact flow."""
