# Tables over all experiments.
rule metrics:
    input:
        tables=[
            f"{RESULTS}/{experiment}/{arm}/seed{seed}/metrics.csv"
            for experiment in CONFIG.experiments
            for arm, seed in runs_of(experiment)
        ]
        + [f"{MIXTURE}/{arm}/seed{seed}/truncation.csv" for arm, seed in RUNS],
        scores=[f"{MIXTURE}/{arm}/seed{seed}/score_error.csv" for arm, seed in RUNS],
    output:
        **page("metrics", "Tables", "All metrics"),
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
        **page("table1", "Tables", "Table 1: sliced Wasserstein"),
    log:
        f"{RESULTS}/logs/tables/table1.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        experiments=[f"--experiment {name}" for name in DATA_SETS],
        code=code("table"),
    message:
        "Table 1: sliced Wasserstein distance per prior and resolution"
    shell:
        "mld table table1 {input.tables} {params.experiments} --output {output.csv} > {log} 2>&1"


rule transfer:
    input:
        tables=rules.metrics.output.csv,
    output:
        **page("transfer", "Tables", "Distances over those on the training grid"),
    log:
        f"{RESULTS}/logs/tables/transfer.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        experiments=[f"--experiment {name}" for name in ("mixture", *DATA_SETS)],
        code=code("table"),
    message:
        "Table of distances on every grid over those on the training grid"
    shell:
        "mld table transfer {input.tables} {params.experiments} --output {output.csv} > {log} 2>&1"


rule priors:
    input:
        specs=[
            f"{RESULTS}/{experiment}/{arm}/spec.json"
            for experiment in DATA_SETS
            for arm in CONFIG.experiments[experiment].arms
        ],
        data=[data_of(experiment, None) for experiment in DATA_SETS],
    output:
        **page("priors", "Tables", "Noise of each prior against the data"),
    log:
        f"{RESULTS}/logs/tables/priors.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        data=lambda wildcards, input: [f"--data {path}" for path in input.data],
        code=code("table"),
    message:
        "Table of what each prior leaves of the data without noise, and at the end of time"
    shell:
        "mld table priors {input.specs} {params.data} --output {output.csv} > {log} 2>&1"


rule compare:
    input:
        reference=f"results/reference/{CONFIG.preset}/tables/metrics.csv",
        metrics=rules.metrics.output.csv,
    output:
        table=f"{RESULTS}/tables/compare.csv",
    log:
        f"{RESULTS}/logs/tables/compare.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("compare"),
    message:
        "Compare the metrics with those of the reference run of this preset"
    shell:
        "mld compare {input.reference} {input.metrics} --output {output.table} > {log} 2>&1"


rule claims:
    input:
        metrics=rules.metrics.output.csv,
        ladders=rules.ladders.output.csv,
        samplers=rules.samplers_table.output.csv,
    output:
        **page("claims", "Claims", "Claims of the paper, with verdicts"),
    log:
        f"{RESULTS}/logs/tables/claims.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        settings=lambda wildcards: CONFIG.claims.model_dump_json(),
        preset=CONFIG.preset,
        code=code("table"),
        # taking `output` keeps it out of the record: other overrides must not judge anew
        overrides=lambda wildcards, output: overrides(),
    message:
        "Table of the claims of the paper, with verdicts"
    shell:
        "mld table claims config.yaml {params.overrides} --metrics {input.metrics} --ladders {input.ladders}"
        " --samplers {input.samplers} --output {output.csv} > {log} 2>&1"
