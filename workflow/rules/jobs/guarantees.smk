# The jobs of guarantees: which there are at a scale, how large each is, and about how long it takes.
GUARANTEES = f"guarantees/scales/{SCALE}"
THEOREM = ["periodic", "periodic-pooled"]
SUPPLEMENT = ["lenet", "convolutional", "fully-connected"]


def guarantees_sizes(architecture):
    """Networks and inputs of each cell of the random networks."""
    if architecture == "resnet":
        return setting(f"{GUARANTEES}/networks"), setting(f"{GUARANTEES}/inputs")
    return setting(f"{GUARANTEES}/{'theorem' if architecture in THEOREM else 'supplement'}_networks"), 1


def guarantees_firsts(networks):
    """The first networks of the parts that so many networks are split into."""
    return range(0, setting(f"{GUARANTEES}/{networks}"), setting(f"{GUARANTEES}/networks_per_job"))


def guarantees_samples():
    """The files of the random networks: one for each architecture, side and part."""
    grids = [("resnet", "sides", "networks"), *((name, "supplement_sides", "supplement_networks") for name in SUPPLEMENT)]
    grids += [(name, "theorem_sides", "theorem_networks") for name in THEOREM]
    return [
        f"sample/{architecture}/side-{side}/from-{first}.parquet"
        for architecture, sides, networks in grids
        for side in setting(f"{GUARANTEES}/{sides}")
        for first in guarantees_firsts(networks)
    ]


def guarantees_rays():
    """The files of the random directions: one for each architecture and side."""
    grids = [("resnet", "ray_sides"), *((name, "theorem_sides") for name in THEOREM)]
    return [f"rays/{architecture}/side-{side}.parquet" for architecture, sides in grids for side in setting(f"{GUARANTEES}/{sides}")]


def guarantees_part(wildcards, networks):
    """How many networks the part that starts with `first` has."""
    return min(setting(f"{GUARANTEES}/networks_per_job"), networks - int(wildcards.first))


def guarantees_cell(wildcards, experiment="sample"):
    """Which networks and inputs a job looks at, as options."""
    networks, inputs = guarantees_sizes(wildcards.architecture)
    if experiment == "rays":
        networks, inputs = setting(f"{GUARANTEES}/ray_networks"), 1
    else:
        networks = guarantees_part(wildcards, setting(f"{GUARANTEES}/search_networks") if experiment == "search" else networks)
    first = "" if experiment == "rays" else f" --first-network {wildcards.first}"
    return f"--architecture {wildcards.architecture} --side {wildcards.side} --networks {networks}{first} --inputs {inputs}"


def guarantees_gradient(architecture, side):
    """Seconds that a gradient takes, from measured times."""
    at_32 = {"resnet": 8e-3, "lenet": 12e-3, "fully-connected": 2e-4, "periodic-pooled": 11e-3}.get(architecture, 19e-3)
    return 5e-4 + at_32 * (int(side) / 32) ** 2


def guarantees_seconds(wildcards):
    """About how long a job takes that looks for the nearest boundary in the three norms."""
    networks, inputs = guarantees_sizes(wildcards.architecture)
    gradient = guarantees_gradient(wildcards.architecture, wildcards.side)
    return round(2 + 65 * gradient * guarantees_part(wildcards, networks) * inputs, 1)


def guarantees_ray_seconds(wildcards):
    """About how long a job takes that follows random directions."""
    return round(2 + 30 * guarantees_gradient(wildcards.architecture, wildcards.side) * setting(f"{GUARANTEES}/ray_networks"), 1)


def guarantees_training(wildcards):
    """How a network is trained, as options."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    options = {
        "width": sizes["filters"],
        "images-used": sizes["images"],
        "test-images": sizes["test_images"],
        "epochs": sizes["epochs"],
        "until": sizes["until"],
    }
    options |= {"batch": sizes["batch"], "lr": sizes["lr"]}
    return " ".join(f"--{name} {value}" for name, value in options.items() if value is not None)


def guarantees_training_seconds(wildcards):
    """About how long that takes."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    # Where training ends once the images are learned that takes a third of the epochs, or less.
    epochs = sizes["epochs"] / 3 if sizes["until"] else sizes["epochs"]
    return round(3 + 0.01 * sizes["filters"] ** 2 * (sizes["images"] or 60_000) * epochs)


def guarantees_weights(wildcards):
    """Megabytes of a model: a million weights at the published width."""
    return max(1, round(4.4 * setting(f"{GUARANTEES}/trained/{wildcards.dataset}")["filters"] ** 2))


def guarantees_attacks():
    """The files of the trained networks: one for each data set and part."""
    return [
        f"attack/{dataset}/from-{first}.parquet"
        for dataset, sizes in setting(f"{GUARANTEES}/trained").items()
        for first in range(0, sizes["networks"], sizes["networks_per_job"])
    ]


def guarantees_models(wildcards):
    """The trained networks of such a part."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    last = min(int(wildcards.first) + sizes["networks_per_job"], sizes["networks"])
    folder = f"{RESULTS}/models/guarantees/{wildcards.dataset}"
    return [f"{folder}/network-{network}.safetensors" for network in range(int(wildcards.first), last)]


def guarantees_attack_seconds(wildcards):
    """About how long they are attacked."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    return round(3 + 6 * 35 * 8e-3 * sizes["filters"] ** 2 * len(guarantees_models(wildcards)) * sizes["inputs"])
