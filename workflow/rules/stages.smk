# The stages that every experiment goes through: settings, data, training, samples, metrics; and what is measured of some.
RUN = f"{RESULTS}/{{experiment}}/{{arm}}/seed{{seed}}"
LOGS, BENCHMARKS = (f"{RESULTS}/{kind}/{{experiment}}/{{arm}}/seed{{seed}}" for kind in ("logs", "benchmarks"))


rule resolve:
    input:
        # a prior's scale that is `auto` is known when the data are
        data=lambda wildcards: data_of_scale(wildcards.experiment, wildcards.arm),
    output:
        spec=f"{RESULTS}/{{experiment}}/{{arm}}/spec.json",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/resolve.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        settings=lambda wildcards: arm_spec(CONFIG, wildcards.experiment, wildcards.arm).model_dump_json(),
        code=code("settings"),
        # taking `output` keeps it out of the record: other overrides must not resolve this arm anew
        config=lambda wildcards, output: config_of_commands(),
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
    message:
        "Freeze the settings of {wildcards.experiment}/{wildcards.arm}"
    shell:
        "mld resolve {params.config} --arm {wildcards.experiment}/{wildcards.arm} {params.data}"
        " --output {output.spec} > {log} 2>&1"


rule resolve_target:
    output:
        target=f"{RESULTS}/{{experiment}}/{{arm}}/target.json",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/resolve-target.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        settings=lambda wildcards: arm_spec(CONFIG, wildcards.experiment, wildcards.arm).target.model_dump_json(),
        code=code("settings"),
        config=lambda wildcards, output: config_of_commands(),
    message:
        "Freeze the true law of {wildcards.experiment}/{wildcards.arm}"
    shell:
        "mld resolve {params.config} --arm {wildcards.experiment}/{wildcards.arm} --target --output {output.target} > {log} 2>&1"


for EXPERIMENT in DATA_SETS:

    rule:
        name:
            f"data_{EXPERIMENT}"
        input:
            data_files_of(EXPERIMENT),
        output:
            data=f"{RESULTS}/{EXPERIMENT}/data.safetensors",
        log:
            f"{RESULTS}/logs/{EXPERIMENT}/data.log",
        benchmark:
            f"{RESULTS}/benchmarks/{EXPERIMENT}/data.tsv"
        conda:
            "../../envs/multilevel-diffusion.yaml"
        threads: at_most(workflow.cores) if EXPERIMENTS[EXPERIMENT].data.kind == "reaction-diffusion" else 1
        resources:
            gpu=GPU if EXPERIMENTS[EXPERIMENT].data.kind == "reaction-diffusion" else 0,
        params:
            what=data_command(EXPERIMENT),
            code=code(module_of_data(EXPERIMENT), "data.sets"),
        message:
            f"Make the data of {EXPERIMENT}"
        shell:
            "mld data {params.what} --output {output.data} > {log} 2>&1"


rule test_sets:
    input:
        data=lambda wildcards: training_data_of(wildcards.experiment),
    output:
        data=f"{RESULTS}/{{experiment}}/data/{{resolution}}.safetensors",
    log:
        f"{RESULTS}/logs/{{experiment}}/data-{{resolution}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("data.sets"),
    message:
        "The test sets of {wildcards.experiment} at {wildcards.resolution}"
    shell:
        "mld data restrict {input.data} --resolution {wildcards.resolution} --output {output.data} > {log} 2>&1"


rule mixture_data:
    input:
        target=f"{RESULTS}/{{experiment}}/{{arm}}/target.json",
    output:
        data=f"{RESULTS}/{{experiment}}/{{arm}}/data/{{resolution}}.safetensors",
    log:
        f"{RESULTS}/logs/{{experiment}}/{{arm}}/data-{{resolution}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=lambda wildcards: EXPERIMENTS[wildcards.experiment].sampling.samples,
        code=code("mixture", "data.sets"),
    message:
        "Draw test sets of {wildcards.experiment}/{wildcards.arm} at {wildcards.resolution}"
    shell:
        "mld data mixture {input.target} --resolution {wildcards.resolution} --samples {params.samples}"
        " --output {output.data} > {log} 2>&1"


rule train:
    input:
        spec=f"{RESULTS}/{{experiment}}/{{arm}}/spec.json",
        data=lambda wildcards: training_data_of(wildcards.experiment),
    output:
        model=f"{RUN}/model.safetensors",
        history=f"{RUN}/history.csv",
        snapshots=directory(f"{RUN}/snapshots"),
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{BENCHMARKS}/train.tsv"
    priority: 1  # samples and metrics wait for it
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: threads_of_training
    resources:
        gpu=GPU,
    params:
        code=code("stages.train"),
        data=lambda wildcards, input: f"--data {input.data}" if input.data else "",
        folder=subpath(output.model, parent=True),
    message:
        "Train {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld train {input.spec} {params.data} --seed {wildcards.seed} --output {params.folder} > {log} 2>&1"


