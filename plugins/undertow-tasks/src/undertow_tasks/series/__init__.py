"""Series of measurements, to be classified."""
