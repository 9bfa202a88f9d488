# multilayer: deep random ReLU networks of any profile of widths. A job is one profile with all its depths and widths.
include: "jobs/multilayer.smk"


MULTILAYER_FIGURES = {
    "constant": "Theorem 1.1: its constant against depth",
    "scale": "Lemma 2.2: value and gradient against depth",
    "bottleneck": "One narrow layer",
    "layers": "Lemma 2.3: norms, and the image of a ball",
    "small": "Lemma 2.5: small pre-activations",
    "gradient_change": "Lemma 2.8: the gradient's change in a ball",
    "terms": "Which layer's flips change the gradient",
    "collapse": "Theorem 3.1: depth collapse",
    "depth": "At which depth single steps stop flipping",
}
MULTILAYER_TABLES = ["cells", "constants", "layers", "small", "changes", "slopes", "terms", "collapse", "scan", "vanishing"]
MULTILAYER_RECORDS = {
    "flip": multilayer_parts("flip/profile-{profile}/from-{first}.parquet", profile=PROFILES),
    "layers": multilayer_parts("layers/profile-{profile}/from-{first}.parquet", profile=PROFILES),
    "smoothness": multilayer_parts("smoothness/profile-{profile}/from-{first}.parquet", profile=PROFILES),
    "collapse": multilayer_parts("collapse/width-{width}/from-{first}.parquet", width=collapse_widths()),
    "scan": multilayer_parts("scan/{deep}/from-{first}.parquet", deep=scan_jobs()),
    "limit": [f"{RESULTS}/records/multilayer/limit/infinite.parquet"],
}


rule multilayer_flip:
    output:
        records=f"{RESULTS}/records/multilayer/flip/profile-{{profile}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/multilayer/flip/profile-{{profile}}/from-{{first}}.log",
    cache: True
    priority: 100
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: multilayer_seconds("flip", wildcards)),
        mem_mb=4000,
        gpu=0,
    params:
        # Params, not wildcards, make the key under which the cache finds a result.
        profile=lambda wildcards: wildcards.profile,
        shape=lambda wildcards: shape_of("flip", wildcards),
        first=lambda wildcards: int(wildcards.first),
        networks=multilayer_networks,
        seed=setting("seed"),
        cap=setting("multilayer/perturbation_cap"),
        code=code("onestep.multilayer.experiment"),
    message:
        "Sampling {params.networks} networks for each shape of the profile {wildcards.profile}."
    shell:
        "onestep multilayer flip --profile {params.profile} {params.shape} --first-network {params.first} --networks {params.networks}"
        " --seed {params.seed} --cap {params.cap} --out {output.records} > {log} 2>&1"


rule multilayer_ball:
    output:
        records=f"{RESULTS}/records/multilayer/{{ball}}/profile-{{profile}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/multilayer/{{ball}}/profile-{{profile}}/from-{{first}}.log",
    wildcard_constraints:
        ball="layers|smoothness",
    cache: True
    priority: 90
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: multilayer_seconds(wildcards.ball, wildcards)),
        mem_mb=2000,
        gpu=0,
    params:
        ball=lambda wildcards: wildcards.ball,
        profile=lambda wildcards: wildcards.profile,
        shape=lambda wildcards: shape_of("ball", wildcards),
        first=lambda wildcards: int(wildcards.first),
        networks=multilayer_networks,
        steps=setting("multilayer/ascent_steps"),
        seed=setting("seed"),
        cap=setting("multilayer/perturbation_cap"),
        code=code("onestep.multilayer.experiment"),
    message:
        "Searching balls around inputs of {params.networks} networks for each shape of the profile {wildcards.profile} ({wildcards.ball})."
    shell:
        "onestep multilayer {params.ball} --profile {params.profile} {params.shape} --first-network {params.first}"
        " --networks {params.networks} --steps {params.steps} --seed {params.seed} --cap {params.cap} --out {output.records} > {log} 2>&1"


rule multilayer_collapse:
    output:
        records=f"{RESULTS}/records/multilayer/collapse/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/multilayer/collapse/width-{{width}}/from-{{first}}.log",
    cache: True
    priority: 95
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(collapse_seconds),
        mem_mb=1000,
        gpu=0,
    params:
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        networks=multilayer_networks,
        input_dims=collapse_dims,
        depths=setting(f"{MULTILAYER}/collapse_depths"),
        inputs=setting(f"{MULTILAYER}/collapse_inputs"),
        seed=setting("seed"),
        code=code("onestep.multilayer.depth"),
    message:
        "Following inputs through {params.networks} networks of width {wildcards.width}, behind {params.depths} layers."
    shell:
        "onestep multilayer collapse --width {params.width} --input-dim {params.input_dims} --depth {params.depths}"
        " --inputs {params.inputs} --first-network {params.first} --networks {params.networks} --seed {params.seed}"
        " --out {output.records} > {log} 2>&1"


