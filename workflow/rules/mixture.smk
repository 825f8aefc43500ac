# Experiment 5.1: the Gaussian mixture, figures 1 and 10.
MIXTURE = f"{RESULTS}/mixture"
SETTINGS = CONFIG.mixture
RUNS = runs_of("mixture")
CONVERGENCE = [
    f"{MIXTURE}/{RUNS[0][0]}/seed{seed}/convergence/{field}-{resolution}.csv"
    for field in ("exact", "values")
    for resolution in SETTINGS.convergence.resolutions
    for seed in SETTINGS.seeds[: SETTINGS.convergence.networks]
]
LOG_DENSITY = [
    f"{MIXTURE}/{RUNS[0][0]}/seed{seed}/log_density/{field}.csv"
    for field in ("exact", "values")
    for seed in SETTINGS.seeds[: SETTINGS.log_density.networks]
]


rule mixture_resolve_target:
    output:
        target=f"{MIXTURE}/{{arm}}/target.json",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/resolve-target.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        settings=lambda wildcards: arm_spec(CONFIG, "mixture", wildcards.arm).target.model_dump_json(),
        code=code("resolve"),
        # taking `output` keeps it out of the record: other overrides must not resolve this arm anew
        overrides=lambda wildcards, output: overrides(),
    message:
        "Freeze the true law of mixture/{wildcards.arm}"
    shell:
        "mld resolve config.yaml {params.overrides} --arm mixture/{wildcards.arm} --target --output {output.target} > {log} 2>&1"


