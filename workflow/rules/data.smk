# Images: from where the configuration says to two classes of them, and a report on what they are.
from onestep.data.sources import TITLES, resolve, root_of

try:
    SOURCES = resolve(config["data_source"], config["data_root"])
except Mistake as mistake:
    stop(mistake)


def sources(wildcards):
    """Where a data set's images really come from: a param, so that other data are made when the source changes."""
    source = SOURCES[setting(f"datasets/{wildcards.dataset}/images")]
    root = root_of(source, config["data_root"])
    return f"--source {source}" + ("" if root is None else f" --root {root}")


def title(wildcards):
    """The data set's name for people."""
    return TITLES[setting(f"datasets/{wildcards.dataset}/images")]


rule prepare:
    output:
        images="results/data/{dataset}/images.safetensors",
    log:
        "results/data/{dataset}/prepare.log",
    cache: True
    threads: 1
    resources:
        mem_mb=3000,
        runtime=minutes(60),
        gpu=0,
        seconds=3,
    params:
        images=lambda wildcards: setting(f"datasets/{wildcards.dataset}/images"),
        negative=lambda wildcards: setting(f"datasets/{wildcards.dataset}/negative"),
        positive=lambda wildcards: setting(f"datasets/{wildcards.dataset}/positive"),
        source=sources,
        title=title,
        code=code("onestep.data.prepare"),
    message:
        "Preparing two classes of {params.title} ({params.source})."
    shell:
        "onestep data prepare --dataset {wildcards.dataset} --images {params.images} --negative {params.negative}"
        " --positive {params.positive} {params.source} --out {output.images} > {log} 2>&1"


rule data:
    input:
        datasets=expand("results/data/{dataset}/images.safetensors", dataset=config["datasets"]),
    output:
        figure=report(
            RESULTS + "figures/data/datasets.svg",
            caption="../../report/captions/data/datasets.rst",
            category="0. Data",
            labels={"figure": "The images, their classes and their checksums"},
        ),
        pdf=RESULTS + "figures/data/datasets.pdf",
        table=RESULTS + "figures/data/datasets.csv",
    log:
        RESULTS + "logs/data.log",
    benchmark:
        RESULTS + "benchmarks/data.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=minutes(10),
        gpu=0,
        seconds=4,
    params:
        code=code("onestep.data_report"),
    message:
        "Drawing the report on the images."
    shell:
        "onestep data report --datasets {input.datasets} --out {output.pdf} > {log} 2>&1"
