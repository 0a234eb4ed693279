"""What a result rests on: the data it touched, and whether it repeats and holds."""
