# guarantees: minimal distances of random and trained image networks. A job is one architecture and side, or one network to train.
include: "jobs/guarantees.smk"


GUARANTEES_FIGURES = {
    "distances": "Figure 1: median distances of random images",
    "relative": "Figure 2: the same, relative to the images",
    "supplement": "The supplement: three other architectures",
    "law": "The first-order law, from the kernel",
    "percentiles": "Figure 3: l1 distances by percentile, trained networks",
    "trained": "Figure 4: median l1 distances, random and trained",
    "bounds": "Theorem 1: what it guarantees, and what attacks find",
    "rays": "Theorem 1 along random directions",
    "examples": "Adversarial examples in the three norms",
}
GUARANTEES_TABLES = ["medians", "exponents", "law", "search", "rays", "kernels", "bounds", "trained", "ratios"]
GUARANTEES_RECORDS = {
    name: [f"{RESULTS}/records/guarantees/{file}" for file in files]
    for name, files in {
        "sample": guarantees_samples(),
        "search": [
            f"search/{effort}/resnet/side-{side}/from-{first}.parquet"
            for effort in ("fast", "thorough")
            for side in setting(f"{GUARANTEES}/search_sides")
            for first in guarantees_firsts("search_networks")
        ],
        "rays": guarantees_rays(),
        "law": [f"law/resnet/side-{side}.parquet" for side in setting(f"{GUARANTEES}/law_sides")],
        "kernels": [
            f"kernels/{architecture}.parquet" for architecture in ("convolutional", "fully-connected", "periodic", "periodic-pooled")
        ],
        "attack": guarantees_attacks(),
        "examples": [f"examples/{dataset}.parquet" for dataset in setting(f"{GUARANTEES}/trained")],
    }.items()
}
GUARANTEES_EVIDENCE = " ".join(f"--{name} {{input.{name}}}" for name in GUARANTEES_RECORDS)


rule guarantees_sample:
    output:
        records=f"{RESULTS}/records/guarantees/sample/{{architecture}}/side-{{side}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/sample/{{architecture}}/side-{{side}}/from-{{first}}.log",
    cache: True
    priority: lambda wildcards: round(guarantees_seconds(wildcards))
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(guarantees_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        # Params, not wildcards, make the key under which the cache finds a result.
        cell=guarantees_cell,
        seed=setting("seed"),
        device=device,
        code=code("onestep.guarantees.experiment"),
    message:
        "Looking for the nearest boundary of random networks ({wildcards.architecture}), side {wildcards.side}, from network {wildcards.first}."
    shell:
        "onestep guarantees sample {params.cell} --norm l1 l2 linf --seed {params.seed} --device {params.device} --out {output.records}"
        " > {log} 2>&1"


rule guarantees_search:
    output:
        records=f"{RESULTS}/records/guarantees/search/{{effort}}/{{architecture}}/side-{{side}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/search/{{effort}}/{{architecture}}/side-{{side}}/from-{{first}}.log",
    cache: True
    priority: lambda wildcards: round(5 * guarantees_seconds(wildcards))
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: 5 * guarantees_seconds(wildcards)),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        cell=lambda wildcards: guarantees_cell(wildcards, "search"),
        effort=lambda wildcards: wildcards.effort,
        seed=setting("seed"),
        device=device,
        code=code("onestep.guarantees.second"),
    message:
        "Searching again from the points that were found, side {wildcards.side}, from network {wildcards.first}."
    shell:
        "onestep guarantees search {params.cell} --norm l1 l2 linf --effort {params.effort} --seed {params.seed} --device {params.device}"
        " --out {output.records} > {log} 2>&1"


rule guarantees_rays:
    output:
        records=f"{RESULTS}/records/guarantees/rays/{{architecture}}/side-{{side}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/rays/{{architecture}}/side-{{side}}.log",
    cache: True
    priority: lambda wildcards: int(wildcards.side)
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: guarantees_ray_seconds(wildcards)),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        cell=lambda wildcards: guarantees_cell(wildcards, "rays"),
        cap=setting("guarantees/ray_cap"),
        seed=setting("seed"),
        device=device,
        code=code("onestep.guarantees.rays"),
    message:
        "Following random directions of random networks ({wildcards.architecture}), side {wildcards.side}."
    shell:
        "onestep guarantees rays {params.cell} --cap {params.cap} --seed {params.seed} --device {params.device} --out {output.records}"
        " > {log} 2>&1"


