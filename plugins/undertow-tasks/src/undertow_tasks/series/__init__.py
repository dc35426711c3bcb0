"""Series of measurements, and the kind that each is of."""
