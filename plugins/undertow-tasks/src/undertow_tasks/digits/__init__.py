"""Scanned digits: real images that come with scikit-learn, and MNIST."""
