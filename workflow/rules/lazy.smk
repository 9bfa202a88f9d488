# lazy: two-layer networks trained near their initialisation. A job is one width and one run with all its sides.
LAZY_FIGURES = {
    "dimension_unit": "Figure 5: perturbation, gradient and step against d, normalised",
    "dimension_pixels": "Figure 2: the same for pixels and a bias",
    "radius_unit": "Figure 6: as the ball grows, normalised",
    "radius_pixels": "Figure 3: the same for pixels and a bias",
    "histograms": "Figure 7: histograms",
}
LAZY_TABLES = ["models", "cells", "exponents", "growth"]
LAZY_KINDS = {
    "corrected": ("unit", "corrected", "none"),
    "corrected-pixels": ("pixels", "corrected", setting("lazy/bias")),
    "published": ("unit", "as_published", "none"),
    "published-pixels": ("pixels", "as_published", "normal"),
}
LAZY_IMAGES = f"results/data/{setting('lazy/dataset')}/images.safetensors"
LAZY_RECORDS = {"attack": lazy_jobs("attack/{kind}/width-{width}/run-{run}.parquet")}


rule lazy_train:
    input:
        images=LAZY_IMAGES,
    output:
        models=temp(directory(f"{RESULTS}/models/lazy/{{kind}}/width-{{width}}/run-{{run}}")),
    log:
        f"{RESULTS}/logs/lazy/train/{{kind}}/width-{{width}}/run-{{run}}.log",
    cache: True
    priority: 50
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=lazy_memory,
        runtime=lambda wildcards: minutes(lazy_seconds(wildcards)),
        gpu=0,
        seconds=lazy_seconds,
    params:
        # Params, not wildcards, make the key under which the cache finds a result.
        kind=lambda wildcards: LAZY_KINDS[wildcards.kind],
        dataset=setting("lazy/dataset"),
        sides=setting(f"{LAZY}/sides"),
        width=lambda wildcards: int(wildcards.width),
        run=lambda wildcards: int(wildcards.run),
        c0=lazy_radii,
        lr=setting("lazy/lr"),
        epochs=lazy_epochs,
        learned=setting("lazy/learned"),
        seed=setting("seed"),
        code=code("onestep.lazy.models"),
    message:
        "Training two-layer networks of width {wildcards.width}, run {wildcards.run} ({wildcards.kind})."
    shell:
        "onestep lazy train --dataset {params.dataset} --images {input.images} --side {params.sides} --width {params.width}"
        " --c0 {params.c0} --run {params.run} --norm {params.kind[0]} --protocol {params.kind[1]} --bias {params.kind[2]}"
        " --lr {params.lr} --epochs {params.epochs} --learned {params.learned} --seed {params.seed} --out {output.models} > {log} 2>&1"


rule lazy_attack:
    input:
        images=LAZY_IMAGES,
        models=rules.lazy_train.output.models,
    output:
        records=f"{RESULTS}/records/lazy/attack/{{kind}}/width-{{width}}/run-{{run}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/attack/{{kind}}/width-{{width}}/run-{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/lazy/attack/{{kind}}/width-{{width}}/run-{{run}}.tsv"
    priority: 60
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=lazy_memory,
        runtime=lambda wildcards: minutes(lazy_seconds(wildcards)),
        gpu=0,
        seconds=lambda wildcards: round(2 + lazy_seconds(wildcards) / 3),
    params:
        chosen=lazy_images,
        code=code("onestep.lazy.experiment"),
    message:
        "Looking for the first step on the networks of width {wildcards.width}, run {wildcards.run} ({wildcards.kind})."
    shell:
        "onestep lazy attack --models {input.models} --images {input.images} {params.chosen} --out {output.records} > {log} 2>&1"


rule lazy_claims:
    input:
        **LAZY_RECORDS,
    output:
        claims=f"{RESULTS}/claims/lazy.json",
        tables=expand(f"{RESULTS}/tables/lazy/{{table}}.csv", table=LAZY_TABLES),
    log:
        f"{RESULTS}/logs/lazy/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/lazy/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=minutes(30),
        gpu=0,
        seconds=4,
    params:
        seed=setting("seed"),
        scale=SCALE,
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        code=code("onestep.lazy.claims"),
    message:
        "Judging the claims of lazy."
    shell:
        "onestep lazy claims --attack {input.attack} --scale {params.scale} --seed {params.seed} --tables {params.tables}"
        " --out {output.claims} > {log} 2>&1"


rule lazy_figures:
    input:
        **LAZY_RECORDS,
    output:
        **{
            name: report(
                f"{RESULTS}/figures/lazy/{name}.svg",
                caption=f"../../report/captions/lazy/{name}.rst",
                category="3. Lazy training",
                labels={"figure": label},
            )
            for name, label in LAZY_FIGURES.items()
        },
        pdf=expand(f"{RESULTS}/figures/lazy/{{figure}}.pdf", figure=LAZY_FIGURES),
    log:
        f"{RESULTS}/logs/lazy/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/lazy/figures.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=minutes(30),
        gpu=0,
        seconds=8,
    params:
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.lazy.figures"),
    message:
        "Drawing the figures of lazy."
    shell:
        "onestep lazy figures --attack {input.attack} --seed {params.seed} --out {params.figures} > {log} 2>&1"


rule lazy_notebook:
    input:
        notebook="workflow/notebooks/lazy.ipynb",
        attack=LAZY_RECORDS["attack"],
        claims=f"{RESULTS}/claims/lazy.json",
        tables=rules.lazy_claims.output.tables,
    output:
        page=report(
            f"{RESULTS}/notebooks/lazy.html",
            caption="../../report/captions/notebook.rst",
            category="3. Lazy training",
            labels={"figure": "A walk through the records"},
        ),
    log:
        f"{RESULTS}/logs/lazy/notebook.log",
    benchmark:
        f"{RESULTS}/benchmarks/lazy/notebook.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=minutes(60),
        gpu=0,
        seconds=6,
    params:
        results=lambda wildcards, output: Path(output.page).parent.parent,
        code=code("onestep.notebook"),
    message:
        "Walking through the records of lazy in a notebook."
    shell:
        "onestep notebook --notebook {input.notebook} --results {params.results} --inputs {input.attack} --out {output.page} > {log} 2>&1"


rule lazy:
    input:
        rules.lazy_claims.output,
        rules.lazy_figures.output,
        rules.lazy_notebook.output,
    message:
        "The claims, figures and notebook of lazy are in results/."
