"""Measurements, side by side with scikit-learn and implicit: ``python -m benchmarks``, or one of its modules."""
