"""The typed configuration: what `config.yaml` may say, what each value means, and the schema made from it.

Values that no field here describes are refused, so that a misspelt key cannot be silently ignored.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from onestep.errors import Mistake
from onestep.image_sets import CLASSES

Scale = Literal["smoke", "laptop", "paper"]
DataSource = Literal["auto", "root", "download", "embedded"]
Images = Literal["mnist", "cifar10"]


def _ascending(values: list[Any]) -> list[Any]:
    if sorted(set(values)) != values:
        raise ValueError("must be in ascending order, each value once")
    return values


Count = Annotated[int, Field(ge=1)]
Ascending = AfterValidator(_ascending)
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """A part of the configuration in which unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Dataset(Strict):
    """Two classes of images: two groups of a data set's own classes."""

    images: Images = Field(description="The data set that the images come from.")
    negative: list[str] = Field(min_length=1, description="Its classes that get the label -1.")
    positive: list[str] = Field(min_length=1, description="Its classes that get the label +1.")

    @model_validator(mode="after")
    def _known_classes(self) -> "Dataset":
        known = CLASSES[self.images]
        for name in (*self.negative, *self.positive):
            if name not in known:
                raise ValueError(f"{self.images} has no class {name!r}; it has {', '.join(known)}")
        if shared := sorted(set(self.negative) & set(self.positive)):
            raise ValueError(f"class {shared[0]!r} stands on both sides")
        return self


class SinglestepSizes(Strict):
    """What `singlestep` samples at one scale."""

    depths: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Ascending] = Field(min_length=1, description="Numbers of hidden layers L.")
    widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths k of every hidden layer.")
    fixed_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k at which the theorems' own step is taken (L = 1); Proposition 4 asks for k >= 52^2."
    )
    input_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(min_length=1, description="Input dimensions d.")
    networks: Count = Field(description="Networks in each cell (L, k, d) with L > 1.")
    two_layer_networks: Count = Field(
        description="Networks in each cell with L = 1, of which claims about shares near 100% need many: with n networks and no failure"
        " the lower end of an exact 95% interval is 1 - 3.7/n."
    )
    inputs: Count = Field(description="Inputs for each network.")
    networks_per_job: Count = Field(
        description="At most this many networks of a cell in one job. The records do not depend on it, only how the work is split."
    )

    @model_validator(mode="after")
    def _two_layers(self) -> "SinglestepSizes":
        if 1 not in self.depths:
            raise ValueError("depths must contain 1: the theorems and most claims are about one hidden layer")
        return self


class SinglestepScales(Strict):
    """The sample sizes and grids of `singlestep`, by scale."""

    smoke: SinglestepSizes = Field(description="Everything once, tiny: too small to judge a claim.")
    laptop: SinglestepSizes = Field(description="Every cell of the published grid up to the widths named here, with fewer samples.")
    paper: SinglestepSizes = Field(description="At least the published 10,000 samples in each cell, spread over more networks.")


class Singlestep(Strict):
    """The paper `singlestep`: random ReLU networks, one gradient step."""

    step_cap: float = Field(gt=0, allow_inf_nan=False, description="Steps |eta| are searched below this value; the paper's is 20.")
    gammas: Annotated[list[Fraction], Ascending] = Field(
        min_length=1, description="Probabilities of failure gamma at which the theorems' bounds are checked."
    )
    fixed_steps: Annotated[list[Annotated[float, Field(gt=0)]], Ascending] = Field(
        min_length=2, description="Coefficients c of the theorems' own step of size c / ||grad f(x)||^2."
    )
    fixed_step_constant: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="C4 of Theorem 2, which the paper leaves open: the step C4 sqrt(log(1/gamma)) / ||grad f||^2.",
    )
    universal_reach: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Length, in units of ||x|| / sqrt(d), of the one perturbation that is tried on all inputs of a network.",
    )
    scales: SinglestepScales = Field(description="Grids and sample sizes.")


class Config(Strict):
    """The science: what is sampled, how often, at which scale. How it runs is in `profiles/`."""

    scale: Scale = Field(description="smoke: everything once, tiny; laptop: every figure and claim; paper: the published sample sizes.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(description="The root of every random stream.")
    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where networks are evaluated: auto, cpu, cuda or cuda:N.")
    data_source: DataSource = Field(
        description="Where images come from. auto: data_root or $ONESTEP_DATA, else torchvision's download, else the embedded stand-ins;"
        " root, download, embedded: that one and no other."
    )
    data_root: str | None = Field(
        description="A folder in torchvision's layout (MNIST/raw, cifar-10-batches-py) or with cifar10/{train,test}/CLASS."
    )
    datasets: dict[Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")], Dataset] = Field(
        min_length=1, description="The binary splits, by name."
    )
    singlestep: Singlestep = Field(description="The paper `singlestep`.")


def _first_line(error: ValidationError, where: str) -> str:
    """The first problem as one line: which key of which file, what is wrong, what was found there."""
    problem = error.errors()[0]
    key = "/".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key; remove it or correct its spelling"
    elif problem["type"] == "missing":
        message = "this key is missing; add it"
    else:
        message = f"{message[:1].lower()}{message[1:]}, not {problem['input']!r}" if not isinstance(problem["input"], dict) else message
    more = f" ({error.error_count() - 1} more like it)" if error.error_count() > 1 else ""
    return f"{where}: {key}: {message}{more}"


def validate(values: object, where: str = "config.yaml") -> Config:
    """The configuration as typed values; a mistake in it is one line."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise Mistake(_first_line(error, where)) from None


def load(path: Path) -> Config:
    """Reads and checks a configuration file."""
    try:
        return validate(yaml.safe_load(path.read_text()), str(path))
    except FileNotFoundError:
        raise Mistake(f"{path}: no such file; name the workflow's config.yaml") from None
    except yaml.YAMLError as error:
        raise Mistake(f"{path}: not valid YAML ({' '.join(str(error).split())}); mend it") from None


def schema() -> str:
    """The configuration's JSON schema as YAML: `workflow/schemas/config.schema.yaml`."""
    return yaml.safe_dump(json.loads(json.dumps(Config.model_json_schema())), sort_keys=False, width=120)
