# The jobs of singlestep: which there are at a scale, how large each is, and about how long it takes.
SINGLESTEP = f"singlestep/scales/{SCALE}"


def networks_of(depth, width):
    """How many networks a cell of this depth and width has."""
    size = "widest_networks" if width in setting(f"{SINGLESTEP}/widest") else "two_layer_networks" if depth == 1 else "networks"
    return setting(f"{SINGLESTEP}/{size}")


def inputs_of(wildcards):
    """How many inputs each network has."""
    return 1 if int(wildcards.width) >= setting(f"{SINGLESTEP}/one_input_from") else setting(f"{SINGLESTEP}/inputs")


def parts(pattern, depths, widths):
    """The record files of an experiment: for every depth and width, one for each part of the networks."""
    size = setting(f"{SINGLESTEP}/networks_per_job")
    return [
        f"{RESULTS}/records/singlestep/{pattern.format(depth=depth, width=width, first=first)}"
        for depth in depths
        for width in widths
        for first in range(0, networks_of(depth, width), size)
    ]


def networks_in_part(wildcards):
    """How many networks the part that starts with `first` has."""
    total = networks_of(int(wildcards.get("depth", 1)), int(wildcards.width))
    return min(setting(f"{SINGLESTEP}/networks_per_job"), total - int(wildcards.first))


def sampling_seconds(wildcards):
    """About how long a job takes, from measured times: held or never formed, more evaluations along the ray where d is small."""
    depth, width = int(wildcards.get("depth", 1)), int(wildcards.width)
    looks = [3 + 12 * d**-0.3 * (depth > 1) for d in setting(f"{SINGLESTEP}/input_dims")]
    free = sum(inputs_of(wildcards) * depth * n * (1e-4 + 1e-8 * width * (1 + n / 10)) for n in looks)
    held = sum(depth * (1.5e-8 * min(width, 3000) ** 2 + 1e-4 * n) for n in looks)
    return round(1.5 + networks_in_part(wildcards) * min(free, held), 1)


def sampling_memory(wildcards):
    """Megabytes: what the products along the rays of one wide network take."""
    return 2000 + round(4e-3 * int(wildcards.get("depth", 1)) / 6 * int(wildcards.width))