rule guarantees_law:
    output:
        records=f"{RESULTS}/records/guarantees/law/{{architecture}}/side-{{side}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/law/{{architecture}}/side-{{side}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: round(1.3 + 4e-4 * int(wildcards.side) ** 2 * setting(f"{GUARANTEES}/law_inputs"), 1)),
        mem_mb=3000,
        gpu=0,
    params:
        architecture=lambda wildcards: wildcards.architecture,
        side=lambda wildcards: int(wildcards.side),
        draws=setting(f"{GUARANTEES}/law_draws"),
        inputs=setting(f"{GUARANTEES}/law_inputs"),
        seed=setting("seed"),
        code=code("onestep.guarantees.kernels"),
    message:
        "Drawing the first-order law from the kernel ({wildcards.architecture}), side {wildcards.side}."
    shell:
        "onestep guarantees law --architecture {params.architecture} --side {params.side} --networks {params.draws} --inputs {params.inputs}"
        " --norm l1 l2 linf --seed {params.seed} --out {output.records} > {log} 2>&1"


rule guarantees_kernels:
    output:
        records=f"{RESULTS}/records/guarantees/kernels/{{architecture}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/kernels/{{architecture}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(round(3 + 0.05 * setting(f"{GUARANTEES}/kernel_steps"))),
        mem_mb=4000,
        gpu=0,
    params:
        architecture=lambda wildcards: wildcards.architecture,
        sides=setting(f"{GUARANTEES}/kernel_sides"),
        steps=setting(f"{GUARANTEES}/kernel_steps"),
        seed=setting("seed"),
        code=code("onestep.guarantees.kernels"),
    message:
        "Checking Theorem 2 on the kernel of infinitely wide networks ({wildcards.architecture})."
    shell:
        "onestep guarantees kernels --architecture {params.architecture} --side {params.sides} --steps {params.steps} --seed {params.seed}"
        " --out {output.records} > {log} 2>&1"


rule guarantees_train:
    input:
        images="results/data/{dataset}/images.safetensors",
    output:
        model=f"{RESULTS}/models/guarantees/{{dataset}}/network-{{network}}.safetensors",
    log:
        f"{RESULTS}/logs/guarantees/train/{{dataset}}/network-{{network}}.log",
    cache: True
    priority: 500
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(guarantees_training_seconds),
        mem_mb=3000,
        disk_mb=guarantees_weights,
        gpu=gpu_hint,
    params:
        dataset=lambda wildcards: wildcards.dataset,
        network=lambda wildcards: int(wildcards.network),
        how=guarantees_training,
        seed=setting("seed"),
        device=device,
        code=code("onestep.guarantees.models"),
    message:
        "Training residual network {wildcards.network} on {wildcards.dataset}."
    shell:
        "onestep guarantees train --dataset {params.dataset} --images {input.images} --network {params.network} {params.how}"
        " --seed {params.seed} --device {params.device} --out {output.model} > {log} 2>&1"


rule guarantees_attack:
    input:
        images="results/data/{dataset}/images.safetensors",
        models=guarantees_models,
    output:
        records=f"{RESULTS}/records/guarantees/attack/{{dataset}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/attack/{{dataset}}/from-{{first}}.log",
    cache: True
    priority: 600
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(guarantees_attack_seconds),
        mem_mb=3000,
        gpu=gpu_hint,
    params:
        inputs=lambda wildcards: setting(f"{GUARANTEES}/trained/{wildcards.dataset}/inputs"),
        device=device,
        code=code("onestep.guarantees.trained"),
    message:
        "Looking for the nearest boundary of networks trained on {wildcards.dataset}, from network {wildcards.first}."
    shell:
        "onestep guarantees attack --models {input.models} --images {input.images} --inputs {params.inputs} --device {params.device}"
        " --out {output.records} > {log} 2>&1"


