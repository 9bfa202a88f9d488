# The front door: checks the configuration, then chains data, experiments, figures, claims and the paper.
#   snakemake --cores all                              everything, at the scale that config.yaml names
#   snakemake --cores all --config scale=smoke         the same, tiny
#   snakemake --cores all singlestep | data | figures  a part of it
#   snakemake --cores all benchmarks                   time and memory, beside dense torch
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "report/home.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/singlestep.smk"
include: "workflow/rules/multilayer.smk"
include: "workflow/rules/lazy.smk"
include: "workflow/rules/guarantees.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/cost.smk"


rule all:
    default_target: True
    input:
        rules.latest.output,
    message:
        "Everything is made: read results/paper.pdf, results/report.html and results/claims.json."
