# From every paper's claims and figures to the paper, the ledger and Snakemake's own report.
PAPERS = ["singlestep", "multilayer", "lazy", "guarantees"]


rule claims:
    input:
        claims=expand(f"{RESULTS}/claims/{{paper}}.json", paper=PAPERS),
    output:
        ledger=f"{RESULTS}/claims.json",
        table=report(
            f"{RESULTS}/claims.html",
            caption="../../report/captions/claims.rst",
            category="The claims",
            labels={"figure": "Every claim and its verdict"},
        ),
    log:
        f"{RESULTS}/logs/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/claims.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(1),
        mem_mb=500,
        gpu=0,
    params:
        code=code("onestep.claims"),
    message:
        "Collecting the claims of all papers."
    shell:
        "onestep claims --collect {input.claims} --out {output.ledger} --table {output.table} > {log} 2>&1"


rule figures:
    input:
        rules.data.output,
        rules.singlestep_figures.output,
        rules.multilayer_figures.output,
        rules.lazy_figures.output,
        rules.guarantees_figures.output,
        rules.benchmarks_figures.output if BENCHMARKED else [],
    message:
        "The figures are in results/{SCALE}/figures/."


rule typeset:
    input:
        source="report/paper.typ",
        references="report/references.bib",
        captions=[
            "report/captions/data/datasets.rst",
            *expand("report/captions/singlestep/{figure}.rst", figure=SINGLESTEP_FIGURES),
            *expand("report/captions/multilayer/{figure}.rst", figure=MULTILAYER_FIGURES),
            *expand("report/captions/lazy/{figure}.rst", figure=LAZY_FIGURES),
            *expand("report/captions/guarantees/{figure}.rst", figure=GUARANTEES_FIGURES),
            "report/captions/benchmarks/matrix_free.rst",
        ],
        ledger=f"{RESULTS}/claims.json",
        tables=[
            *rules.singlestep_claims.output.tables,
            *rules.multilayer_claims.output.tables,
            *rules.lazy_claims.output.tables,
            *rules.guarantees_claims.output.tables,
            *([*rules.benchmarks_figures.output.tables, rules.benchmarks_near_init.output.table] if BENCHMARKED else []),
            *([rules.benchmarks_minimal.output.table] if BENCHMARKED else []),
        ],
        figures=[
            rules.data.output.figure,
            *expand(f"{RESULTS}/figures/singlestep/{{figure}}.svg", figure=SINGLESTEP_FIGURES),
            *expand(f"{RESULTS}/figures/multilayer/{{figure}}.svg", figure=MULTILAYER_FIGURES),
            *expand(f"{RESULTS}/figures/lazy/{{figure}}.svg", figure=LAZY_FIGURES),
            *expand(f"{RESULTS}/figures/guarantees/{{figure}}.svg", figure=GUARANTEES_FIGURES),
            *([rules.benchmarks_figures.output.figure] if BENCHMARKED else []),
        ],
        datasets=rules.data.input.datasets,
        records=[
            *sum(SINGLESTEP_RECORDS.values(), []),
            *sum(MULTILAYER_RECORDS.values(), []),
            *sum(LAZY_RECORDS.values(), []),
            *sum(GUARANTEES_RECORDS.values(), []),
        ],
    output:
        pdf=report(
            f"{RESULTS}/paper.pdf",
            caption="../../report/captions/paper.rst",
            category="The paper",
            labels={"figure": "The paper"},
        ),
    log:
        f"{RESULTS}/logs/paper.log",
    benchmark:
        f"{RESULTS}/benchmarks/paper.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(3),
        mem_mb=1000,
        gpu=0,
    params:
        code=code("onestep.paper"),
    message:
        "Typesetting the paper."
    shell:
        "onestep paper --source {input.source} --ledger {input.ledger} --tables {input.tables} --figures {input.figures}"
        " --datasets {input.datasets} --records {input.records} --out {output.pdf} > {log} 2>&1"


rule reported:
    input:
        rules.typeset.output,
        rules.claims.output,
        rules.figures.input,
        expand(f"{RESULTS}/notebooks/{{paper}}.html", paper=PAPERS),
    message:
        "Everything that the HTML report shows is made."


rule html:
    input:
        rules.reported.input,
        home="report/home.rst",
        captions=[f"report/captions/{name}.rst" for name in ("paper", "claims", "notebook")],
    output:
        page=f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(6),
        mem_mb=2000,
        gpu=0,
    params:
        # The report's own workflow must see the same configuration as this one.
        config=[f"{key}={config[key]}" for key in ("scale", "seed", "device", "data_source") if config[key] is not None],
        root=shlex.quote(f"data_root={config['data_root']}") if config["data_root"] else "",
    message:
        "Building Snakemake's own report."
    shell:
        "snakemake reported --nolock --report {output.page} --config {params.config} {params.root} > {log} 2>&1"
        " && onestep certify {output.page} --inputs {input} >> {log} 2>&1"


rule latest:
    input:
        pdf=rules.typeset.output.pdf,
        ledger=rules.claims.output.ledger,
        page=rules.html.output.page,
        notebooks=expand(f"{RESULTS}/notebooks/{{paper}}.html", paper=PAPERS),
    output:
        pdf="results/paper.pdf",
        ledger="results/claims.json",
        page="results/report.html",
        notebooks=expand("results/notebooks/{paper}.html", paper=PAPERS),
    log:
        f"{RESULTS}/logs/latest.log",
    benchmark:
        f"{RESULTS}/benchmarks/latest.tsv"
    conda:
        "../../envs/onestep.yaml"
    threads: 1
    resources:
        **lasting(1),
        mem_mb=100,
        gpu=0,
    params:
        scale=SCALE,
    message:
        "Copying the {params.scale} scale's paper, report, ledger and notebooks to results/."
    shell:
        "(cp {input.pdf} {output.pdf} && cp {input.pdf}.json {output.pdf}.json && cp {input.ledger} {output.ledger}"
        " && cp {input.page} {output.page} && cp {input.page}.json {output.page}.json && cp {input.notebooks} results/notebooks/"
        " && for page in {input.notebooks}; do cp $page.json results/notebooks/; done) > {log} 2>&1"
