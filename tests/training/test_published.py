"""The authors' own training, against torch's automatic differentiation and optimiser."""

import numpy as np
import pytest
import torch

from onestep.errors import Mistake
from onestep.seeds import stream
from onestep.training import published

WIDTH, DIM, IMAGES, LR, BIAS = 30, 8, 150, 0.1, 0.2


def problem():
    rng = stream(0, "published")
    y = rng.choice([-1.0, 1.0], IMAGES)
    x = (rng.standard_normal((IMAGES, DIM)) + y[:, None]).astype(np.float32)
    return rng.standard_normal((WIDTH, DIM)).astype(np.float32), rng.choice([-1, 1], WIDTH).astype(np.float32), x, y


def by_torch(epochs: int) -> np.ndarray:
    """W - W_0 behind every epoch, [epochs, m, d]."""
    weights, signs, x, y = (torch.from_numpy(part).double() for part in problem())
    w = weights.clone().requires_grad_()
    optimiser, seen = torch.optim.SGD([w], lr=LR), []
    for _ in range(epochs):
        for start in range(0, IMAGES, published.BATCH):
            part, labels = x[start : start + published.BATCH], y[start : start + published.BATCH]
            value = (part @ w.T).relu() @ signs / WIDTH**0.5 + BIAS
            optimiser.zero_grad()
            torch.nn.functional.softplus(-labels * value).mean().backward()
            optimiser.step()
        seen.append((w - weights).detach().numpy().copy())
    return np.stack(seen)


def test_it_is_minibatch_sgd_and_ends_with_the_first_epoch_outside() -> None:
    expected = by_torch(40)
    farthest = np.linalg.norm(expected, axis=2).max(1) * WIDTH**0.5
    radii = [farthest[4] * 0.99, farthest[20] * 0.99, 1e9]
    ended = published.train(*problem(), output_bias=BIAS, lr=LR, radii=radii, epochs=40)
    for end, radius in zip(ended, radii, strict=True):
        outside = farthest > radius
        epoch = int(outside.argmax()) if outside.any() else 39
        assert (end.epochs, end.outside) == (epoch + 1, bool(outside.any()))
        np.testing.assert_allclose(end.displacement, expected[epoch], rtol=1e-4, atol=1e-6)
        assert end.distance * WIDTH**0.5 == pytest.approx(farthest[epoch], rel=1e-4)


def test_a_learning_rate_that_diverges_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="diverged"):
        published.train(*problem(), output_bias=0.0, lr=1e40, radii=[1.0], epochs=5)
