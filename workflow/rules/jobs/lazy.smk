# The jobs of lazy: which there are at a scale, how large each is, and about how long it takes.
LAZY = f"lazy/scales/{SCALE}"


def lazy_jobs(pattern):
    """The files of an experiment: one for each way of training, width and run."""
    sizes = setting(LAZY)
    jobs = [(kind, width, sizes["runs"]) for kind in ("corrected", "corrected-pixels") for width in sizes["widths"]]
    jobs += [(kind, width, sizes["widest_runs"]) for kind in ("corrected", "corrected-pixels") for width in sizes["widest"]]
    jobs += [(kind, width, sizes["published_runs"]) for kind in ("published", "published-pixels") for width in sizes["published_widths"]]
    return [pattern.format(kind=kind, width=width, run=run) for kind, width, runs in jobs for run in range(runs)]


def lazy_some(experiment, widths, runs):
    """The files of an experiment on some of the networks that are trained as the text says."""
    kinds = ("corrected", "corrected-pixels")
    return [f"{experiment}/{kind}/width-{width}/run-{run}.parquet" for kind in kinds for width in widths for run in range(runs)]


def lazy_panels(check=False):
    """The files of Figure 4, or of the check on its training: one for each panel, protocol, width, side and run."""
    sizes = setting(f"{LAZY}/adversarial")
    budgets = "adversarial/budgets/{}/width-{}/side-{}/run-{}.parquet"
    if check:
        jobs = [("corrected", sizes["width"], side, sizes["runs"]) for side in sizes["checked_sides"]]
        budgets = budgets.replace("adversarial", "check", 1)
    else:
        jobs = [("corrected", sizes["width"], side, sizes["runs"]) for side in sizes["sides"]]
        jobs += [("as_published", sizes["width"], side, sizes["published_runs"]) for side in sizes["published_sides"]]
    files = [budgets.format(*job, run) for *job, runs in jobs for run in range(runs)]
    if not check:
        radii = budgets.replace("budgets", "radii", 1)
        files += [radii.format("corrected", width, sizes["side"], run) for width in sizes["widths"] for run in range(sizes["runs"])]
    return files


def lazy_cells(wildcards):
    """The cells of a job of Figure 4, as options: budgets in one ball, or balls for one budget; the same in every figure."""
    figure = setting("lazy/adversarial")

    def between(values, size):
        low, high = figure["ends"]
        return [low, *(value / size**0.5 for value in values if low < value / size**0.5 < high), high]

    width, dim = int(wildcards.width), int(wildcards.side) ** 2
    if wildcards.get("panel", "budgets") == "budgets":
        budgets, radii = between(figure["budgets"], dim), [figure["c0"] / width**0.5]
    else:
        budgets, radii = [figure["budget"]], between(figure["radii"], width)
    return " ".join(["--budget", *(f"{value:.5g}" for value in budgets), "--radius", *(f"{value:.5g}" for value in radii)])


def lazy_attacks(wildcards):
    """How a job of Figure 4 attacks and when its trainings end, as options."""
    sizes = setting(f"{LAZY}/adversarial")
    published = "published_" if wildcards.get("protocol") == "as_published" else ""
    options = {"epochs": sizes[f"{published}epochs"], "patience": sizes[f"{published}patience"]}
    options |= {"training-steps": sizes["training_steps"], "test-steps": sizes["test_steps"]}
    return " ".join(f"--{name} {value}" for name, value in options.items())


def lazy_panel_seconds(wildcards):
    """About how long a job of Figure 4 takes, from measured times."""
    sizes = setting(f"{LAZY}/adversarial")
    epochs = sizes["published_epochs"] / 3 if wildcards.get("protocol") == "as_published" else min(sizes["epochs"], 4)
    each = (
        5e-7
        * int(wildcards.width)
        * (300 + int(wildcards.side) ** 2)
        * (epochs * (sizes["training_steps"] + 2) + 0.1 * sizes["test_steps"])
    )
    return round(2 + each * 7)


def lazy_radii(wildcards):
    """The C0 of a job; inf: without a ball, too."""
    every, width = setting("lazy/c0"), int(wildcards.width)
    if width in setting(f"{LAZY}/widest"):
        return every[:1]
    free = wildcards.kind.startswith("corrected") and width in setting(f"{LAZY}/free_widths")
    return every + (["inf"] if free else [])


def lazy_epochs(wildcards):
    """Epochs at most."""
    return setting(f"{LAZY}/published_epochs" if wildcards.kind.startswith("published") else "lazy/epochs")


def lazy_images(wildcards):
    """How many test images are looked at, as an option; all where it is left out."""
    return f"--test-images {setting(f'{LAZY}/widest_images')}" if int(wildcards.width) in setting(f"{LAZY}/widest") else ""


def lazy_seconds(wildcards):
    """About how long a training takes, from measured times."""
    pixels = sum(side**2 for side in setting(f"{LAZY}/sides"))
    epochs = {"published": 10, "published-pixels": 10, "corrected": 1.8, "corrected-pixels": 3.5}[wildcards.kind]
    epochs = 0.07 if int(wildcards.width) in setting(f"{LAZY}/widest") else epochs
    return round(2 + epochs * 2e-6 * int(wildcards.width) * pixels)


def lazy_memory(wildcards):
    """Megabytes: the weights of the largest network, several times."""
    return 1000 + round(4e-5 * int(wildcards.width) * setting(f"{LAZY}/sides")[-1] ** 2)


def lazy_weights(wildcards):
    """Megabytes of the models: one for each side and C0."""
    weights = int(wildcards.width) * sum(side**2 + 1 for side in setting(f"{LAZY}/sides"))
    return max(1, round(4e-6 * weights * len(lazy_radii(wildcards))))
