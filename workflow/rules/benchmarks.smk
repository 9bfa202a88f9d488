# What the fast parts save, beside plain implementations: networks that are never formed, training near initialisation. Times are this machine's: another run gives other bytes.
BENCHMARKS = f"benchmarks/scales/{SCALE}"
BENCHMARK_TABLES = ["matrix_free", "batches", "crossovers", "first_layer", "choices", "facts"]
# The smoke scale's paper has none of it, so that two smoke runs end in the same bytes; `snakemake benchmarks` measures there too.
BENCHMARKED = SCALE != "smoke"


rule benchmarks_matrix_free:
    output:
        records=f"{RESULTS}/benchmarks/matrix_free.parquet",
    log:
        f"{RESULTS}/logs/benchmarks/matrix_free.log",
    benchmark:
        f"{RESULTS}/benchmarks/matrix_free.tsv"
    # First, and with every core: what it measures means something only where nothing else is at work.
    priority: 10**6
    conda:
        "../../envs/onestep.yaml"
    # More than a laptop has: Snakemake makes it all that there are.
    threads: 16
    resources:
        **lasting({"smoke": 12, "laptop": 60, "paper": 3600}[SCALE]),
        mem_mb=1000 + round(1500 * setting(f"{BENCHMARKS}/memory_gb")),
        gpu=0,
    params:
        depths=setting(f"{BENCHMARKS}/depths"),
        widths=setting(f"{BENCHMARKS}/widths"),
        input_dims=setting(f"{BENCHMARKS}/input_dims"),
        batch=setting(f"{BENCHMARKS}/batch"),
        layer=setting(f"{BENCHMARKS}/layer_width"),
        layer_dims=setting(f"{BENCHMARKS}/layer_dims"),
        choice_depths=setting(f"{BENCHMARKS}/choice_depths"),
        choice_widths=setting(f"{BENCHMARKS}/choice_widths"),
        choice_dims=setting(f"{BENCHMARKS}/choice_dims"),
        memory=setting(f"{BENCHMARKS}/memory_gb"),
        seconds=setting(f"{BENCHMARKS}/seconds"),
        seed=setting("seed"),
        code=code("onestep.benchmarks.matrix_free"),
    message:
        "Measuring matrix-free and dense networks of widths {params.widths}, alone on the machine."
    shell:
        "onestep benchmarks matrix-free --depths {params.depths} --widths {params.widths} --input-dim {params.input_dims}"
        " --batch {params.batch} --layer-width {params.layer} --layer-dims {params.layer_dims} --choice-depths {params.choice_depths}"
        " --choice-widths {params.choice_widths} --choice-dims {params.choice_dims} --memory-gb {params.memory}"
        " --seconds {params.seconds} --seed {params.seed} --out {output.records} > {log} 2>&1"


rule benchmarks_figures:
    input:
        records=rules.benchmarks_matrix_free.output.records,
    output:
        figure=report(
            f"{RESULTS}/figures/benchmarks/matrix_free.svg",
            caption="../../report/captions/benchmarks/matrix_free.rst",
            category="9. What the arithmetic costs",
            labels={"figure": "Time and memory, never formed and dense"},
        ),
        pdf=f"{RESULTS}/figures/benchmarks/matrix_free.pdf",
        tables=expand(f"{RESULTS}/tables/benchmarks/{{table}}.csv", table=BENCHMARK_TABLES),
    log:
        f"{RESULTS}/logs/benchmarks/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(3),
        mem_mb=1000,
        gpu=0,
    params:
        tables=lambda wildcards, output: Path(output.tables[0]).parent,
        figures=lambda wildcards, output: Path(output.figure).parent,
        code=code("onestep.benchmarks.figures"),
    message:
        "Drawing what the benchmarks measured."
    shell:
        "onestep benchmarks figures --records {input.records} --tables {params.tables} --out {params.figures} > {log} 2>&1"


rule benchmarks_near_init:
    input:
        images=LAZY_IMAGES,
    output:
        records=f"{RESULTS}/benchmarks/near_init.parquet",
        table=f"{RESULTS}/tables/benchmarks/near_init.csv",
    log:
        f"{RESULTS}/logs/benchmarks/near_init.log",
    benchmark:
        f"{RESULTS}/benchmarks/near_init.tsv"
    priority: 10**6
    conda:
        "../../envs/onestep.yaml"
    threads: 16
    resources:
        **lasting({"smoke": 5, "laptop": 90, "paper": 3600}[SCALE]),
        mem_mb=3000,
        gpu=0,
    params:
        side=setting(f"{BENCHMARKS}/training_side"),
        width=setting(f"{BENCHMARKS}/training_width"),
        c0=setting(f"{BENCHMARKS}/training_c0"),
        seed=setting("seed"),
        code=code("onestep.benchmarks.near_init"),
    message:
        "Training a network of width {params.width} near its start, here and plainly, alone on the machine."
    shell:
        "onestep benchmarks near-init --images {input.images} --side {params.side} --width {params.width} --c0 {params.c0}"
        " --seed {params.seed} --table {output.table} --out {output.records} > {log} 2>&1"


rule benchmarks_minimal:
    output:
        records=f"{RESULTS}/benchmarks/minimal.parquet",
        table=f"{RESULTS}/tables/benchmarks/minimal.csv",
    log:
        f"{RESULTS}/logs/benchmarks/minimal.log",
    benchmark:
        f"{RESULTS}/benchmarks/minimal.tsv"
    # The longest job of all. Ours and its rivals take turns in one process: their ratios bear other jobs beside them.
    priority: 10**5
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting({"smoke": 15, "laptop": 800, "paper": 2000}[SCALE]),
        mem_mb=2000,
        gpu=0,
    params:
        sides=setting(f"{BENCHMARKS}/minimal_sides"),
        networks=setting(f"{BENCHMARKS}/minimal_networks"),
        inputs=setting(f"{BENCHMARKS}/minimal_inputs"),
        seed=setting("seed"),
        code=code("onestep.benchmarks.minimal"),
    message:
        "Putting smallest distances beside Foolbox's, images of sides {params.sides}."
    shell:
        "onestep benchmarks minimal --side {params.sides} --networks {params.networks} --inputs {params.inputs}"
        " --seed {params.seed} --table {output.table} --out {output.records} > {log} 2>&1"


rule benchmarks:
    input:
        rules.benchmarks_minimal.output,
        rules.benchmarks_near_init.output,
        rules.benchmarks_matrix_free.output,
        rules.benchmarks_figures.output,
    message:
        "The benchmarks are in results/{SCALE}/benchmarks/, their figure and tables in figures/benchmarks/ and tables/benchmarks/."
