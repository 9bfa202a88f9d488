"""Image networks against loops in NumPy, finite differences, counts by hand and the truncated normal law."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from onestep.attacks.minimal import OK, smallest
from onestep.errors import Mistake
from onestep.networks.residual import ARCHITECTURES, Architecture, Convolution, Dense, ImageNetwork, Pool, truncated_normal
from onestep.seeds import stream

LEVEL = 1e-4
"""Of every statistical test: the chance that a right program would have been rejected, had the seed not been fixed."""


def network(name: str, side: int, channels: int = 3, **options) -> ImageNetwork:
    return ImageNetwork.sample(stream(0, "network", name), ARCHITECTURES[name], side, channels, **options)


def with_biases(net: ImageNetwork) -> ImageNetwork:
    """A network such as training leaves behind: its biases are not 0."""
    for name, values in net.weights.items():
        if name.endswith("bias"):
            values.copy_(torch.from_numpy(stream(0, "bias", name).normal(0, 0.1, len(values))))
    return net


def images(count: int, net: ImageNetwork) -> torch.Tensor:
    return torch.from_numpy(stream(0, "images", net.side).random((count, net.side**2 * net.channels)))


# ---------------------------------------------------------------------------------------------- against loops


def convolve(x: np.ndarray, weights: np.ndarray, bias: np.ndarray | float, stride: int, periodic: bool = False) -> np.ndarray:
    """TensorFlow's 'same' convolution of x [H, W, C] with weights [F, C, k, k], pixel by pixel; or the one of a periodic image."""
    size = weights.shape[-1]
    height, width = (math.ceil(side / stride) for side in x.shape[:2])
    above, left = (max((out - 1) * stride + size - side, 0) // 2 for out, side in zip((height, width), x.shape[:2], strict=True))
    out = np.zeros((height, width, len(weights))) + bias
    for i in range(height):
        for j in range(width):
            for a in range(size):
                for b in range(size):
                    row, column = i * stride + a - above, j * stride + b - left
                    if periodic:
                        row, column = row % x.shape[0], column % x.shape[1]
                    if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
                        out[i, j] += weights[:, :, a, b] @ x[row, column]
    return out


def pooled(x: np.ndarray) -> np.ndarray:
    height, width = x.shape[0] // 2, x.shape[1] // 2
    return np.array([[x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((0, 1)) for j in range(width)] for i in range(height)])


def by_hand(name: str, net: ImageNetwork, image: np.ndarray) -> float:
    """f at one image [side, side, channels], each architecture written out once more."""
    p = {key: values.numpy() for key, values in net.weights.items()}

    def conv(x: np.ndarray, key: str, stride: int = 1) -> np.ndarray:
        return convolve(x, p[f"{key}.weight"], p.get(f"{key}.bias", 0.0), stride, name.startswith("periodic"))

    def dense(x: np.ndarray, key: str) -> np.ndarray:
        return p[f"{key}.weight"] @ x + p.get(f"{key}.bias", 0.0)

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def flat(x: np.ndarray) -> np.ndarray:
        return np.array([x[i, j, c] for c in range(x.shape[2]) for i in range(x.shape[0]) for j in range(x.shape[1])])

    h = image
    if name == "resnet":
        h = relu(conv(h, "0"))
        for block in range(1, 10):
            strided = block in (4, 7)
            body = conv(relu(conv(h, f"{block}.0", 2 if strided else 1)), f"{block}.1")
            h = relu(body + (conv(h, f"{block}.shortcut", 2) if strided else h))
        logits = dense(flat(h), "10")
    elif name == "lenet":
        h = pooled(relu(conv(relu(conv(h, "0")), "1")))
        h = pooled(relu(conv(relu(conv(h, "3")), "4")))
        logits = dense(relu(dense(relu(dense(flat(h), "6")), "7")), "8")
    elif name in ("convolutional", "periodic"):
        for layer in range(4):
            h = relu(conv(h, f"{layer}"))
        logits = dense(flat(h), "4")
    elif name == "periodic-pooled":
        h = relu(pooled(conv(relu(conv(h, "0")), "1")))
        h = relu(conv(relu(conv(h, "2")), "3"))
        logits = dense(flat(h), "4")
    else:
        logits = dense(relu(dense(relu(dense(flat(h), "0")), "1")), "2")
    return float(logits[1] - logits[0])


@pytest.mark.parametrize("side", [4, 5, 6, 7])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_values_are_those_of_loops_over_pixels(name: str, side: int) -> None:
    """At sides whose halves are even, odd, and odd twice."""
    net = with_biases(network(name, side))
    x = images(2, net)
    values = [by_hand(name, net, image) for image in x.reshape(2, side, side, 3).numpy()]
    assert net.value(x).numpy() == pytest.approx(values, rel=1e-10)


def test_strides_start_at_the_first_pixel_of_an_even_side_and_before_it_at_an_odd_one() -> None:
    """Which pixel a stride-2 filter of ones sees, counted by hand: zeros only at the bottom and right of 4 x 4, all around 3 x 3."""
    layers = Architecture((Convolution(1, 3, 2, linear=True),), biases=False)
    for side, seen in [(4, [[1, 1, 2, 1], [1, 1, 2, 1], [2, 2, 4, 2], [1, 1, 2, 1]]), (3, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])]:
        logits = torch.stack([torch.zeros(4), torch.ones(4)]).double()
        net = ImageNetwork(layers, side, 1, {"0.weight": torch.ones(1, 1, 3, 3).double(), "1.weight": logits})
        _, gradient = net(torch.zeros(1, side * side).double())
        assert gradient.reshape(side, side).tolist() == seen


