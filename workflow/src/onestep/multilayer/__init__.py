"""The paper multilayer: adversarial examples in random ReLU networks of many layers and any profile of widths."""

SMALL = (0.01, 0.03, 0.1, 0.3, 1.0)
"""The values of alpha of Lemma 2.5."""
DIRECTIONS = ("random", "gradient", "worst")
"""Where the second point of Lemma 2.8 lies, seen from the first."""
