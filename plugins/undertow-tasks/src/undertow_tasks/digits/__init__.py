"""Scanned digits: real images, present wherever scikit-learn is."""
