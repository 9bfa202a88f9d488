# The jobs of multilayer: which there are at a scale, how large each is, and about how long it takes.
MULTILAYER = f"multilayer/scales/{SCALE}"
PROFILES = ["equal", "growing", "shrinking", "bottleneck"]


def multilayer_parts(pattern, **axes):
    """The record files of an experiment: one for each value of its axes and for each part of the networks."""
    first = range(0, setting(f"{MULTILAYER}/networks"), setting(f"{MULTILAYER}/networks_per_job"))
    return expand(f"{RESULTS}/records/multilayer/{pattern}", **axes, first=first)


def multilayer_networks(wildcards):
    """How many networks of each cell the part that starts with `first` has."""
    return min(setting(f"{MULTILAYER}/networks_per_job"), setting(f"{MULTILAYER}/networks") - int(wildcards.first))


def grid_of(name, profile):
    """Depths, base widths and bottlenecks of a profile in one of the grids `flip` and `ball`."""
    grid = setting(f"{MULTILAYER}/{name}")
    if profile == "bottleneck":
        return grid["bottleneck_depths"], [grid["bottleneck_width"]], grid["bottlenecks"]
    prefix = "" if profile == "equal" else "profile_"
    return grid[f"{prefix}depths"], grid[f"{prefix}widths"], []


def shape_of(name, wildcards):
    """The same as options."""
    depths, widths, bottlenecks = grid_of(name, wildcards.profile)
    options = {"depth": depths, "width": widths, "bottleneck": bottlenecks, "ratio": [setting("multilayer/profile_ratio")]}
    return " ".join(f"--{option} {' '.join(map(str, values))}" for option, values in options.items() if values)


def multilayer_seconds(name, wildcards):
    """About how long a job takes, from measured times."""
    depths, widths, bottlenecks = grid_of("flip" if name == "flip" else "ball", wildcards.profile)
    wider = {"growing": 2, "shrinking": 0.5}.get(wildcards.profile, 1)
    if name == "flip":
        one = sum(L**2 * (3e-4 + 1e-7 * wider * k) for L in depths for k in widths)
    else:
        steps = setting("multilayer/ascent_steps") * {"layers": 1.0, "smoothness": 1.5}[name]
        one = sum(L * (1e-4 + steps * (3e-5 + 1.5e-9 * (wider * k) ** 2)) for L in depths for k in widths)
    return round(2 + multilayer_networks(wildcards) * one * max(1, len(bottlenecks)), 1)


def collapse_widths():
    """The widths at which the depth collapse is followed, the widest of them at one dimension."""
    return sorted({*setting(f"{MULTILAYER}/collapse_widths"), setting(f"{MULTILAYER}/collapse_widest")})


def collapse_dims(wildcards):
    """The input dimensions for a width."""
    dims = setting(f"{MULTILAYER}/collapse_dims")
    return dims if int(wildcards.width) in setting(f"{MULTILAYER}/collapse_widths") else dims[:1]


def collapse_seconds(wildcards):
    """About how long that takes: layers, times what is drawn and multiplied in each."""
    each = setting(f"{MULTILAYER}/collapse_inputs") * int(wildcards.width) * 1.4e-8 + 1e-5
    layers = setting(f"{MULTILAYER}/collapse_depths")[-1] * len(collapse_dims(wildcards))
    return round(2 + multilayer_networks(wildcards) * layers * each, 1)


def scan_jobs():
    """The jobs that scan very deep networks: one for each width, and one for the deepest."""
    return [*(f"width-{width}" for width in setting(f"{MULTILAYER}/scan_widths")), "deepest"]


def scan_grid(wildcards):
    """Depths, width and input dimensions of such a job; the deepest networks have the smallest width and dimension."""
    dims, widths = setting(f"{MULTILAYER}/scan_dims"), setting(f"{MULTILAYER}/scan_widths")
    if wildcards.deep == "deepest":
        return [setting(f"{MULTILAYER}/scan_deepest")], widths[0], dims[:1]
    return setting(f"{MULTILAYER}/scan_depths"), int(wildcards.deep.removeprefix("width-")), dims


def scan_seconds(wildcards):
    """About how long it takes: layers, times what is drawn and multiplied in each."""
    depths, width, dims = scan_grid(wildcards)
    each = setting("multilayer/scan_points") * width * 2.5e-8 + 2e-5
    return round(2 + multilayer_networks(wildcards) * sum(depths) * len(dims) * each, 1)