rule sample:
    input:
        model=f"{RUN}/model.safetensors",
    output:
        samples=directory(f"{RUN}/samples"),
    log:
        f"{LOGS}/sample.log",
    benchmark:
        f"{BENCHMARKS}/sample.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores
    resources:
        gpu=GPU,
    params:
        gains=lambda wildcards: options({"gain": list(EXPERIMENTS[wildcards.experiment].gains_of(wildcards.arm))}),
        options=lambda wildcards: sampling_options(wildcards.experiment),
        code=code("stages.sample"),
    message:
        "Sample {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, on every grid"
    shell:
        "mld sample {input.model} {params.gains} {params.options}"
        " --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule sample_exact:
    input:
        target=f"{RESULTS}/{{experiment}}/{{arm}}/target.json",
    output:
        samples=directory(f"{RUN}/exact"),
    log:
        f"{LOGS}/sample-exact.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: sampling_options(wildcards.experiment),
        code=code("stages.sample"),
    message:
        "Sample the exact field of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, on every grid"
    shell:
        "mld sample {input.target} {params.options} --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule sample_snapshot:
    input:
        snapshots=f"{RUN}/snapshots",
    output:
        samples=directory(f"{RUN}/epoch{{epoch}}"),
    log:
        f"{LOGS}/sample-epoch{{epoch}}.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: sampling_options(wildcards.experiment),
        gain=lambda wildcards: EXPERIMENTS[wildcards.experiment].gains_of(wildcards.arm)[0],
        code=code("stages.sample"),
    message:
        "Sample {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, after epoch {wildcards.epoch}"
    shell:
        "mld sample {input.snapshots}/epoch_{wildcards.epoch}.safetensors --gain {params.gain}"
        " {params.options} --seed {wildcards.seed} --output {output.samples} > {log} 2>&1"


rule evaluate:
    input:
        samples=lambda wildcards: folders_of(samples_of(wildcards.experiment, wildcards.arm, wildcards.seed)),
        data=lambda wildcards: data_of(wildcards.experiment, wildcards.arm),
    output:
        metrics=f"{RUN}/metrics.csv",
    log:
        f"{LOGS}/evaluate.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=lambda wildcards: samples_of(wildcards.experiment, wildcards.arm, wildcards.seed),
        data=lambda wildcards, input: [f"--data {path}" for path in input.data],
        projections=lambda wildcards: EXPERIMENTS[wildcards.experiment].metrics.projections,
        code=code("stages.evaluate"),
    message:
        "Evaluate the samples of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld evaluate {params.samples} {params.data} --projections {params.projections}"
        " --output {output.metrics} > {log} 2>&1"


rule score_error:
    input:
        snapshots=f"{RUN}/snapshots",
    output:
        table=f"{RUN}/score_error.csv",
    log:
        f"{LOGS}/score_error.log",
    benchmark:
        f"{BENCHMARKS}/score_error.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: options(
            {"gain": list(EXPERIMENTS[wildcards.experiment].gains_of(wildcards.arm))},
            **section_options(wildcards, "score_error"),
        ),
        code=code("stages.score_error"),
    message:
        "Measure the score error along training of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld score-error {input.snapshots} {params.options} --output {output.table} > {log} 2>&1"


rule along_training:
    input:
        snapshots=f"{RUN}/snapshots",
        data=lambda wildcards: test_set_along_training(wildcards.experiment),
    output:
        table=f"{RUN}/along_training.csv",
    log:
        f"{LOGS}/along-training.log",
    benchmark:
        f"{BENCHMARKS}/along-training.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: along_training_options(wildcards.experiment, wildcards.arm),
        code=code("stages.along_training"),
    message:
        "Distance to the test set along training of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld along-training {input.snapshots} --data {input.data} {params.options} --output {output.table} > {log} 2>&1"


# Of mixtures: by the network (values) and by the exact field.
for FIELD, SOURCE in {"values": "{arm}/seed{seed}/model.safetensors", "exact": "{arm}/target.json"}.items():

    rule:
        name:
            f"convergence_{FIELD}"
        input:
            source=f"{RESULTS}/{{experiment}}/{SOURCE}",
        output:
            table=f"{RUN}/convergence/{FIELD}-{{resolution}}.csv",
        log:
            f"{LOGS}/convergence-{FIELD}-{{resolution}}.log",
        benchmark:
            f"{BENCHMARKS}/convergence-{FIELD}-{{resolution}}.tsv"
        conda:
            "../../envs/multilevel-diffusion.yaml"
        threads: share_of_cores
        resources:
            gpu=GPU,
        params:
            options=lambda wildcards: convergence_options(wildcards.experiment),
            code=code("stages.convergence"),
        message:
            "Distance against evaluations of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}, at {wildcards.resolution}"
        shell:
            "mld convergence {input.source} --resolution {wildcards.resolution} {params.options}"
            " --seed {wildcards.seed} --output {output.table} > {log} 2>&1"

    rule:
        name:
            f"log_density_{FIELD}"
        input:
            source=f"{RESULTS}/{{experiment}}/{SOURCE}",
        output:
            table=f"{RUN}/log_density/{FIELD}.csv",
        log:
            f"{LOGS}/log-density-{FIELD}.log",
        benchmark:
            f"{BENCHMARKS}/log-density-{FIELD}.tsv"
        conda:
            "../../envs/multilevel-diffusion.yaml"
        threads: share_of_cores
        resources:
            gpu=GPU,
        params:
            options=lambda wildcards: options(section_options(wildcards, "log_density", "networks")),
            code=code("stages.log_density"),
        message:
            "Log density relative to the prior of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
        shell:
            "mld log-density {input.source} {params.options} --seed {wildcards.seed} --output {output.table} > {log} 2>&1"


rule truncation:
    input:
        target=f"{RESULTS}/{{experiment}}/{{arm}}/target.json",
    output:
        table=f"{RUN}/truncation.csv",
    log:
        f"{LOGS}/truncation.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: options(section_options(wildcards, "truncation")),
        code=code("stages.truncation"),
    message:
        "Truncate the forward process of {wildcards.experiment}/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld truncation {input.target} {params.options} --seed {wildcards.seed} --output {output.table} > {log} 2>&1"
