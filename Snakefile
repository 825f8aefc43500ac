# Multilevel diffusion, figure by figure. Every rule is a command that a person can type: see `mld --help`.
from snakemake.utils import min_version

min_version("9.11")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/mixture.smk"
include: "workflow/rules/mnist.smk"
include: "workflow/rules/ladders.smk"
include: "workflow/rules/reaction_diffusion.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/cost.smk"


rule report:
    input:
        made=[
            rules.fig1.output,
            rules.fig2.output if UNET_ARMS else [],
            rules.fig3.output if FNO_ARMS else [],
            rules.fig4.output,
            rules.fig5.output,
            rules.fig5_gain.output,
            rules.fig6.output,
            rules.fig5_tradeoff.output,
            rules.ladders.output,
            [rules.fig5_tradeoff_pde.output, rules.ladders_pde.output] if CONFIG.reaction_diffusion_ladder else [],
            rules.fig7.output,
            rules.fig8.output,
            rules.fig9.output,
            rules.fig10.output,
            rules.samplers.output,
            rules.log_density.output,
            rules.metrics.output,
            rules.samplers_table.output,
            rules.table1.output,
            rules.transfer.output,
            rules.priors.output,
            rules.claims.output,
        ],
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
    message:
        "Report: figures and tables with captions, run times, graph of rules"
    shell:
        # the lock is that of the run which this job is part of
        "snakemake {input.made} --cores 1 --nolock --report {output.report}{params.overrides} > {log} 2>&1"


rule all:
    default_target: True
    input:
        rules.report.input.made,
        rules.report.output,
        # named, so that a deleted one is made again: Snakemake does not miss what only stands between others
        [
            data_of(name, arm) + folders_of(samples_of(name, arm, seed))
            for name in CONFIG.experiments
            for arm, seed in runs_of(name)
        ],
        rules.metrics.input,
    message:
        "All figures and tables, and the report"


onstart:
    # To keep its limit of 100 job starts a second Snakemake starts a timer whenever it looks for jobs, each of which makes it look again:
    # a hundred times a second after as many jobs. Where jobs run here the cores are limit enough.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    print(last_screen())
