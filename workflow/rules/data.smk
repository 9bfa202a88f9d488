# Images: from where the configuration says to two classes of them, and a report on what they are.
rule prepare:
    output:
        images="results/data/{dataset}/images.safetensors",
    log:
        "results/data/{dataset}/prepare.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(6),
        mem_mb=3000,
        gpu=0,
    params:
        dataset=lambda wildcards: wildcards.dataset,
        images=lambda wildcards: setting(f"datasets/{wildcards.dataset}/images"),
        negative=lambda wildcards: setting(f"datasets/{wildcards.dataset}/negative"),
        positive=lambda wildcards: setting(f"datasets/{wildcards.dataset}/positive"),
        source=sources,
        title=title,
        code=code("onestep.data.prepare"),
    message:
        "Preparing two classes of {params.title} ({params.source})."
    shell:
        "onestep data prepare --dataset {params.dataset} --images {params.images} --negative {params.negative}"
        " --positive {params.positive} {params.source} --out {output.images} > {log} 2>&1"


rule data:
    input:
        datasets=expand("results/data/{dataset}/images.safetensors", dataset=config["datasets"]),
    output:
        figure=report(
            f"{RESULTS}/figures/data/datasets.svg",
            caption="../../report/captions/data/datasets.rst",
            category="0. Data",
            labels={"figure": "The images, their classes and their checksums"},
        ),
        pdf=f"{RESULTS}/figures/data/datasets.pdf",
        table=f"{RESULTS}/tables/data/datasets.csv",
    log:
        f"{RESULTS}/logs/data.log",
    benchmark:
        f"{RESULTS}/benchmarks/data.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(4),
        mem_mb=2000,
        gpu=0,
    params:
        code=code("onestep.data_report"),
    message:
        "Drawing the report on the images."
    shell:
        "onestep data report --datasets {input.datasets} --table {output.table} --out {output.pdf} > {log} 2>&1"