def test_a_periodic_network_does_not_see_where_the_image_is_cut() -> None:
    """f of a shifted image, its weights before the logits shifted along; with zeros beyond the edge that is another value."""
    weights = ImageNetwork.sample(stream(0, "periodic"), ARCHITECTURES["convolutional"], 6).weights
    last = weights["4.weight"].reshape(2, -1, 6, 6)
    shifted = {**weights, "4.weight": last.roll((2, 1), (2, 3)).flatten(1)}
    x = torch.from_numpy(stream(0, "periodic image").random((1, 6, 6, 3)))
    for periodic in (True, False):
        architecture = Architecture(ARCHITECTURES["convolutional"].layers, periodic=periodic)
        one = ImageNetwork(architecture, 6, 3, weights).value(x.flatten(1))
        other = ImageNetwork(architecture, 6, 3, shifted).value(x.roll((2, 1), (1, 2)).flatten(1))
        assert torch.allclose(one, other, rtol=1e-9) == periodic


# ---------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet", 8), ("resnet", 7), ("lenet", 8), ("fully-connected", 8), ("convolutional", 6), ("periodic", 6), ("periodic-pooled", 6)],
)
def test_gradients_are_those_of_finite_differences(name: str, side: int) -> None:
    net = with_biases(network(name, side))
    x = images(2, net)
    value, gradient = net(x)
    assert torch.equal(value, net.value(x))
    assert gradient.shape == x.shape
    directions = torch.from_numpy(stream(0, "directions").standard_normal((8, x.shape[1])))
    for direction in directions:
        # So near that no ReLU switches in between: then f is linear.
        step = 1e-7 * direction
        slope = (net.value(x + step) - net.value(x - step)) / 2e-7
        torch.testing.assert_close(gradient @ direction, slope, rtol=1e-5, atol=1e-5 * float(gradient.norm()))


def test_each_input_has_its_own_value_and_gradient() -> None:
    net = network("resnet", 8)
    x = images(5, net)
    (value, gradient), (alone, its_gradient) = net(x), net(x[3:4])
    torch.testing.assert_close(value[3:4], alone, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient[3:4], its_gradient, rtol=1e-8, atol=1e-12)


def test_attacks_take_a_network_as_it_is() -> None:
    net = network("resnet", 8)
    x = images(2, net)
    found = smallest(net, x, 2, effort="fast")
    assert (found.status == OK).all()
    assert (net.value(found.points) * net.value(x) <= 0).all()


# ---------------------------------------------------------------------------------------------- weights


def test_the_truncated_law_is_scipys_scaled_to_variance_one() -> None:
    """Kolmogorov and Smirnov on 200,000 variates; the normal law, and the truncated one that is not scaled, are rejected."""
    z = truncated_normal(stream(0, "truncated"), 200_000)
    scale = 1 / stats.truncnorm.std(-2, 2)
    assert abs(z).max() <= 2 * scale
    assert abs(z).max() > 1.999 * scale
    assert stats.kstest(z, stats.truncnorm(-2, 2, scale=scale).cdf).pvalue > LEVEL
    assert stats.kstest(z, stats.norm.cdf).pvalue < LEVEL
    assert stats.kstest(z, stats.truncnorm(-2, 2).cdf).pvalue < LEVEL


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_have_variance_two_over_fan_in_and_biases_are_zero(name: str) -> None:
    """By the normal approximation of the mean square, whose deviation the fourth moment gives."""
    fourth = float(stats.truncnorm.stats(-2, 2, moments="k")) + 3
    for key, values in network(name, 8).weights.items():
        if key.endswith("bias"):
            assert not values.any()
            continue
        fan_in = math.prod(values.shape[1:])
        deviation = math.sqrt((fourth - 1) / values.numel())
        assert abs(float(values.square().mean()) * fan_in / 2 - 1) < stats.norm.isf(LEVEL / 2) * deviation
        assert float(values.abs().max()) <= 2 * math.sqrt(2 / fan_in) / stats.truncnorm.std(-2, 2)


