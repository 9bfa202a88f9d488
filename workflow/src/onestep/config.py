"""The typed configuration: what `config.yaml` may say, what each value means, and the schema made from it.

Values that no field here describes are refused, so that a misspelt key cannot be silently ignored.
"""

import json
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
    widest: Annotated[list[Count], Ascending] = Field(
        description="Widths at which only a few networks are sampled, because each of them costs much."
    )
    widest_networks: Count = Field(description="How many: too few to judge a claim by.")
    universal_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k at which one direction is tried for all inputs (L = 1)."
    )
    fixed_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k at which the theorems' own step is taken (L = 1); Proposition 4 asks for k >= 52^2."
    )
    variant_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k of the networks with another output layer, a bias or another activation (L = 1)."
    )
    hessian_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(
        min_length=1, description="Input dimensions d at which the Hessian is measured."
    )
    hessian_ratios: Annotated[list[Count], Ascending] = Field(min_length=1, description="Its widths k, as multiples of d.")
    hessian_networks: Count = Field(description="Its networks in each cell.")
    bracket_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(
        min_length=1, description="Input dimensions d at which the single step is bracketed (L = 1)."
    )
    bracket_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k at which it is; these networks are dense."
    )
    bracket_networks: Count = Field(description="Networks in each of these cells.")
    limit_networks: Count = Field(description="Networks of infinite width (L = 1) at each input dimension.")
    input_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(min_length=1, description="Input dimensions d.")
    networks: Count = Field(description="Networks in each cell (L, k, d) with L > 1.")
    two_layer_networks: Count = Field(
        description="Networks in each cell with L = 1, of which claims about shares near 100% need many: with n networks and no failure"
        " the lower end of an exact 95% interval is 1 - 3.7/n."
    )
    inputs: Count = Field(description="Inputs for each network; two are needed to see the spread between networks.")
    one_input_from: Count = Field(description="From this width on one input each: further networks tell more, and there cost less.")
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
    paper: SinglestepSizes = Field(
        description="More networks: from k = 10,000 on the published 10,000 samples of a cell are fewer, each from a network of its own."
    )


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
        description="C3 of Theorem 1 and C4 of Theorem 2, which the paper leaves open: the step C4 sqrt(log(1/gamma)) / ||grad f||^2.",
    )
    universal_reach: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Length, in units of ||x|| / sqrt(d), of the one perturbation that is tried on all inputs of a network.",
    )
    scales: SinglestepScales = Field(description="Grids and sample sizes.")


class MultilayerGrid(Strict):
    """Shapes of networks; the input dimension is the base width."""

    depths: Annotated[list[Annotated[int, Field(ge=1, le=50)]], Ascending] = Field(
        min_length=1, description="Numbers of hidden layers L of networks of equal widths."
    )
    widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Their widths k.")
    profile_depths: Annotated[list[Annotated[int, Field(ge=1, le=50)]], Ascending] = Field(
        min_length=1, description="Numbers of hidden layers of networks whose widths grow or shrink."
    )
    profile_widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Base widths of these.")
    bottleneck_depths: Annotated[list[Annotated[int, Field(ge=1, le=50)]], Ascending] = Field(
        min_length=1, description="Numbers of hidden layers of networks with one narrow layer in the middle."
    )
    bottleneck_width: Count = Field(description="Width of their other layers.")
    bottlenecks: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths b of the narrow layer.")


