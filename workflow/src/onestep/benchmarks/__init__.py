"""Benchmarks: what never forming a network's matrices saves, beside dense torch in the same run."""