@pytest.mark.parametrize(
    ("name", "side", "channels", "count"),
    [
        # 896 + 6 (32 32 9 + 32); 64 (32 9 + 1) + 5 (64 64 9 + 64) + 32 64 + 64; likewise with 128; the logits of 3 x 3 x 128.
        ("resnet", 12, 3, 896 + 6 * 9_248 + 18_496 + 5 * 36_928 + 2_112 + 73_856 + 5 * 147_584 + 8_320 + 2_306),
        ("resnet", 28, 1, 320 + 6 * 9_248 + 18_496 + 5 * 36_928 + 2_112 + 73_856 + 5 * 147_584 + 8_320 + 2 * (49 * 128 + 1)),
        ("lenet", 16, 3, 3_456 + 3 * 147_456 + 16 * 128 * 512 + 512 * 512 + 1_024),
        ("fully-connected", 16, 3, 768 * 100 + 100 * 100 + 200),
        ("convolutional", 16, 3, 3_584 + 3 * 147_584 + 2 * (256 * 128 + 1)),
        ("periodic", 16, 3, 3_584 + 3 * 147_584 + 2 * (256 * 128 + 1)),
        ("periodic-pooled", 16, 3, 3_584 + 3 * 147_584 + 2 * (64 * 128 + 1)),
    ],
)
def test_the_number_of_parameters_is_that_counted_by_hand(name: str, side: int, channels: int, count: int) -> None:
    assert sum(values.numel() for values in network(name, side, channels).weights.values()) == count


def test_the_residual_network_has_depth_20() -> None:
    weights = [key for key in network("resnet", 4).weights if key.endswith("weight") and "shortcut" not in key]
    assert len(weights) == 20


def test_the_same_stream_gives_the_same_network_in_either_precision() -> None:
    one, other, single = network("resnet", 8), network("resnet", 8), network("resnet", 8, dtype=torch.float32)
    assert all(torch.equal(values, other.weights[key]) for key, values in one.weights.items())
    assert all(torch.equal(values.float(), single.weights[key]) for key, values in one.weights.items())
    x = images(2, one)
    torch.testing.assert_close(single(x.float())[1].double(), one(x)[1], rtol=0, atol=1e-4 * float(one(x)[1].abs().max()))


# ---------------------------------------------------------------------------------------------- training and mistakes


def test_a_network_can_be_trained_and_asked_for_its_gradient_meanwhile() -> None:
    net = network("resnet", 4, dtype=torch.float32)
    weights = [values.requires_grad_() for values in net.weights.values()]
    x, labels = images(8, net).float(), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam(weights, 1e-3)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = functional.cross_entropy(net.logits(x), labels)
        loss.backward()
        assert all(values.grad is not None for values in weights)
        value, gradient = net(x)
        assert not value.requires_grad
        assert not gradient.requires_grad
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert ((net.value(x) > 0).long() == labels).float().mean() > 0.8


@pytest.mark.parametrize(
    ("name", "side"), [("resnet", 0), ("convolutional", -4), ("fully-connected", 0), ("lenet", 3), ("periodic-pooled", 1)]
)
def test_a_side_that_leaves_no_pixel_is_a_mistake_in_one_line(name: str, side: int) -> None:
    with pytest.raises(Mistake, match=f"^[^\n]*side {side}[^\n]*$"):
        network(name, side)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(RuntimeError):
        network("resnet", 4).value(torch.zeros(3, 16 * 3 * 4).double())


def test_what_is_left_of_a_side_is_flattened() -> None:
    assert ARCHITECTURES["resnet"].flattened_side(60) == 15
    assert ARCHITECTURES["resnet"].flattened_side(5) == 2
    assert Architecture((Pool(), Dense(3))).flattened_side(5) == 2
    assert ARCHITECTURES["periodic-pooled"].flattened_side(8) == 4


def test_the_stretch_of_the_theorem_is_the_root_of_the_ratio_of_pixels() -> None:
    stretches = {name: architecture.stretch(12) for name, architecture in ARCHITECTURES.items()}
    assert stretches == {"resnet": 4, "lenet": 4, "fully-connected": 1, "convolutional": 1, "periodic": 1, "periodic-pooled": 2}