class MultilayerSizes(Strict):
    """What `multilayer` samples at one scale."""

    networks: Count = Field(description="Networks in each cell, one input each.")
    networks_per_job: Count = Field(
        description="At most this many networks of a cell in one job. The records do not depend on it, only how the work is split."
    )
    flip: MultilayerGrid = Field(description="Where the first sign change along the gradient is found.")
    ball: MultilayerGrid = Field(description="Where what happens in a ball around the input is searched; these networks are dense.")
    collapse_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k of the networks whose collapse with depth is followed."
    )
    collapse_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(min_length=1, description="Its input dimensions d.")
    collapse_widest: Count = Field(
        description="One more width, at the smallest dimension alone, where Theorem 3.1 speaks of L >= d^3 layers."
    )
    collapse_depths: Annotated[list[Count], Ascending] = Field(min_length=1, description="After how many layers it is looked at.")
    collapse_inputs: Annotated[int, Field(ge=4, multiple_of=2)] = Field(description="Inputs for each of its networks, in opposite pairs.")
    scan_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths k of the very deep networks along whose gradient a single step is looked for."
    )
    scan_dims: Annotated[list[Annotated[int, Field(ge=2)]], Ascending] = Field(min_length=1, description="Their input dimensions d.")
    scan_depths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Their numbers of hidden layers L.")
    scan_deepest: Count = Field(
        description="One more depth, at the smallest width and dimension alone, where Theorem 3.1 speaks of L >= d^3 layers."
    )
    limit_depths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Numbers of hidden layers of infinite width.")
    limit_networks: Count = Field(description="Networks of infinite width at each depth and dimension.")


class MultilayerScales(Strict):
    """The sample sizes and grids of `multilayer`, by scale."""

    smoke: MultilayerSizes = Field(description="Everything once, tiny: too small to judge a claim.")
    laptop: MultilayerSizes = Field(description="Every figure and claim.")
    paper: MultilayerSizes = Field(description="Larger samples and grids.")


class Multilayer(Strict):
    """The paper `multilayer`: deep random ReLU networks of any profile of widths."""

    perturbation_cap: float = Field(
        gt=0, allow_inf_nan=False, description="Perturbations are searched below this length, in units of ||x|| / sqrt(d)."
    )
    deltas: Annotated[list[Fraction], Ascending] = Field(
        min_length=1, description="Probabilities of failure delta at which the theorems are checked."
    )
    constant: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="c3 of Theorem 1.1, ||eta grad f|| / ||x|| <= c3 sqrt(log(1/delta) / d), which the paper bounds by C^L.",
    )
    profile_ratio: float = Field(
        gt=1, allow_inf_nan=False, description="By how much the widths of a growing or shrinking network change in all."
    )
    ascent_steps: Count = Field(description="Steps of the ascents that look for the worst point of a ball.")
    scan_points: Annotated[int, Field(ge=2)] = Field(description="Lengths at which the gradient's ray is looked at in very deep networks.")
    scales: MultilayerScales = Field(description="Grids and sample sizes.")


class AdversarialSizes(Strict):
    """Figure 4 of `lazy` at one scale."""

    sides: Annotated[list[Count], Ascending] = Field(min_length=1, description="Sides of the images, left panel.")
    width: Count = Field(description="Width m there.")
    widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths m, right panel.")
    side: Count = Field(description="Side of the images there.")
    runs: Annotated[int, Field(ge=2)] = Field(description="Runs of both panels.")
    epochs: Count = Field(description="Epochs at most.")
    patience: Count = Field(description="Training ends when the robust training accuracy has not risen for so many epochs.")
    training_steps: Count = Field(description="Steps of the attack in training; the published one has 100.")
    test_steps: Count = Field(description="Steps of the attack on the test images; the published one has 100.")
    checked: int = Field(
        ge=0, description="For each size of Figure 4, cells of the first run on whose test images the published attack is run, too."
    )
    checked_sides: list[Count] = Field(
        description="Sides of the left panel at which one cell is trained again, against the published attack, for each run."
    )
    published_sides: list[Count] = Field(description="Sides of the left panel at which the authors' own protocol is run, too.")
    published_runs: Count = Field(description="Runs of it.")
    published_epochs: Count = Field(description="Epochs of it at most.")
    published_patience: Count = Field(description="Its patience.")


