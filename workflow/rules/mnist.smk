# Experiment 5.2: handwritten digits, figures 2 to 4.
MNIST = f"{RESULTS}/mnist"
MNIST_SETTINGS = CONFIG.mnist
MNIST_RUNS = runs_of("mnist")
FNO_ARMS = [arm for arm, settings in MNIST_SETTINGS.arms.items() if settings.network.kind == "fno"]
UNET_ARMS = [arm for arm, settings in MNIST_SETTINGS.arms.items() if settings.network.kind == "unet"]
FNO_SAMPLES, UNET_SAMPLES = (
    [file for arm in arms for file in samples_of("mnist", arm, MNIST_SETTINGS.seeds[0])]
    for arms in (FNO_ARMS, UNET_ARMS)
)


rule mnist_data:
    output:
        data=f"{MNIST}/data.safetensors",
    log:
        f"{RESULTS}/logs/mnist/data.log",
    benchmark:
        f"{RESULTS}/benchmarks/mnist/data.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        options=mnist_options(),
        code=code("data_mnist"),
    message:
        "Fetch MNIST, verify, resize"
    shell:
        "mld data mnist {params.options} --output {output.data} > {log} 2>&1"


rule mnist_along_training:
    input:
        snapshots=f"{MNIST}/{{arm}}/seed{{seed}}/snapshots",
        data=f"{MNIST}/data/{MNIST_SETTINGS.along_training.resolution}.safetensors",
    output:
        table=f"{MNIST}/{{arm}}/seed{{seed}}/along_training.csv",
    log:
        f"{RESULTS}/logs/mnist/{{arm}}/seed{{seed}}/along-training.log",
    benchmark:
        f"{RESULTS}/benchmarks/mnist/{{arm}}/seed{{seed}}/along-training.tsv"
    conda:
        "../../envs/multilevel-diffusion.yaml"
    threads: share_of_cores("mnist")
    resources:
        gpu=GPU,
    params:
        options=lambda wildcards: along_training_options(wildcards.arm),
        code=code("along_training"),
    message:
        "Distance to the test set along training of mnist/{wildcards.arm}, seed {wildcards.seed}"
    shell:
        "mld along-training {input.snapshots} --data {input.data} {params.options} --output {output.table} > {log} 2>&1"


rule fig2:
    input:
        files=data_of("mnist", None),
        samples=folders_of(UNET_SAMPLES),
    output:
        **picture("fig2", "5.2 Digits", "Figure 2: the U-Net with white noise", numbers=False),
    log:
        f"{RESULTS}/logs/figures/fig2.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=UNET_SAMPLES,
        code=code("figure"),
    message:
        "Figure 2: digits of the U-Net on several grids, first seed"
    shell:
        "mld figure fig2 {input.files} {params.samples} --output {output.svg} > {log} 2>&1"


rule fig3:
    input:
        files=data_of("mnist", None),
        samples=folders_of(FNO_SAMPLES),
        histories=[f"{MNIST}/{arm}/seed{seed}/history.csv" for arm, seed in MNIST_RUNS if arm in FNO_ARMS],
    output:
        **picture("fig3", "5.2 Digits", "Figure 3: the FNO under every prior"),
    log:
        f"{RESULTS}/logs/figures/fig3.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        samples=FNO_SAMPLES,
        histories=lambda wildcards, input: [f"--history {path}" for path in input.histories],
        code=code("figure"),
    message:
        "Figure 3: digits of the FNO under every prior on several grids, first seed, and the losses"
    shell:
        "mld figure fig3 {input.files} {params.samples} {params.histories} --output {output.svg} > {log} 2>&1"


rule fig4:
    input:
        tables=[f"{MNIST}/{arm}/seed{seed}/along_training.csv" for arm, seed in MNIST_RUNS],
    output:
        **picture("fig4", "5.2 Digits", "Figure 4: distance along training"),
    log:
        f"{RESULTS}/logs/figures/fig4.log",
    conda:
        "../../envs/multilevel-diffusion.yaml"
    params:
        code=code("figure"),
    message:
        "Figure 4: distance of digits to the test set along training"
    shell:
        "mld figure fig4 {input.tables} --output {output.svg} > {log} 2>&1"
