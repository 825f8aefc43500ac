# Experiment 5.3: training up a ladder of levels, figures 5 and 6; the trade-off of figure 5 on other data where there is a ladder on them.
WARM_START = CONFIG.warm_start
COMPARED = (WARM_START.baseline, WARM_START.warm)
SNAPSHOT_SAMPLES = [
    f"{RESULTS}/warm-start/{arm}/seed{WARM_START.seeds[0]}/epoch{epoch:04d}/{WARM_START.gains_of(arm)[0]}-{resolution}.safetensors"
    for arm in COMPARED
    for epoch in (WARM_START.change, WARM_START.epochs_of(arm))
    for resolution in WARM_START.sampling.resolutions
]


rule ladder_sample_snapshot:
    input:
        snapshots=f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/snapshots",
    output:
        samples=directory(f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/epoch{{epoch}}"),
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/seed{{seed}}/sample-epoch{{epoch}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: lambda wildcards: share_of_cores(wildcards.experiment)
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: sampling_options(wildcards.experiment),
        gain=lambda wildcards: CONFIG.experiments[wildcards.experiment].gains_of(wildcards.arm)[0],
        code=code("sample"),
    message:
        "Sample {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, after epoch {wildcards.epoch}"
    shell:
        "mld sample {input.snapshots}/epoch_{wildcards.epoch}.safetensors --gain {params.gain}"
        " {params.options} --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule fig5:
    input:
        histories=histories_of("warm-start", COMPARED),
    output:
        **picture("fig5", "5.3 Warm start", "Figure 5: test loss, cold and warm"),
    log:
        f"{RESULTS}/logs/figures/fig5.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure 5: test loss of the cold and the warm training"
    shell:
        "mld figure fig5 {input.histories} --output {output.svg} > {log} 2>&1"


rule fig5_tradeoff:
    input:
        histories=histories_of("warm-start", WARM_START.tradeoff),
    output:
        **picture("fig5_tradeoff", "5.3 Warm start", "Ladders of equal time"),
    log:
        f"{RESULTS}/logs/figures/fig5_tradeoff.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure fig5_tradeoff: test loss of ladders against time"
    shell:
        "mld figure fig5-tradeoff {input.histories} --output {output.svg} > {log} 2>&1"


rule fig5_gain:
    input:
        histories=histories_of("warm-start", (WARM_START.baseline, *WARM_START.ablation)),
    output:
        **picture("fig5_gain", "5.3 Warm start", "The change of level under both gains"),
    log:
        f"{RESULTS}/logs/figures/fig5_gain.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure fig5_gain: test loss at the level change under both gains"
    shell:
        "mld figure fig5-gain {input.histories} --output {output.svg} > {log} 2>&1"


rule fig6:
    input:
        files=data_of("warm-start", None),
        samples=folders_of(SNAPSHOT_SAMPLES),
    output:
        **picture("fig6", "5.3 Warm start", "Figure 6: digits, cold and warm", numbers=False),
    log:
        f"{RESULTS}/logs/figures/fig6.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=SNAPSHOT_SAMPLES,
        code=code("figure"),
    message:
        "Figure 6: digits of the cold and the warm training half-way and at the end, first seed"
    shell:
        "mld figure fig6 {input.files} {params.samples} --output {output.svg} > {log} 2>&1"


rule ladders:
    input:
        histories=histories_of("warm-start", WARM_START.arms),
    output:
        **page("ladders", "Tables", "What ladders cost and save"),
    log:
        f"{RESULTS}/logs/tables/ladders.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        baseline=WARM_START.baseline,
        code=code("table"),
    message:
        "Table of what the ladders cost and save"
    shell:
        "mld table ladders {input.histories} --baseline {params.baseline} --output {output.csv} > {log} 2>&1"


if CONFIG.reaction_diffusion_ladder:

    use rule fig5_tradeoff as fig5_tradeoff_pde with:
        input:
            histories=histories_of("reaction-diffusion-ladder", CONFIG.reaction_diffusion_ladder.tradeoff),
        output:
            **picture("fig5_tradeoff_pde", "5.4 Reaction–diffusion", "Ladders of equal time", caption="fig5_tradeoff"),
        log:
            f"{RESULTS}/logs/figures/fig5_tradeoff_pde.log",

    use rule ladders as ladders_pde with:
        input:
            histories=histories_of("reaction-diffusion-ladder", CONFIG.reaction_diffusion_ladder.arms),
        output:
            **page("ladders_pde", "Tables", "What ladders cost and save, reaction–diffusion", caption="ladders"),
        log:
            f"{RESULTS}/logs/tables/ladders_pde.log",
        params:
            baseline=CONFIG.reaction_diffusion_ladder.baseline,
            code=code("table"),