class LazySizes(Strict):
    """What `lazy` trains at one scale."""

    sides: Annotated[list[Count], Ascending] = Field(min_length=1, description="Images are resized to side x side: d is its square.")
    widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths m at which every C0 is trained.")
    runs: Annotated[int, Field(ge=2)] = Field(description="Runs there: starting weights and orders of the images.")
    widest: list[Count] = Field(description="More widths, at which the smallest C0 alone is trained.")
    widest_runs: Count = Field(description="Runs there.")
    widest_images: Count = Field(description="Test images that are looked at there; elsewhere all of them.")
    published_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths m at which the authors' own protocol is run, too."
    )
    published_runs: Count = Field(description="Runs of it.")
    published_epochs: Count = Field(description="Epochs after which it ends where the ball was not left; theirs: 1,000.")
    free_widths: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Widths m at which the same networks are trained without a ball, too."
    )
    bracket_images: Count = Field(
        description="Test images of each network for which the step is put beside the smallest distance and a bound."
    )
    bracket_runs: Count = Field(description="Runs, of the smallest width, for which that is done.")
    ball_widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths m of the balls of which all is certain.")
    ball_networks: Count = Field(description="Starts there.")
    ball_inputs: Count = Field(description="Test images for each of them.")
    adversarial: AdversarialSizes = Field(description="Figure 4.")


class LazyScales(Strict):
    """The grids of `lazy`, by scale."""

    smoke: LazySizes = Field(description="Everything once, tiny: too small to judge a claim.")
    laptop: LazySizes = Field(description="Every side; every C0 at width 1,000, the smallest at widths to 100,000.")
    paper: LazySizes = Field(description="The published widths, with more runs.")


class Adversarial(Strict):
    """Figure 4 of `lazy`: adversarial training in a ball around the start."""

    lr: float = Field(gt=0, allow_inf_nan=False, description="Learning rate of SGD on the summed loss of a minibatch.")
    c0: float = Field(gt=0, allow_inf_nan=False, description="Left panel: the ball has the radius C0 / sqrt(m).")
    budget: float = Field(gt=0, allow_inf_nan=False, description="Right panel: the length ||delta|| of the perturbations.")
    budgets: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Ascending] = Field(
        min_length=1, description="Left panel: lengths ||delta|| times sqrt(d), as far as ||delta|| lies between the ends."
    )
    radii: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Ascending] = Field(
        min_length=1, description="Right panel: radii V times sqrt(m), as far as V lies between the ends."
    )
    ends: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Ascending] = Field(
        min_length=2, max_length=2, description="The smallest and the largest ||delta|| and V, trained for everywhere."
    )


class Lazy(Strict):
    """The paper `lazy`: two-layer networks trained near their initialisation."""

    dataset: str = Field(description="Which of the data sets is trained on.")
    c0: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Ascending] = Field(
        min_length=1, description="Training ends when a neuron has moved by more than C0 / sqrt(m)."
    )
    lr: float = Field(gt=0, allow_inf_nan=False, description="Learning rate of SGD.")
    epochs: Count = Field(description="Epochs after which training ends where the ball was not left, or not all was learned.")
    learned: float = Field(gt=0, allow_inf_nan=False, description="Mean loss of an epoch below which a training without a ball ends.")
    bias: Literal["torch", "normal", "zero"] = Field(
        description="How hidden biases start where the text has a bias (Figures 2 and 3); it does not say."
    )
    gammas: Annotated[list[Fraction], Ascending] = Field(
        min_length=1, description="Probabilities of failure gamma at which the lemmas are checked."
    )
    adversarial: Adversarial = Field(description="Figure 4.")
    scales: LazyScales = Field(description="Grids.")


