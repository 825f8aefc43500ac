# Tables over all experiments.
rule metrics:
    input:
        tables=[
            f"{RESULTS}/{experiment}/{arm}/seed{seed}/metrics.csv"
            for experiment in CONFIG.experiments
            for arm, seed in runs_of(experiment)
        ],
        scores=[f"{MIXTURE}/{arm}/seed{seed}/score_error.csv" for arm, seed in RUNS],
    output:
        multiext(f"{RESULTS}/tables/metrics", csv=".csv", md=".md"),
    log:
        f"{RESULTS}/logs/tables/metrics.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        scores=lambda wildcards, input: [f"--scores {path}" for path in input.scores],
        code=code("table"),
    message:
        "Table of all metrics, with floors and spread over seeds"
    shell:
        "mld table metrics {input.tables} {params.scores} --output {output.csv} > {log} 2>&1"


rule table1:
    input:
        tables=rules.metrics.output.csv,
    output:
        multiext(f"{RESULTS}/tables/table1", csv=".csv", md=".md"),
    log:
        f"{RESULTS}/logs/tables/table1.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("table"),
    message:
        "Table 1: sliced Wasserstein distance per prior and resolution"
    shell:
        "mld table table1 {input.tables} --output {output.csv} > {log} 2>&1"
