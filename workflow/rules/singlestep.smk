# singlestep: random ReLU networks, one gradient step. A job is one (depth, width) with all its input dimensions.
SINGLESTEP_FIGURES = {
    "switched": "Figure 1: share of samples that one step switches",
    "step": "Figure 2a: the smallest step",
    "gradient": "Figure 2b: the gradient's norm",
    "scales": "Both readings of the hidden variance",
    "law": "The half-normal law",
    "bounds": "Proposition 3: explicit bounds",
    "fixed_step": "Theorem 2: the fixed step and the gradient's change",
    "universal": "One direction for all inputs",
}
WIDTHS = setting(f"{SINGLESTEP}/widths")
SAMPLE = parts("sample/depth-{depth}/width-{width}/from-{first}.parquet", setting(f"{SINGLESTEP}/depths"), WIDTHS)
UNIVERSAL = parts("universal/width-{width}/from-{first}.parquet", [1], WIDTHS)
FIXED = parts("fixed/width-{width}/from-{first}.parquet", [1], setting(f"{SINGLESTEP}/fixed_widths"))


rule singlestep_sample:
    output:
        records=f"{RESULTS}/records/singlestep/sample/depth-{{depth}}/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/sample/depth-{{depth}}/width-{{width}}/from-{{first}}.log",
    cache: True
    priority: lambda wildcards: int(wildcards.depth) * int(wildcards.width)
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=lambda wildcards: minutes(sampling_seconds(wildcards)),
        gpu=gpu_hint(),
        seconds=sampling_seconds,
    params:
        # Params, not wildcards, make the key under which the cache finds a result.
        depth=lambda wildcards: int(wildcards.depth),
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        inputs=setting(f"{SINGLESTEP}/inputs"),
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        device=setting("device"),
        code=code("onestep.singlestep.experiment"),
    message:
        "Sampling {params.networks} networks of depth {wildcards.depth} and width {wildcards.width}"
        " at {params.input_dims} input dimensions."
    shell:
        "onestep singlestep sample --depth {params.depth} --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs {params.inputs} --seed {params.seed}"
        " --cap {params.cap} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_universal:
    output:
        records=f"{RESULTS}/records/singlestep/universal/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/universal/width-{{width}}/from-{{first}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=lambda wildcards: minutes(sampling_seconds(wildcards)),
        gpu=gpu_hint(),
        seconds=sampling_seconds,
    params:
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        inputs=setting(f"{SINGLESTEP}/inputs"),
        reach=setting("singlestep/universal_reach"),
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        device=setting("device"),
        code=code("onestep.singlestep.experiment"),
    message:
        "Trying one direction for all inputs on {params.networks} two-layer networks of width {wildcards.width}."
    shell:
        "onestep singlestep universal --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs {params.inputs} --reach {params.reach} --seed {params.seed}"
        " --cap {params.cap} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_fixed:
    output:
        records=f"{RESULTS}/records/singlestep/fixed/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/fixed/width-{{width}}/from-{{first}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=lambda wildcards: minutes(sampling_seconds(wildcards)),
        gpu=gpu_hint(),
        seconds=sampling_seconds,
    params:
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        coefficients=setting("singlestep/fixed_steps"),
        seed=setting("seed"),
        device=setting("device"),
        code=code("onestep.singlestep.experiment"),
    message:
        "Taking the theorems' own step on {params.networks} two-layer networks of width {wildcards.width}."
    shell:
        # One input a network: what is judged here are shares, over independent networks.
        "onestep singlestep fixed --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs 1 --coefficients {params.coefficients}"
        " --seed {params.seed} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_claims:
    input:
        sample=SAMPLE,
        universal=UNIVERSAL,
        fixed=FIXED,
    output:
        claims=f"{RESULTS}/claims/singlestep.json",
        tables=expand(f"{RESULTS}/tables/singlestep/{{table}}.csv", table=["cells", "slopes", "bounds", "exceptions"]),
    log:
        f"{RESULTS}/logs/singlestep/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/singlestep/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=12000 if SCALE == "paper" else 3000,
        runtime=minutes(60),
        gpu=0,
        seconds=15,
    params:
        gammas=setting("singlestep/gammas"),
        constant=setting("singlestep/fixed_step_constant"),
        seed=setting("seed"),
        scale=SCALE,
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        code=code("onestep.singlestep.claims"),
    message:
        "Judging the claims of singlestep."
    shell:
        "onestep singlestep claims --sample {input.sample} --universal {input.universal} --fixed {input.fixed} --gammas {params.gammas} --constant {params.constant}"
        " --scale {params.scale} --seed {params.seed} --tables {params.tables} --out {output.claims} > {log} 2>&1"


rule singlestep_figures:
    input:
        sample=SAMPLE,
        universal=UNIVERSAL,
        fixed=FIXED,
    output:
        **{
            name: report(
                f"{RESULTS}/figures/singlestep/{name}.svg",
                caption=f"../../report/captions/singlestep/{name}.rst",
                category="1. A single gradient step",
                labels={"figure": label},
            )
            for name, label in SINGLESTEP_FIGURES.items()
        },
        pdf=expand(f"{RESULTS}/figures/singlestep/{{figure}}.pdf", figure=SINGLESTEP_FIGURES),
    log:
        f"{RESULTS}/logs/singlestep/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/singlestep/figures.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        mem_mb=12000 if SCALE == "paper" else 3000,
        runtime=minutes(60),
        gpu=0,
        seconds=15,
    params:
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.singlestep.figures"),
    message:
        "Drawing the figures of singlestep."
    shell:
        "onestep singlestep figures --sample {input.sample} --universal {input.universal} --fixed {input.fixed}"
        " --seed {params.seed} --out {params.figures} > {log} 2>&1"


rule singlestep_notebook:
    input:
        notebook="workflow/notebooks/singlestep.ipynb",
        sample=SAMPLE,
        claims=f"{RESULTS}/claims/singlestep.json",
        tables=rules.singlestep_claims.output.tables,
    output:
        page=report(
            f"{RESULTS}/notebooks/singlestep.html",
            caption="../../report/captions/notebook.rst",
            category="1. A single gradient step",
            labels={"figure": "A walk through the records"},
        ),
    log:
        f"{RESULTS}/logs/singlestep/notebook.log",
    benchmark:
        f"{RESULTS}/benchmarks/singlestep/notebook.tsv"
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
        "Walking through the records of singlestep in a notebook."
    shell:
        "onestep notebook --notebook {input.notebook} --results {params.results} --inputs {input.sample} --out {output.page} > {log} 2>&1"


rule singlestep:
    input:
        rules.singlestep_claims.output,
        rules.singlestep_figures.output,
        rules.singlestep_notebook.output,
    message:
        "The claims, figures and notebook of singlestep are in results/."