class TrainedSizes(Strict):
    """The networks of `guarantees` that are trained on one data set, at one scale; what is not said is as published."""

    networks: Count = Field(description="How many networks are trained.")
    filters: float = Field(gt=0, le=1, allow_inf_nan=False, description="Share of the published number of filters.")
    images: Count | None = Field(description="Training images of each network, drawn by its own stream; null: all.")
    test_images: Count | None = Field(description="Test images by which its test accuracy is judged, likewise; null: all.")
    epochs: Count = Field(description="Epochs at most.")
    until: float | None = Field(gt=0, le=1, description="Training accuracy at which training ends; null: behind the last epoch.")
    batch: Count = Field(description="Images at a step; the published number is 32.")
    lr: float = Field(gt=0, allow_inf_nan=False, description="Learning rate of Adam; the published one is 1e-4.")
    networks_per_job: Count = Field(description="Networks that are attacked in one job; each is trained in its own.")
    inputs: Count = Field(description="Images of each kind that are attacked for each network; the published number is 20.")


class GuaranteesSizes(Strict):
    """What `guarantees` samples and trains at one scale."""

    sides: Annotated[list[Annotated[int, Field(ge=4)]], Ascending] = Field(
        min_length=1, description="Sides of the images of the random residual networks; n is 3 times the square."
    )
    networks: Count = Field(description="Networks at each side.")
    inputs: Count = Field(description="Inputs for each network.")
    networks_per_job: Count = Field(
        description="At most this many networks of a cell in one job. The records do not depend on it, only how the work is split."
    )
    supplement_sides: Annotated[list[Annotated[int, Field(ge=4)]], Ascending] = Field(
        min_length=1, description="Sides of the images of the supplement's three other architectures."
    )
    supplement_networks: Count = Field(description="Networks of each of them at each side, one input each.")
    theorem_sides: Annotated[list[Annotated[int, Field(ge=4, multiple_of=2)]], Ascending] = Field(
        min_length=1, description="Sides of the images of the two architectures that meet the theorem's setting."
    )
    theorem_networks: Count = Field(description="Networks of each of them at each side, one input each.")
    ray_sides: Annotated[list[Annotated[int, Field(ge=4)]], Ascending] = Field(
        min_length=1, description="Sides at which residual networks are followed along random directions."
    )
    ray_networks: Count = Field(description="Networks there, one input and one direction each; also of the theorem's architectures.")
    search_sides: list[Annotated[int, Field(ge=4)]] = Field(
        min_length=1, description="Sides at which a second search looks for nearer points."
    )
    search_networks: Count = Field(description="Residual networks there, with as many inputs as elsewhere.")
    law_sides: Annotated[list[Annotated[int, Field(ge=4)]], Ascending] = Field(
        min_length=1, description="Sides at which the first-order law is drawn."
    )
    law_draws: Count = Field(description="Draws of the value and the gradient at each of its inputs.")
    law_inputs: Count = Field(description="Its inputs.")
    kernel_sides: Annotated[list[Annotated[int, Field(ge=4, multiple_of=2)]], Ascending] = Field(
        min_length=1, description="Sides at which Theorem 2 is checked on the kernels."
    )
    kernel_steps: Count = Field(description="Steps of the ascents that look for violations of it.")
    trained: dict[str, TrainedSizes] = Field(min_length=1, description="What is trained, by data set.")
    example_images: Count = Field(description="Test images of each data set whose perturbations are shown.")


class GuaranteesScales(Strict):
    """The grids of `guarantees`, by scale."""

    smoke: GuaranteesSizes = Field(description="Everything once, tiny: too small to judge a claim.")
    laptop: GuaranteesSizes = Field(description="Every published side; networks trained on fewer images.")
    paper: GuaranteesSizes = Field(description="The published numbers of networks, and the published training.")


class Guarantees(Strict):
    """The paper `guarantees`: minimal distances of random and trained image networks."""

    deltas: Annotated[list[Fraction], Ascending] = Field(
        min_length=1, description="Probabilities of failure delta at which the theorem is checked."
    )
    ray_cap: float = Field(gt=0, allow_inf_nan=False, description="How far sign changes along directions are sought, in units of ||x||.")
    scales: GuaranteesScales = Field(description="Grids.")