rule guarantees_examples:
    input:
        images="results/data/{dataset}/images.safetensors",
        model=f"{RESULTS}/models/guarantees/{{dataset}}/network-0.safetensors",
    output:
        records=f"{RESULTS}/records/guarantees/examples/{{dataset}}.parquet",
    log:
        f"{RESULTS}/logs/guarantees/examples/{{dataset}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(6),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        inputs=setting(f"{GUARANTEES}/example_images"),
        device=device,
        code=code("onestep.guarantees.trained"),
    message:
        "Making adversarial examples to look at ({wildcards.dataset})."
    shell:
        "onestep guarantees examples --model {input.model} --images {input.images} --inputs {params.inputs} --device {params.device}"
        " --out {output.records} > {log} 2>&1"


rule guarantees_claims:
    input:
        **GUARANTEES_RECORDS,
        published="workflow/resources/guarantees_figure1.csv",
    output:
        claims=f"{RESULTS}/claims/guarantees.json",
        tables=expand(f"{RESULTS}/tables/guarantees/{{table}}.csv", table=GUARANTEES_TABLES),
    log:
        f"{RESULTS}/logs/guarantees/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/guarantees/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(8),
        mem_mb=2000,
        gpu=0,
    params:
        deltas=setting("guarantees/deltas"),
        seed=setting("seed"),
        scale=SCALE,
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        code=code("onestep.guarantees.claims"),
    message:
        "Judging the claims of guarantees."
    shell:
        f"onestep guarantees claims {GUARANTEES_EVIDENCE} --published {{input.published}}"
        " --deltas {params.deltas} --scale {params.scale} --seed {params.seed} --tables {params.tables} --out {output.claims} > {log} 2>&1"


rule guarantees_figures:
    input:
        **GUARANTEES_RECORDS,
        published="workflow/resources/guarantees_figure1.csv",
    output:
        **{
            name: report(
                f"{RESULTS}/figures/guarantees/{name}.svg",
                caption=f"../../report/captions/guarantees/{name}.rst",
                category="4. Image networks",
                labels={"figure": label},
            )
            for name, label in GUARANTEES_FIGURES.items()
        },
        pdf=expand(f"{RESULTS}/figures/guarantees/{{figure}}.pdf", figure=GUARANTEES_FIGURES),
    log:
        f"{RESULTS}/logs/guarantees/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/guarantees/figures.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(12),
        mem_mb=2000,
        gpu=0,
    params:
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.guarantees.figures"),
    message:
        "Drawing the figures of guarantees."
    shell:
        f"onestep guarantees figures {GUARANTEES_EVIDENCE} --published {{input.published}}"
        " --seed {params.seed} --out {params.figures} > {log} 2>&1"


rule guarantees_notebook:
    input:
        notebook="workflow/notebooks/guarantees.ipynb",
        sample=GUARANTEES_RECORDS["sample"],
        claims=f"{RESULTS}/claims/guarantees.json",
        tables=rules.guarantees_claims.output.tables,
    output:
        page=report(
            f"{RESULTS}/notebooks/guarantees.html",
            caption="../../report/captions/notebook.rst",
            category="4. Image networks",
            labels={"figure": "A walk through the records"},
        ),
    log:
        f"{RESULTS}/logs/guarantees/notebook.log",
    benchmark:
        f"{RESULTS}/benchmarks/guarantees/notebook.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(6),
        mem_mb=2000,
        gpu=0,
    params:
        results=lambda wildcards, output: Path(output.page).parent.parent,
        code=code("onestep.notebook"),
    message:
        "Walking through the records of guarantees in a notebook."
    shell:
        "onestep notebook --notebook {input.notebook} --results {params.results} --inputs {input.sample} --out {output.page} > {log} 2>&1"


rule guarantees:
    input:
        rules.guarantees_claims.output,
        rules.guarantees_figures.output,
        rules.guarantees_notebook.output,
    message:
        "The claims, figures and notebook of guarantees are in results/."
