# Multilevel diffusion, figure by figure. Every rule is a command that a person can type: see `mld --help`.
from snakemake.utils import min_version

min_version("9.11")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/conditioning.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/catalogue.smk"


# `rule` is a name of JOBS here, and the name of the rule where Snakemake runs its command.
for rule, JOB in JOBS.items():

    rule:
        name:
            rule
        input:
            **JOB.input,
        output:
            **JOB.output,
        log:
            f"{RESULTS}/logs/{JOB.place}.log",
        benchmark:
            f"{RESULTS}/benchmarks/{JOB.place}.tsv"
        priority: JOB.priority
        conda:
            "envs/multilevel-diffusion.yaml"
        threads: JOB.threads
        resources:
            gpu=JOB.gpu,
        params:
            **JOB.params,
            code=JOB.code,
        message:
            JOB.message
        shell:
            JOBS[rule].shell


for NAME in EXPERIMENTS:

    rule:
        name:
            NAME
        input:
            [JOBS[figure].output["svg"] for figure in FIGURES if FIGURES[figure].experiment == NAME],
            JOBS[f"metrics_{NAME}"].output["csv"],
        message:
            f"Figures and metrics of {NAME}"

    for ONE in EXPERIMENTS[NAME].arms:

        rule:
            name:
                f"{NAME}/{ONE}"
            input:
                of_runs("metrics.csv", NAME, [ONE]),
            message:
                f"Networks, samples and metrics of {NAME}/{ONE}"


BROKEN = {name: figure.experiment for name, figure in CONFIG.figures.items() if figure.experiment in CONFIG.broken}
for NAME, BROKEN_ONE in (BROKEN | {name: name for name in CONFIG.broken}).items():

    rule:
        name:
            NAME
        input:
            lambda wildcards, experiment=BROKEN_ONE: broken(experiment),
        message:
            f"What is wrong with {NAME}"


rule report:
    input:
        lambda wildcards: broken(),
        # as files, so that a figure that is not asked for is not drawn
        made=[str(path) for job in MADE.values() for path in job.output.values()],
        captions=CAPTIONS,
    output:
        report=f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "envs/multilevel-diffusion.yaml"
    params:
        # taking `output` keeps it out of the record
        overrides=lambda wildcards, output: config_option(),
        snakefile=lambda wildcards, output: workflow.main_snakefile,
    message:
        "Report: figures and tables with captions, run times, graph of rules"
    shell:
        # the lock is that of the run which this job is part of
        "snakemake {input.made} --snakefile {params.snakefile:q} --cores 1 --nolock --report {output.report}{params.overrides} > {log} 2>&1"


rule all:
    default_target: True
    input:
        rules.report.input.made,
        rules.report.output,
        # named, so that a deleted one is made again: Snakemake does not miss what only stands between others
        [
            data_of(name, arm) + folders_of(samples_of(name, arm, seed))
            for name in EXPERIMENTS
            for arm, seed in EXPERIMENTS[name].runs
        ],
        metrics_of(EXPERIMENTS),
    message:
        "All figures and tables, and the report"


onstart:
    # To keep its limit of 100 job starts a second Snakemake starts a timer whenever it looks for jobs, each of which makes it look again:
    # a hundred times a second after as many jobs. Where jobs run here the cores are limit enough.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    print(last_screen())
