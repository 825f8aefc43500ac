# Experiment 5.4: reaction–diffusion, figures 7 to 9.
PDE = f"{RESULTS}/reaction-diffusion"
PDE_SETTINGS = CONFIG.reaction_diffusion
PDE_RUNS = runs_of("reaction-diffusion")
PDE_SAMPLES = [
    file for arm in PDE_SETTINGS.arms for file in samples_of("reaction-diffusion", arm, PDE_SETTINGS.seeds[0])
]


rule reaction_diffusion_data:
    input:
        file=PDE_SETTINGS.data.file or [],
    output:
        data=f"{PDE}/data.safetensors",
    log:
        f"{RESULTS}/logs/reaction-diffusion/data.log",
    benchmark:
        f"{RESULTS}/benchmarks/reaction-diffusion/data.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: at_most(workflow.cores)
    resources:
        gpu=GPU,
    params:
        options=reaction_diffusion_options(),
        code=code("data_reaction_diffusion"),
    message:
        "Solve the reaction-diffusion system"
    shell:
        "mld data reaction-diffusion {params.options} --output {output.data} > {log} 2>&1"


rule fig7:
    input:
        files=data_of("reaction-diffusion", None),
    output:
        **picture("fig7", "5.4 Reaction–diffusion", "Figure 7: true snapshots", numbers=False),
    log:
        f"{RESULTS}/logs/figures/fig7.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure 7: true snapshots of the reaction-diffusion system"
    shell:
        "mld figure fig7 {input.files} --output {output.svg} > {log} 2>&1"


rule fig8:
    input:
        files=data_of("reaction-diffusion", None),
        samples=folders_of(PDE_SAMPLES),
    output:
        **picture("fig8", "5.4 Reaction–diffusion", "Figure 8: samples of every prior", numbers=False),
    log:
        f"{RESULTS}/logs/figures/fig8.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=PDE_SAMPLES,
        code=code("figure"),
    message:
        "Figure 8: samples of every prior on every grid, first seed"
    shell:
        "mld figure fig8 {input.files} {params.samples} --output {output.svg} > {log} 2>&1"


rule fig9:
    input:
        histories=[f"{PDE}/{arm}/seed{seed}/history.csv" for arm, seed in PDE_RUNS],
    output:
        **picture("fig9", "5.4 Reaction–diffusion", "Figure 9: loss of every prior"),
    log:
        f"{RESULTS}/logs/figures/fig9.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure 9: loss along training, a panel a prior"
    shell:
        "mld figure fig9 {input.histories} --output {output.svg} > {log} 2>&1"
