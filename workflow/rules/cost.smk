# What a training step costs as the work grows: minutes in which nothing else may run, so not part of `all`.
rule cost_scaling:
    output:
        table=f"{RESULTS}/cost/scaling.csv",
    log:
        f"{RESULTS}/logs/cost/scaling.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: workflow.cores
    params:
        code=code("bench.costs"),
    message:
        "Time and memory of a training step against resolution, batch and width"
    shell:
        "mld bench scaling --output {output.table} > {log} 2>&1"


rule cost:
    input:
        table=rules.cost_scaling.output.table,
    output:
        multiext(f"{RESULTS}/figures/cost", svg=".svg", png=".png", csv=".csv"),
    log:
        f"{RESULTS}/logs/figures/cost.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figures"),
    message:
        "Figure cost: time and memory of a training step as the work grows"
    shell:
        "mld figure cost {input.table} --output {output.svg} > {log} 2>&1"
