# The stages that every experiment goes through: settings, truth, training, samples, metrics.
rule resolve:
    output:
        spec=f"{RESULTS}/{{experiment}}/{{arm}}/spec.json",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/resolve.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        settings=lambda wildcards: arm_spec(CONFIG, wildcards.experiment, wildcards.arm).model_dump_json(),
        code=code("resolve"),
        # taking `output` keeps it out of the record: other overrides must not resolve this arm anew
        overrides=lambda wildcards, output: overrides(),
    message:
        "Freeze the settings of {wildcards.experiment}/{wildcards.arm}"
    shell:
        "mld resolve config.yaml {params.overrides} --arm {wildcards.experiment}/{wildcards.arm} --output {output.spec} > {log} 2>&1"


rule truth:
    input:
        data=lambda wildcards: training_data_of(wildcards.experiment),
    output:
        data=f"{RESULTS}/{{experiment}}/data/{{resolution}}.safetensors",
    log:
        f"{RESULTS}/logs/{{experiment}}/data-{{resolution}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("data_restrict"),
    message:
        "The test sets of {wildcards.experiment} at {wildcards.resolution}"
    shell:
        "mld data restrict {input.data} --resolution {wildcards.resolution} --output {output.data} > {log} 2>&1"


rule train:
    input:
        spec=f"{RESULTS}/{{experiment}}/{{arm}}/spec.json",
        data=lambda wildcards: training_data_of(wildcards.experiment),
    output:
        model=f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/model.safetensors",
        history=f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/history.csv",
        snapshots=directory(f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/snapshots"),
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/seed{{seed}}/train.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{experiment}}/{{arm}}/seed{{seed}}/train.tsv"
    priority: 1  # samples and metrics wait for it
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: lambda wildcards: threads_of_training(wildcards.experiment)
    resources:
        gpu=GPU,
    params:
        code=code("train"),
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
        folder=subpath(output.model, parent=True),
    message:
        "Train {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld train {input.spec} {params.data} --seed {wildcards.seed} --output {params.folder} > {log} 2>&1"


rule sample:
    input:
        model=f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/model.safetensors",
    output:
        samples=directory(f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/samples"),
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/seed{{seed}}/sample.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{experiment}}/{{arm}}/seed{{seed}}/sample.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: lambda wildcards: share_of_cores(wildcards.experiment)
    resources:
        gpu=GPU,
    params:
        gains=lambda wildcards: [
            f"--gain {gain}" for gain in CONFIG.experiments[wildcards.experiment].gains_of(wildcards.arm)
        ],
        options=lambda wildcards: sampling_options(wildcards.experiment),
        code=code("sample"),
    message:
        "Sample {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, on every grid"
    shell:
        "mld sample {input.model} {params.gains} {params.options}"
        " --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule evaluate:
    input:
        samples=lambda wildcards: folders_of(samples_of(wildcards.experiment, wildcards.arm, wildcards.seed)),
        data=lambda wildcards: data_of(wildcards.experiment, wildcards.arm),
    output:
        metrics=f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}/metrics.csv",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/seed{{seed}}/evaluate.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=lambda wildcards: samples_of(wildcards.experiment, wildcards.arm, wildcards.seed),
        data=lambda wildcards, input: [f"--data {path}" for path in input.data],
        projections=lambda wildcards: CONFIG.experiments[wildcards.experiment].metrics.projections,
        code=code("evaluate"),
    message:
        "Evaluate the samples of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld evaluate {params.samples} {params.data} --projections {params.projections}"
        " --output {output.metrics} > {log} 2>&1"
