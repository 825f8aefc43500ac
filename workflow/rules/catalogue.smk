# A rule for every figure and table of the catalogue, and a target for every experiment and arm.
FIGURES = {name: figure for name, figure in CONFIG.figures.items() if figure.experiment in EXPERIMENTS}
for EXPERIMENT in EXPERIMENTS:
    if not any(figure.experiment == EXPERIMENT for figure in FIGURES.values()):
        FIGURES |= default_figures(EXPERIMENT)
TABLES = {
    name: table for name, table in CONFIG.tables.items() if set(table.experiments or EXPERIMENTS) & set(EXPERIMENTS)
}
METRICS = f"{RESULTS}/tables/metrics.csv"
RULE_OF_TABLE = {name: f"{name}_table" if name in FIGURES else name for name in TABLES}


for NAME in (*FIGURES, *RULE_OF_TABLE.values(), *EXPERIMENTS, *CONFIG.broken):
    if workflow.is_rule(NAME):
        sys.exit(f"config: {NAME}: a stage of the workflow has this name; choose another")


for NAME, FIGURE in FIGURES.items():

    rule:
        name:
            NAME
        input:
            needs_of_figure(FIGURE),
        output:
            **picture(NAME, FIGURE),
        log:
            f"{RESULTS}/logs/figures/{NAME}.log",
        conda:
            "../../envs/multilevel-diffusion.yaml"
        params:
            what=figure_command(FIGURE),
            code=code("figures"),
        message:
            f"{NAME}: {FIGURE.title}"
        shell:
            "mld figure {params.what} --output {output.svg} > {log} 2>&1"


for NAME, TABLE in TABLES.items():

    rule:
        name:
            RULE_OF_TABLE[NAME]
        input:
            needs_of_table(TABLE),
        output:
            **page(NAME, TABLE),
        log:
            f"{RESULTS}/logs/tables/{NAME}.log",
        conda:
            "../../envs/multilevel-diffusion.yaml"
        params:
            what=table_command(TABLE),
            code=code("tables"),
            claims=lambda wildcards, make=TABLE.make: judged_by() if make == "claims" else "",
            # taking `output` keeps it out of the record: other overrides must not judge anew
            config=lambda wildcards, output, make=TABLE.make: config_of_commands() if make == "claims" else "",
        message:
            f"Table {NAME}: {TABLE.title}"
        shell:
            "mld table {params.what} {params.config} --output {output.csv} > {log} 2>&1"


for EXPERIMENT in EXPERIMENTS:

    rule:
        name:
            f"metrics_{EXPERIMENT}"
        input:
            sum(metrics_of([EXPERIMENT]), []),
        output:
            multiext(f"{RESULTS}/tables/{EXPERIMENT}-metrics", csv=".csv", md=".md", html=".html"),
        log:
            f"{RESULTS}/logs/tables/{EXPERIMENT}-metrics.log",
        conda:
            "../../envs/multilevel-diffusion.yaml"
        params:
            what=metrics_command([EXPERIMENT]),
            code=code("tables"),
        message:
            f"Table of the metrics of {EXPERIMENT}"
        shell:
            "mld table {params.what} --output {output.csv} > {log} 2>&1"

    rule:
        name:
            EXPERIMENT
        input:
            [picture(name, figure)["svg"] for name, figure in FIGURES.items() if figure.experiment == EXPERIMENT],
            f"{RESULTS}/tables/{EXPERIMENT}-metrics.csv",
        message:
            f"Figures and metrics of {EXPERIMENT}"

    for ARM in EXPERIMENTS[EXPERIMENT].arms:

        rule:
            name:
                f"{EXPERIMENT}/{ARM}"
            input:
                of_runs("metrics.csv", EXPERIMENT, [ARM]),
            message:
                f"Networks, samples and metrics of {EXPERIMENT}/{ARM}"


for NAME in [*CONFIG.broken, *(name for name, figure in CONFIG.figures.items() if figure.experiment in CONFIG.broken)]:

    rule:
        name:
            NAME
        input:
            broken,
        message:
            f"What is wrong with {NAME}"


rule compare:
    input:
        reference=beside(f"results/reference/{CONFIG.preset}/tables/metrics.csv"),
        metrics=METRICS,
    output:
        table=f"{RESULTS}/tables/compare.csv",
    log:
        f"{RESULTS}/logs/tables/compare.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("tables"),
    message:
        "Compare the metrics with those of the reference run of this preset"
    shell:
        "mld compare {input.reference} {input.metrics} --output {output.table} > {log} 2>&1"
