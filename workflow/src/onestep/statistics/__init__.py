"""Intervals that resample networks, and slopes."""
