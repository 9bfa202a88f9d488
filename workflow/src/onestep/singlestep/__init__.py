"""The paper singlestep: one gradient step on random ReLU networks."""