rule multilayer_scan:
    output:
        records=f"{RESULTS}/records/multilayer/scan/{{deep}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/multilayer/scan/{{deep}}/from-{{first}}.log",
    wildcard_constraints:
        deep=r"width-\d+|deepest",
    cache: True
    priority: 95
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(scan_seconds),
        mem_mb=2000,
        gpu=0,
    params:
        depths=lambda wildcards: scan_grid(wildcards)[0],
        width=lambda wildcards: scan_grid(wildcards)[1],
        input_dims=lambda wildcards: scan_grid(wildcards)[2],
        first=lambda wildcards: int(wildcards.first),
        networks=multilayer_networks,
        points=setting("multilayer/scan_points"),
        seed=setting("seed"),
        cap=setting("multilayer/perturbation_cap"),
        code=code("onestep.multilayer.depth"),
    message:
        "Scanning single steps in {params.networks} networks of width {params.width} and {params.depths} layers."
    shell:
        "onestep multilayer scan --depth {params.depths} --width {params.width} --input-dim {params.input_dims} --points {params.points}"
        " --first-network {params.first} --networks {params.networks} --seed {params.seed} --cap {params.cap}"
        " --out {output.records} > {log} 2>&1"


rule multilayer_limit:
    output:
        records=f"{RESULTS}/records/multilayer/limit/infinite.parquet",
    log:
        f"{RESULTS}/logs/multilayer/limit.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(7 if SCALE != "smoke" else 2),
        mem_mb=1000,
        gpu=0,
    params:
        depths=setting(f"{MULTILAYER}/limit_depths"),
        input_dims=setting(f"{MULTILAYER}/scan_dims"),
        networks=setting(f"{MULTILAYER}/limit_networks"),
        seed=setting("seed"),
        cap=setting("multilayer/perturbation_cap"),
        code=code("onestep.multilayer.depth"),
    message:
        "Sampling single steps in {params.networks} networks of infinite width."
    shell:
        "onestep multilayer limit --depth {params.depths} --input-dim {params.input_dims} --networks {params.networks}"
        " --seed {params.seed} --cap {params.cap} --out {output.records} > {log} 2>&1"


rule multilayer_claims:
    input:
        **MULTILAYER_RECORDS,
    output:
        claims=f"{RESULTS}/claims/multilayer.json",
        tables=expand(f"{RESULTS}/tables/multilayer/{{table}}.csv", table=MULTILAYER_TABLES),
    log:
        f"{RESULTS}/logs/multilayer/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/multilayer/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(8),
        mem_mb=3000,
        gpu=0,
    params:
        deltas=setting("multilayer/deltas"),
        constant=setting("multilayer/constant"),
        seed=setting("seed"),
        scale=SCALE,
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        code=code("onestep.multilayer.claims"),
    message:
        "Judging the claims of multilayer."
    shell:
        "onestep multilayer claims --flip {input.flip} --layers {input.layers} --smoothness {input.smoothness}"
        " --collapse {input.collapse} --scan {input.scan} --limit {input.limit} --deltas {params.deltas} --constant {params.constant}"
        " --scale {params.scale} --seed {params.seed} --tables {params.tables} --out {output.claims} > {log} 2>&1"


rule multilayer_figures:
    input:
        **MULTILAYER_RECORDS,
    output:
        **{
            name: report(
                f"{RESULTS}/figures/multilayer/{name}.svg",
                caption=f"../../report/captions/multilayer/{name}.rst",
                category="2. Many layers",
                labels={"figure": label},
            )
            for name, label in MULTILAYER_FIGURES.items()
        },
        pdf=expand(f"{RESULTS}/figures/multilayer/{{figure}}.pdf", figure=MULTILAYER_FIGURES),
    log:
        f"{RESULTS}/logs/multilayer/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/multilayer/figures.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(12),
        mem_mb=3000,
        gpu=0,
    params:
        deltas=setting("multilayer/deltas"),
        constant=setting("multilayer/constant"),
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.multilayer.figures"),
    message:
        "Drawing the figures of multilayer."
    shell:
        "onestep multilayer figures --flip {input.flip} --layers {input.layers} --smoothness {input.smoothness}"
        " --collapse {input.collapse} --scan {input.scan} --limit {input.limit} --deltas {params.deltas} --constant {params.constant}"
        " --seed {params.seed} --out {params.figures} > {log} 2>&1"


rule multilayer_notebook:
    input:
        notebook="workflow/notebooks/multilayer.ipynb",
        flip=MULTILAYER_RECORDS["flip"],
        smoothness=MULTILAYER_RECORDS["smoothness"],
        claims=f"{RESULTS}/claims/multilayer.json",
        tables=rules.multilayer_claims.output.tables,
    output:
        page=report(
            f"{RESULTS}/notebooks/multilayer.html",
            caption="../../report/captions/notebook.rst",
            category="2. Many layers",
            labels={"figure": "A walk through the records"},
        ),
    log:
        f"{RESULTS}/logs/multilayer/notebook.log",
    benchmark:
        f"{RESULTS}/benchmarks/multilayer/notebook.tsv"
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
        "Walking through the records of multilayer in a notebook."
    shell:
        "onestep notebook --notebook {input.notebook} --results {params.results} --inputs {input.flip} {input.smoothness}"
        " --out {output.page} > {log} 2>&1"


rule multilayer:
    input:
        rules.multilayer_claims.output,
        rules.multilayer_figures.output,
        rules.multilayer_notebook.output,
    message:
        "The claims, figures and notebook of multilayer are in results/."
