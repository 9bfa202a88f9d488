"""Attacks: algorithms that find a sign change; they know nothing of papers."""
