"""What `lazy` says of all networks of a ball at once, measured by what is certain of each of them (`theory.ball`), on normalised images.

The networks are those that training starts from: a run is one start, and no training is needed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from onestep import memory, sampling
from onestep.data.prepare import title
from onestep.lazy import starts
from onestep.lazy.starts import Setting
from onestep.networks.two_layer import TwoLayer
from onestep.theory.ball import certain_flip, changeable, extremes

COLUMNS = {
    "data": "the images, named for people; a stand-in says that it is one",
    "c0": "C0: the ball holds the W with max_s ||w_s - w_s0|| <= C0 / sqrt(m)",
    "width": "width m",
    "input_dim": sampling.COLUMNS["input_dim"],
    "network": "index of the start W_0: the run of that number starts from it",
    "input": "index of the test image",
    "value": "f(x; W_0)",
    "gradient_norm": "||grad f(x; W_0)||",
    "lowest": "the smallest f(x; W) of the ball",
    "highest": "the largest",
    "changeable": "neurons that are active at x in some networks of the ball and not in others",
    "certain": "||delta|| along -y grad f(x; W_0) at which every network of the ball has another label than y; null where none was found",
    "status": "certain, or unknown where none was found",
}


@torch.inference_mode()
def ball(settings: Sequence[Setting], radii: Sequence[float], networks: range, inputs: int, file: Path, out: Path) -> None:
    """For each setting (they differ in their side), each start and each C0: the extremes of f, and a flip that is certain."""
    progress, parts = sampling.Progress(len(settings)), list[pd.DataFrame]()
    for setting in settings:
        progress.cell()
        images = starts.images(setting, file)
        dim = images.test_x.shape[1]
        memory.require(3 * setting.width * dim, f"width {setting.width:,}, side {setting.side}")
        for network in networks:
            progress.say(network - networks.start, len(networks))
            run = replace(setting, run=network)
            chosen = np.sort(run.stream("images of the ball").choice(len(images.test_x), min(inputs, len(images.test_x)), replace=False))
            weights, signs, _ = starts.start(run, dim // setting.side**2)
            net = TwoLayer(torch.from_numpy(weights), torch.from_numpy(signs))
            x, y = torch.from_numpy(images.test_x[chosen]), torch.from_numpy(images.test_y[chosen]).float()
            value, gradient = net(x)
            length = gradient.norm(dim=1)
            p = -y[:, None] * gradient / length[:, None]
            reach = x.norm(dim=1, keepdim=True) / setting.width**0.5
            u = x @ net.weights.T
            for c0 in radii:
                low, high = extremes(u, net.signs, c0 * reach)
                guess = ((y * value).clamp(min=0) + c0 / 4) / length
                certain = certain_flip(net.weights, net.signs, x, p, y, c0 / setting.width**0.5, guess)
                parts.append(
                    pd.DataFrame(
                        {
                            "data": title(images.info),
                            "c0": c0,
                            "width": setting.width,
                            "input_dim": dim,
                            "network": network,
                            "input": chosen,
                            "value": value.double().numpy(),
                            "gradient_norm": length.double().numpy(),
                            "lowest": low.double().numpy(),
                            "highest": high.double().numpy(),
                            "changeable": changeable(u, c0 * reach).numpy(),
                            "certain": certain.double().numpy(),
                            "status": np.where(certain.isnan().numpy(), "unknown", "certain"),
                        }
                    )
                )
    parameters = {"setting": vars(settings[0]), "radii": list(radii), "seed": settings[0].seed}
    sampling.write(out, parts, COLUMNS, __name__, parameters)