rule mixture_data:
    input:
        target=f"{MIXTURE}/{{arm}}/target.json",
    output:
        data=f"{MIXTURE}/{{arm}}/data/{{resolution}}.safetensors",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/data-{{resolution}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=SETTINGS.sampling.samples,
        code=code("data_mixture"),
    message:
        "Draw true samples of mixture/{wildcards.arm} at {wildcards.resolution}"
    shell:
        "mld data mixture {input.target} --resolution {wildcards.resolution} --samples {params.samples}"
        " --output {output.data} > {log} 2>&1"


rule mixture_score_error:
    input:
        snapshots=f"{MIXTURE}/{{arm}}/seed{{seed}}/snapshots",
    output:
        scores=f"{MIXTURE}/{{arm}}/seed{{seed}}/score_error.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/score_error.log",
    benchmark:
        f"{RESULTS}/benchmarks/mixture/{{arm}}/seed{{seed}}/score_error.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores("mixture")
    resources:
        gpu=GPU,
    params:
        resolutions=[f"--resolution {resolution}" for resolution in SETTINGS.score_error.resolutions],
        gains=lambda wildcards: [f"--gain {gain}" for gain in SETTINGS.gains_of(wildcards.arm)],
        batches=SETTINGS.score_error.batches,
        batch_size=SETTINGS.score_error.batch_size,
        code=code("score_error"),
    message:
        "Measure the score error along training of mixture/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld score-error {input.snapshots} {params.resolutions} {params.gains} --batches {params.batches}"
        " --batch-size {params.batch_size} --output {output.scores} > {log} 2>&1"


rule mixture_sample_exact:
    input:
        target=f"{MIXTURE}/{{arm}}/target.json",
    output:
        samples=directory(f"{MIXTURE}/{{arm}}/seed{{seed}}/exact"),
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/sample-exact.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=sampling_options("mixture"),
        code=code("sample"),
    message:
        "Sample the exact field of mixture/{wildcards.arm}, seed {wildcards.seed}, on every grid"
    shell:
        "mld sample {input.target} {params.options} --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule mixture_convergence:
    input:
        model=f"{MIXTURE}/{{arm}}/seed{{seed}}/model.safetensors",
    output:
        table=f"{MIXTURE}/{{arm}}/seed{{seed}}/convergence/values-{{resolution}}.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/convergence-values-{{resolution}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/mixture/{{arm}}/seed{{seed}}/convergence-values-{{resolution}}.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores("mixture")
    resources:
        gpu=GPU,
    params:
        options=convergence_options(),
        code=code("convergence"),
    message:
        "Distance to the truth against evaluations of mixture/{wildcards.arm}, seed {wildcards.seed}, at {wildcards.resolution}"
    shell:
        "mld convergence {input.model} --resolution {wildcards.resolution} {params.options}"
        " --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule mixture_convergence_exact:
    input:
        target=f"{MIXTURE}/{{arm}}/target.json",
    output:
        table=f"{MIXTURE}/{{arm}}/seed{{seed}}/convergence/exact-{{resolution}}.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/convergence-exact-{{resolution}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=convergence_options(),
        code=code("convergence"),
    message:
        "Distance to the truth against evaluations of the exact field of mixture/{wildcards.arm}, seed {wildcards.seed}, at {wildcards.resolution}"
    shell:
        "mld convergence {input.target} --resolution {wildcards.resolution} {params.options}"
        " --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule mixture_log_density:
    input:
        model=f"{MIXTURE}/{{arm}}/seed{{seed}}/model.safetensors",
    output:
        table=f"{MIXTURE}/{{arm}}/seed{{seed}}/log_density/values.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/log-density-values.log",
    benchmark:
        f"{RESULTS}/benchmarks/mixture/{{arm}}/seed{{seed}}/log-density-values.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores("mixture")
    resources:
        gpu=GPU,
    params:
        options=log_density_options(),
        code=code("log_density"),
    message:
        "Log density relative to the prior by the network of mixture/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld log-density {input.model} {params.options} --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule mixture_log_density_exact:
    input:
        target=f"{MIXTURE}/{{arm}}/target.json",
    output:
        table=f"{MIXTURE}/{{arm}}/seed{{seed}}/log_density/exact.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/log-density-exact.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=log_density_options(),
        code=code("log_density"),
    message:
        "Log density relative to the prior by the exact field of mixture/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld log-density {input.target} {params.options} --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule mixture_truncation:
    input:
        target=f"{MIXTURE}/{{arm}}/target.json",
    output:
        table=f"{MIXTURE}/{{arm}}/seed{{seed}}/truncation.csv",
    log:
        f"{RESULTS}/logs/mixture/{{arm}}/seed{{seed}}/truncation.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=truncation_options(),
        code=code("truncation"),
    message:
        "Truncate the forward process of mixture/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld truncation {input.target} {params.options} --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule fig1:
    input:
        scores=[f"{MIXTURE}/{arm}/seed{seed}/score_error.csv" for arm, seed in RUNS],
    output:
        **picture("fig1", "5.1 Gaussian mixture", "Figure 1: score error and loss"),
    log:
        f"{RESULTS}/logs/figures/fig1.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure 1: score error and loss along training"
    shell:
        "mld figure fig1 {input.scores} --output {output.svg} > {log} 2>&1"


rule fig10:
    input:
        files=data_of("mixture", RUNS[0][0]),
        samples=folders_of(samples_of("mixture", *RUNS[0])),
    output:
        **picture("fig10", "5.1 Gaussian mixture", "Figure 10: truth and samples", numbers=False),
    log:
        f"{RESULTS}/logs/figures/fig10.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=samples_of("mixture", *RUNS[0]),
        code=code("figure"),
    message:
        "Figure 10: truth, exact field and network of the first arm and seed on several grids"
    shell:
        "mld figure fig10 {input.files} {params.samples} --output {output.svg} > {log} 2>&1"


rule samplers:
    input:
        tables=CONVERGENCE,
    output:
        **picture("samplers", "5.1 Gaussian mixture", "Samplers: distance against evaluations"),
    log:
        f"{RESULTS}/logs/figures/samplers.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure samplers: distance to the truth against evaluations, first arm"
    shell:
        "mld figure samplers {input.tables} --output {output.svg} > {log} 2>&1"


rule samplers_table:
    input:
        tables=CONVERGENCE,
    output:
        **page("samplers", "Tables", "Evaluations that each sampler needs", caption="samplers_table"),
    log:
        f"{RESULTS}/logs/tables/samplers.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("table"),
    message:
        "Table of the evaluations that each sampler needs, first arm"
    shell:
        "mld table samplers {input.tables} --output {output.csv} > {log} 2>&1"


rule log_density:
    input:
        tables=LOG_DENSITY,
    output:
        **picture("log_density", "5.1 Gaussian mixture", "Log density relative to the prior"),
    log:
        f"{RESULTS}/logs/figures/log_density.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure log_density: densities relative to the prior, first arm"
    shell:
        "mld figure log-density {input.tables} --output {output.svg} > {log} 2>&1"
