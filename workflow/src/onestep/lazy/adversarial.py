"""Figure 4 of `lazy`: how many test images stay right under attack, after adversarial training in a ball around the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import memory, sampling
from onestep.attacks import pgd
from onestep.data.prepare import title
from onestep.lazy import starts
from onestep.lazy.starts import Setting
from onestep.networks.two_layer import TwoLayer
from onestep.training import adversarial
from onestep.training.adversarial import Trained

REFERENCE_STEPS = 100
"""Steps of the published attack."""
BATCH = 32
COLUMNS = {
    "panel": "what is varied: budgets, Figure 4's left panel, or radii, its right one",
    "data": "the images, named for people; a stand-in says that it is one",
    "protocol": "corrected: what the text says; as_published: what the authors' code does",
    "width": "width m",
    "input_dim": sampling.COLUMNS["input_dim"],
    "budget": "||delta||, the largest perturbation of an image, in training as in the attack at its end",
    "radius": "V, the largest distance of a neuron's weights from where they started",
    "run": "index of the run: its own starting weights and order of the images",
    "epochs": "epochs of training",
    "stop": "no gain: the robust training accuracy did not rise any more; epochs: no epoch was left",
    "trained": "share of the attacked training images on the right side, where training ended",
    "steps": "steps of the attack in training",
    "input": "index of the test image",
    "margin": "y f(x): above 0 where the image is on the right side",
    "attacked": "y f at the point where the attack on x ended",
    "reference": f"the same for {REFERENCE_STEPS} steps of the attack; null where it was not run",
    "status": "robust: right under attack; broken: right without it alone; wrong: not even then",
}


@dataclass(frozen=True)
class Attacks:
    """How training and test attack, and when training ends."""

    lr: float
    epochs: int
    patience: int
    training_steps: int
    test_steps: int


class Experiment:
    """The trainings of one network: a start, its images, and how they are attacked."""

    def __init__(self, setting: Setting, attacks: Attacks, file: Path, device: str = "cpu") -> None:
        x = starts.images(setting, file)
        channels = x.train_x.shape[1] - (setting.bias != "none")
        weights, signs, output_bias = starts.start(setting, channels // setting.side**2)
        memory.require(8 * weights.size + 2 * x.train_x.size, f"width {setting.width:,}, side {setting.side}")
        self.setting, self.attacks, self.device, self.title = setting, attacks, device, title(x.info)

        def placed(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).float().to(device)

        self.start = TwoLayer(placed(weights), placed(signs), output_bias, setting.bias != "none")
        self.train_x, self.test_x = placed(x.train_x), placed(x.test_x)
        self.train_y, self.test_y = placed(x.train_y), placed(x.test_y)

    @property
    def published(self) -> bool:
        """Whether all is done as the authors' code does it."""
        return self.setting.protocol == "as_published"

    def attacked(self, net: TwoLayer, x: Tensor, y: Tensor, budget: float, steps: int) -> Tensor:
        """The images as the attacker has them."""
        return pgd.l2(net.gradient, x, y, budget, steps, box=self.published)

    def train(self, budget: float, radius: float, steps: int) -> Trained:
        """Trains against attacks of so many steps."""

        def order(epoch: int) -> Tensor:
            if self.published:
                return torch.arange(len(self.train_y), device=self.device)
            return torch.from_numpy(self.setting.stream("order", epoch).permutation(len(self.train_y))).to(self.device)

        return adversarial.train(
            self.start,
            self.train_y,
            lambda net: self.attacked(net, self.train_x, self.train_y, budget, steps),
            order,
            radius=radius,
            lr=self.attacks.lr / (BATCH if self.published else 1),  # their loss is a mean, the text's a sum
            batch=BATCH,
            epochs=self.attacks.epochs,
            patience=self.attacks.patience,
            projected="epoch" if self.published else "step",
        )

    def rows(self, panel: str, budget: float, radius: float, trained: Trained, steps: int, reference: bool) -> pd.DataFrame:
        """The test images under attack: of the weights in the ball, or as published of those before they are projected."""
        net = trained.unprojected if self.published else trained.inside
        margins = partial(self._margins, net, budget)
        margin, attacked = _double(self.test_y * net.value(self.test_x)), margins(self.attacks.test_steps)
        return pd.DataFrame(
            {
                "panel": panel,
                "data": self.title,
                "protocol": self.setting.protocol,
                "width": self.setting.width,
                "input_dim": self.test_x.shape[1] - self.start.biased,
                "run": self.setting.run,
                "budget": budget,
                "radius": radius,
                "epochs": trained.epochs,
                "stop": trained.stop,
                "trained": trained.robust,
                "steps": steps,
                "input": np.arange(len(margin)),
                "margin": margin,
                "attacked": attacked,
                "reference": margins(REFERENCE_STEPS) if reference else np.nan,
                "status": np.where(margin <= 0, "wrong", np.where(attacked > 0, "robust", "broken")),
            }
        )

    def _margins(self, net: TwoLayer, budget: float, steps: int) -> np.ndarray:
        return _double(self.test_y * net.value(self.attacked(net, self.test_x, self.test_y, budget, steps)))


def _double(values: Tensor) -> np.ndarray:
    """In double precision, on the CPU."""
    return values.cpu().numpy().astype(np.float64)


def _inner(cells: Sequence[tuple[float, float]]) -> range:
    """The cells that are worth a check: but the outermost, where all images are robust or none, if there are others."""
    return range(1, len(cells) - 1) if len(cells) > 2 else range(len(cells))


@torch.inference_mode()
def robust(
    setting: Setting,
    attacks: Attacks,
    budgets: Sequence[float],
    radii: Sequence[float],
    checked: int,
    file: Path,
    out: Path,
    device: str = "cpu",
) -> None:
    """Trains for every budget ||delta|| in every ball of radius V, and attacks the test images.

    `checked`: on so many of these cells, drawn by the run's own stream, the published attack is run beside the one of fewer steps.
    """
    cells = [(budget, radius) for budget in budgets for radius in radii]
    drawn = setting.stream("checked cells").permutation(_inner(cells))[:checked]
    panel = "budgets" if len(radii) == 1 else "radii"
    experiment, progress, parts = Experiment(setting, attacks, file, device), sampling.Progress(len(cells)), list[pd.DataFrame]()
    for index, (budget, radius) in enumerate(cells):
        progress.cell()
        progress.say(0, attacks.epochs, "epoch")
        trained = experiment.train(budget, radius, attacks.training_steps)
        parts.append(experiment.rows(panel, budget, radius, trained, attacks.training_steps, index in drawn))
    parameters = {"setting": vars(setting), "attacks": vars(attacks), "checked": checked, "seed": setting.seed}
    sampling.write(out, parts, COLUMNS, __name__, parameters, device)


@torch.inference_mode()
def check(
    setting: Setting, attacks: Attacks, budgets: Sequence[float], radii: Sequence[float], file: Path, out: Path, device: str = "cpu"
) -> None:
    """One of these cells, drawn by the run's own stream, trained twice: against the attack of fewer steps and against the published one."""
    cells = [(budget, radius) for budget in budgets for radius in radii]
    budget, radius = cells[setting.stream("checked training").choice(_inner(cells))]
    experiment = Experiment(setting, attacks, file, device)
    parts = [
        experiment.rows("budgets", budget, radius, experiment.train(budget, radius, steps), steps, True)
        for steps in (attacks.training_steps, REFERENCE_STEPS)
    ]
    parameters = {"setting": vars(setting), "attacks": vars(attacks), "seed": setting.seed}
    sampling.write(out, parts, COLUMNS, __name__, parameters, device)
