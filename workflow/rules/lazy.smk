# lazy: two-layer networks trained near their initialisation. A job is one width and one run with all its sides.
include: "jobs/lazy.smk"


LAZY_FIGURES = {
    "dimension_unit": "Figure 5: perturbation, gradient and step against d, normalised",
    "dimension_pixels": "Figure 2: the same for pixels and a bias",
    "radius_unit": "Figure 6: as the ball grows, normalised",
    "radius_pixels": "Figure 3: the same for pixels and a bias",
    "histograms": "Figure 7: histograms",
}
LAZY_FIGURES |= {
    "robust": "Figure 4: adversarial training in a ball",
    "collapse": "Figure 4 in one variable, and what is certain of all networks of the ball",
    "journey": "Where laziness ends: training without a ball",
    "bracket": "What the single step loses",
}
LAZY_TABLES = ["models", "cells", "exponents", "growth", "protocols", "robust", "contours", "checks", "ball", "bracket"]
LAZY_KINDS = {
    "corrected": ("unit", "corrected", "none"),
    "corrected-pixels": ("pixels", "corrected", setting("lazy/bias")),
    "published": ("unit", "as_published", "none"),
    "published-pixels": ("pixels", "as_published", "normal"),
}
LAZY_IMAGES = f"results/data/{setting('lazy/dataset')}/images.safetensors"
LAZY_RECORDS = {
    name: [f"{RESULTS}/records/lazy/{file}" for file in files]
    for name, files in {
        "attack": lazy_jobs("attack/{kind}/width-{width}/run-{run}.parquet"),
        "bracket": lazy_some("bracket", setting(f"{LAZY}/widths")[:1], setting(f"{LAZY}/bracket_runs")),
        "journey": lazy_some("journey", setting(f"{LAZY}/free_widths"), setting(f"{LAZY}/runs")),
        "adversarial": lazy_panels(),
        "check": lazy_panels(check=True),
        "ball": [f"ball/width-{width}.parquet" for width in setting(f"{LAZY}/ball_widths")],
    }.items()
}

LAZY_EVIDENCE = " ".join(f"--{name} {{input.{name}}}" for name in LAZY_RECORDS)


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
        **lasting(lazy_seconds),
        mem_mb=lazy_memory,
        disk_mb=lazy_weights,
        gpu=0,
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
    cache: True
    priority: 60
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: round(2 + lazy_seconds(wildcards) / 3)),
        mem_mb=lazy_memory,
        gpu=0,
    params:
        chosen=lazy_images,
        code=code("onestep.lazy.experiment"),
    message:
        "Looking for the first step on the networks of width {wildcards.width}, run {wildcards.run} ({wildcards.kind})."
    shell:
        "onestep lazy attack --models {input.models} --images {input.images} {params.chosen} --out {output.records} > {log} 2>&1"


rule lazy_bracket:
    input:
        images=LAZY_IMAGES,
        models=rules.lazy_train.output.models,
    output:
        records=f"{RESULTS}/records/lazy/bracket/{{kind}}/width-{{width}}/run-{{run}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/bracket/{{kind}}/width-{{width}}/run-{{run}}.log",
    cache: True
    priority: 60
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(round(2 + 4 * setting(f"{LAZY}/bracket_images"))),
        mem_mb=lazy_memory,
        gpu=0,
    params:
        images=setting(f"{LAZY}/bracket_images"),
        code=code("onestep.lazy.experiment"),
    message:
        "Bracketing the smallest perturbation on the networks of width {wildcards.width}, run {wildcards.run} ({wildcards.kind})."
    shell:
        "onestep lazy bracket --models {input.models} --images {input.images} --test-images {params.images} --out {output.records}"
        " > {log} 2>&1"


rule lazy_journey:
    input:
        images=LAZY_IMAGES,
        models=rules.lazy_train.output.models,
    output:
        records=f"{RESULTS}/records/lazy/journey/{{kind}}/width-{{width}}/run-{{run}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/journey/{{kind}}/width-{{width}}/run-{{run}}.log",
    cache: True
    priority: 60
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(4),
        mem_mb=lazy_memory,
        gpu=0,
    params:
        code=code("onestep.lazy.experiment"),
    message:
        "Following the training without a ball at width {wildcards.width}, run {wildcards.run} ({wildcards.kind})."
    shell:
        "onestep lazy journey --models {input.models} --images {input.images} --out {output.records} > {log} 2>&1"