class BenchmarkSizes(Strict):
    """What the benchmarks measure at one scale."""

    depths: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Ascending] = Field(min_length=1, description="Numbers of hidden layers L.")
    widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths k of every hidden layer.")
    input_dims: Annotated[list[Count], Ascending] = Field(min_length=1, description="Input dimensions d.")
    batch: Annotated[int, Field(ge=2)] = Field(description="Networks worked on at a time, where batches are measured.")
    layer_width: Count = Field(description="Width k at which the first layer is measured alone.")
    layer_dims: Annotated[list[Count], Ascending] = Field(min_length=1, description="Its input dimensions d.")
    choice_depths: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Ascending] = Field(
        min_length=1, description="Numbers of hidden layers at which the choice between held and never formed is checked."
    )
    choice_widths: Annotated[list[Count], Ascending] = Field(min_length=1, description="Widths k for that.")
    choice_dims: Annotated[list[Count], Ascending] = Field(min_length=1, description="Input dimensions d for that.")
    training_side: Count = Field(description="Side of the images of the training near initialisation that is measured.")
    training_width: Count = Field(description="Its width m.")
    training_c0: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Ascending] = Field(
        min_length=1, description="Its balls."
    )
    minimal_sides: Annotated[list[Count], Ascending] = Field(
        min_length=1, description="Sides of the images on which the smallest distances are put beside Foolbox's."
    )
    minimal_networks: Count = Field(description="Random residual networks for that, of each side.")
    minimal_inputs: Count = Field(description="Images for each of them.")
    memory_gb: float = Field(gt=0, allow_inf_nan=False, description="What dense weights may take; more is not measured.")
    seconds: float = Field(gt=0, allow_inf_nan=False, description="How long each is measured; three times at least.")


class BenchmarkScales(Strict):
    """The grids of the benchmarks, by scale."""

    smoke: BenchmarkSizes = Field(description="Everything once, tiny.")
    laptop: BenchmarkSizes = Field(description="A few minutes, with no other job beside it.")
    paper: BenchmarkSizes = Field(description="The same for longer, and dense networks of more memory.")


class Benchmarks(Strict):
    """Time and memory of the fast parts, beside plain implementations."""

    scales: BenchmarkScales = Field(description="Grids and times.")


class Config(Strict):
    """The science: what is sampled, how often, at which scale. How it runs is in `profiles/`."""

    scale: Scale = Field(
        description="smoke: everything once, tiny; laptop: every figure and claim; paper: about the published sample sizes, or more."
    )
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
    benchmarks: Benchmarks = Field(description="Time and memory of the fast parts.")
    multilayer: Multilayer = Field(description="The paper `multilayer`.")
    lazy: Lazy = Field(description="The paper `lazy`.")
    guarantees: Guarantees = Field(description="The paper `guarantees`.")

    @model_validator(mode="after")
    def _known_dataset(self) -> "Config":
        if self.lazy.dataset not in self.datasets:
            raise ValueError(f"lazy/dataset: there is no data set {self.lazy.dataset!r}; name one of {', '.join(self.datasets)}")
        for name, sizes in self.guarantees.scales:
            for dataset in sizes.trained:
                if dataset not in self.datasets:
                    known = ", ".join(self.datasets)
                    raise ValueError(f"guarantees/scales/{name}/trained: there is no data set {dataset!r}; name one of {known}")
        return self


def _first_line(error: ValidationError) -> str:
    """The first problem as one line: which key, what is wrong, what was found there."""
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
    return f"config.yaml: {key}: {message}{more}"


def validate(values: object) -> Config:
    """The configuration as typed values; a mistake in it is one line."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise Mistake(_first_line(error)) from None


def schema() -> str:
    """The configuration's JSON schema as YAML: `workflow/schemas/config.schema.yaml`."""
    return yaml.safe_dump(json.loads(json.dumps(Config.model_json_schema())), sort_keys=False, width=120)
