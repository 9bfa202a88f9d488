# singlestep: random networks, one gradient step. A job is one (depth, width) with all its input dimensions.
include: "jobs/singlestep.smk"


SINGLESTEP_FIGURES = {
    "switched": "Figure 1: share of samples that one step switches",
    "step": "Figure 2a: the smallest step",
    "gradient": "Figure 2b: the gradient's norm",
    "scales": "Both readings of the hidden variance",
    "law": "The half-normal law",
    "bounds": "Propositions 1 and 3: explicit bounds",
    "fixed_step": "Theorems 1 and 2: the fixed step and the gradient's change",
    "universal": "One direction for all inputs",
    "variants": "Other activations, a Gaussian output layer, a bias",
    "hessian": "The norm of the Hessian",
    "infinite_width": "The law at infinite width",
    "bracket": "What the single step loses",
}
SINGLESTEP_TABLES = [
    "cells",
    "slopes",
    "bounds",
    "exceptions",
    "variants",
    "activations",
    "hessian",
    "infinite_width",
    "convergence",
    "bracket",
]
SMOOTH = ["tanh", "softplus", "gelu"]
WIDTHS = setting(f"{SINGLESTEP}/widths") + setting(f"{SINGLESTEP}/widest")
VARIANT_WIDTHS = setting(f"{SINGLESTEP}/variant_widths")
SINGLESTEP_RECORDS = {
    "sample": parts("sample/depth-{depth}/width-{width}/from-{first}.parquet", setting(f"{SINGLESTEP}/depths"), WIDTHS),
    "universal": parts("universal/width-{width}/from-{first}.parquet", [1], setting(f"{SINGLESTEP}/universal_widths")),
    "fixed": [
        *parts("fixed/relu/width-{width}/from-{first}.parquet", [1], setting(f"{SINGLESTEP}/fixed_widths")),
        *sum([parts(f"fixed/{name}/width-{{width}}/from-{{first}}.parquet", [1], VARIANT_WIDTHS) for name in SMOOTH], []),
    ],
    "variants": sum(
        [
            parts(f"variants/{name}/width-{{width}}/from-{{first}}.parquet", [1], VARIANT_WIDTHS)
            for name in ("gaussian-output", "bias", *SMOOTH)
        ],
        [],
    ),
    "hessian": expand(f"{RESULTS}/records/singlestep/hessian/{{activation}}.parquet", activation=SMOOTH),
    "bracket": expand(f"{RESULTS}/records/singlestep/bracket/width-{{width}}.parquet", width=setting(f"{SINGLESTEP}/bracket_widths")),
    "limit": [f"{RESULTS}/records/singlestep/limit/infinite.parquet"],
}
SINGLESTEP_EVIDENCE = " ".join(f"--{name} {{input.{name}}}" for name in SINGLESTEP_RECORDS)


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
        **lasting(sampling_seconds),
        mem_mb=sampling_memory,
        gpu=gpu_hint,
    params:
        # Params, not wildcards, make the key under which the cache finds a result.
        depth=lambda wildcards: int(wildcards.depth),
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        inputs=inputs_of,
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        device=device,
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
        **lasting(sampling_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        inputs=inputs_of,
        reach=setting("singlestep/universal_reach"),
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        device=device,
        code=code("onestep.singlestep.experiment"),
    message:
        "Trying one direction for all inputs on {params.networks} two-layer networks of width {wildcards.width}."
    shell:
        "onestep singlestep universal --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs {params.inputs} --reach {params.reach} --seed {params.seed}"
        " --cap {params.cap} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_fixed:
    output:
        records=f"{RESULTS}/records/singlestep/fixed/{{activation}}/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/fixed/{{activation}}/width-{{width}}/from-{{first}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(sampling_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        activation=lambda wildcards: wildcards.activation,
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        coefficients=setting("singlestep/fixed_steps"),
        seed=setting("seed"),
        device=device,
        code=code("onestep.singlestep.experiment"),
    message:
        "Taking the theorems' own step on {params.networks} two-layer {wildcards.activation} networks of width {wildcards.width}."
    shell:
        # One input a network: what is judged here are shares, over independent networks.
        "onestep singlestep fixed --activation {params.activation} --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs 1 --coefficients {params.coefficients}"
        " --seed {params.seed} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_variants:
    output:
        records=f"{RESULTS}/records/singlestep/variants/{{variant}}/width-{{width}}/from-{{first}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/variants/{{variant}}/width-{{width}}/from-{{first}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(sampling_seconds),
        mem_mb=2000,
        gpu=gpu_hint,
    params:
        variant=lambda wildcards: wildcards.variant,
        width=lambda wildcards: int(wildcards.width),
        first=lambda wildcards: int(wildcards.first),
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=networks_in_part,
        inputs=inputs_of,
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        device=device,
        code=code("onestep.singlestep.experiment"),
    message:
        "Sampling {params.networks} two-layer networks of width {wildcards.width} with {wildcards.variant}."
    shell:
        "onestep singlestep variants --variant {params.variant} --width {params.width} --input-dim {params.input_dims}"
        " --first-network {params.first} --networks {params.networks} --inputs {params.inputs} --seed {params.seed}"
        " --cap {params.cap} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_hessian:
    output:
        records=f"{RESULTS}/records/singlestep/hessian/{{activation}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/hessian/{{activation}}.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(setting(f"{SINGLESTEP}/hessian_networks") * setting(f"{SINGLESTEP}/hessian_dims")[-1] ** 3 * 5e-9 + 2),
        mem_mb=3000,
        gpu=gpu_hint,
    params:
        activation=lambda wildcards: wildcards.activation,
        ratios=setting(f"{SINGLESTEP}/hessian_ratios"),
        input_dims=setting(f"{SINGLESTEP}/hessian_dims"),
        networks=setting(f"{SINGLESTEP}/hessian_networks"),
        seed=setting("seed"),
        device=device,
        code=code("onestep.singlestep.experiment"),
    message:
        "Measuring the Hessians of {params.networks} {wildcards.activation} networks at each of {params.input_dims} input dimensions."
    shell:
        "onestep singlestep hessian --activation {params.activation} --ratio {params.ratios} --input-dim {params.input_dims}"
        " --networks {params.networks} --seed {params.seed} --device {params.device} --out {output.records} > {log} 2>&1"


rule singlestep_bracket:
    output:
        records=f"{RESULTS}/records/singlestep/bracket/width-{{width}}.parquet",
    log:
        f"{RESULTS}/logs/singlestep/bracket/width-{{width}}.log",
    cache: True
    priority: lambda wildcards: int(wildcards.width)
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(lambda wildcards: setting(f"{SINGLESTEP}/bracket_networks") * (0.3 + 1.7e-4 * int(wildcards.width)) + 2),
        mem_mb=3000,
        gpu=0,
    params:
        width=lambda wildcards: int(wildcards.width),
        input_dims=setting(f"{SINGLESTEP}/bracket_dims"),
        networks=setting(f"{SINGLESTEP}/bracket_networks"),
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        code=code("onestep.singlestep.experiment"),
    message:
        "Bracketing the smallest perturbation of {params.networks} two-layer networks of width {wildcards.width}."
    shell:
        "onestep singlestep bracket --width {params.width} --input-dim {params.input_dims} --networks {params.networks}"
        " --seed {params.seed} --cap {params.cap} --out {output.records} > {log} 2>&1"


rule singlestep_limit:
    output:
        records=f"{RESULTS}/records/singlestep/limit/infinite.parquet",
    log:
        f"{RESULTS}/logs/singlestep/limit.log",
    cache: True
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(len(setting(f"{SINGLESTEP}/input_dims")) * setting(f"{SINGLESTEP}/limit_networks") * 3e-5 + 2),
        mem_mb=2000,
        gpu=0,
    params:
        input_dims=setting(f"{SINGLESTEP}/input_dims"),
        networks=setting(f"{SINGLESTEP}/limit_networks"),
        seed=setting("seed"),
        cap=setting("singlestep/step_cap"),
        code=code("onestep.singlestep.experiment"),
    message:
        "Sampling {params.networks} two-layer networks of infinite width at {params.input_dims} input dimensions."
    shell:
        "onestep singlestep limit --input-dim {params.input_dims} --networks {params.networks} --seed {params.seed}"
        " --cap {params.cap} --out {output.records} > {log} 2>&1"


rule singlestep_claims:
    input:
        **SINGLESTEP_RECORDS,
    output:
        claims=f"{RESULTS}/claims/singlestep.json",
        tables=expand(f"{RESULTS}/tables/singlestep/{{table}}.csv", table=SINGLESTEP_TABLES),
    log:
        f"{RESULTS}/logs/singlestep/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/singlestep/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(20),
        mem_mb=12000 if SCALE == "paper" else 3000,
        gpu=0,
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
        f"onestep singlestep claims {SINGLESTEP_EVIDENCE} --gammas {{params.gammas}} --constant {{params.constant}}"
        " --scale {params.scale} --seed {params.seed} --tables {params.tables} --out {output.claims} > {log} 2>&1"


rule singlestep_figures:
    input:
        **SINGLESTEP_RECORDS,
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
        **lasting(20),
        mem_mb=12000 if SCALE == "paper" else 3000,
        gpu=0,
    params:
        seed=setting("seed"),
        figures=lambda wildcards, output: Path(output.pdf[0]).parent,
        code=code("onestep.singlestep.figures"),
    message:
        "Drawing the figures of singlestep."
    shell:
        f"onestep singlestep figures {SINGLESTEP_EVIDENCE}" " --seed {params.seed} --out {params.figures} > {log} 2>&1"


rule singlestep_notebook:
    input:
        notebook="workflow/notebooks/singlestep.ipynb",
        sample=SINGLESTEP_RECORDS["sample"],
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
        **lasting(6),
        mem_mb=2000,
        gpu=0,
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