rule lazy_adversarial:
    input:
        images=LAZY_IMAGES,
    output:
        records=f"{RESULTS}/records/lazy/adversarial/{{panel}}/{{protocol}}/width-{{width}}/side-{{side}}/run-{{run}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/adversarial/{{panel}}/{{protocol}}/width-{{width}}/side-{{side}}/run-{{run}}.log",
    cache: True
    priority: lambda wildcards: lazy_panel_seconds(wildcards)
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lazy_panel_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        dataset=setting("lazy/dataset"),
        # Params, not wildcards, make the key under which the cache finds a result.
        network=lambda wildcards: f"--width {wildcards.width} --side {wildcards.side} --run {wildcards.run}",
        how=lambda wildcards: "--protocol as_published --bias normal" if wildcards.protocol == "as_published" else "",
        cells=lazy_cells,
        attacks=lazy_attacks,
        lr=setting("lazy/adversarial/lr"),
        # The first run is the sample.
        checked=lambda wildcards: setting(f"{LAZY}/adversarial/checked") if wildcards.run == "0" else 0,
        seed=setting("seed"),
        device=device,
        code=code("onestep.lazy.adversarial"),
    message:
        "Training against attacks at width {wildcards.width}, side {wildcards.side}, run {wildcards.run} ({wildcards.protocol})."
    shell:
        "onestep lazy adversarial --dataset {params.dataset} --images {input.images} {params.network} {params.how} {params.cells}"
        " {params.attacks} --lr {params.lr} --checked {params.checked} --seed {params.seed} --device {params.device} --out {output.records}"
        " > {log} 2>&1"


rule lazy_check:
    input:
        images=LAZY_IMAGES,
    output:
        records=f"{RESULTS}/records/lazy/check/budgets/{{protocol}}/width-{{width}}/side-{{side}}/run-{{run}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/check/budgets/{{protocol}}/width-{{width}}/side-{{side}}/run-{{run}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lazy_panel_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        dataset=setting("lazy/dataset"),
        network=lambda wildcards: f"--width {wildcards.width} --side {wildcards.side} --run {wildcards.run}",
        cells=lazy_cells,
        attacks=lazy_attacks,
        lr=setting("lazy/adversarial/lr"),
        seed=setting("seed"),
        device=device,
        code=code("onestep.lazy.adversarial"),
    message:
        "Training against the published attack at width {wildcards.width}, side {wildcards.side}, run {wildcards.run}."
    shell:
        "onestep lazy check --dataset {params.dataset} --images {input.images} {params.network} {params.cells} {params.attacks}"
        " --lr {params.lr} --seed {params.seed} --device {params.device} --out {output.records} > {log} 2>&1"


rule lazy_ball:
    input:
        images=LAZY_IMAGES,
    output:
        records=f"{RESULTS}/records/lazy/ball/width-{{width}}.parquet",
    log:
        f"{RESULTS}/logs/lazy/ball/width-{{width}}.log",
    cache: True
    priority: lambda wildcards: int(wildcards.width) // 100
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: round(2 + (0.07 + 4e-5 * int(wildcards.width)) * setting(f"{LAZY}/ball_networks"))),
        mem_mb=lazy_memory,
        gpu=0,
    params:
        dataset=setting("lazy/dataset"),
        sides=setting(f"{LAZY}/sides"),
        width=lambda wildcards: int(wildcards.width),
        c0=setting("lazy/c0"),
        networks=setting(f"{LAZY}/ball_networks"),
        inputs=setting(f"{LAZY}/ball_inputs"),
        seed=setting("seed"),
        code=code("onestep.lazy.ball"),
    message:
        "Looking at all networks of the balls of width {wildcards.width} at once."
    shell:
        "onestep lazy ball --dataset {params.dataset} --images {input.images} --side {params.sides} --width {params.width} --c0 {params.c0}"
        " --networks {params.networks} --inputs {params.inputs} --seed {params.seed} --out {output.records} > {log} 2>&1"


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
        **lasting(4),
        mem_mb=2000,
        gpu=0,
    params:
        gammas=setting("lazy/gammas"),
        seed=setting("seed"),
        scale=SCALE,
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        code=code("onestep.lazy.claims"),
    message:
        "Judging the claims of lazy."
    shell:
        f"onestep lazy claims {LAZY_EVIDENCE}"
        " --gammas {params.gammas} --scale {params.scale} --seed {params.seed} --tables {params.tables} --out {output.claims} > {log} 2>&1"


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
        **lasting(8),
        mem_mb=2000,
        gpu=0,
    params:
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.lazy.figures"),
    message:
        "Drawing the figures of lazy."
    shell:
        f"onestep lazy figures {LAZY_EVIDENCE}" " --seed {params.seed} --out {params.figures} > {log} 2>&1"


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
        **lasting(6),
        mem_mb=2000,
        gpu=0,
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
