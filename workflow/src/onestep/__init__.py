"""onestep: adversarial examples in random and lazily trained ReLU networks, measured exactly and judged claim by claim."""
