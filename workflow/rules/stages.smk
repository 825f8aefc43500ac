# The stages that every experiment goes through: settings, data, training, samples, metrics; and what is measured of some.
ARM = f"{RESULTS}/{{experiment}}/{{arm}}"
RUN = f"{ARM}/seed{{seed}}"
OF_ARM = "{wildcards.experiment}/{wildcards.arm}"
OF_RUN = f"{OF_ARM}, seed {{wildcards.seed}}"
AT_RUN = "{experiment}/{arm}/seed{seed}"


LONG = {"threads": share_of_cores, "gpu": 1}


def training_data(wildcards):
    """The file that an experiment trains on; a mixture is drawn as training goes."""
    source = CONFIG.data_set(wildcards.experiment)
    return f"{RESULTS}/{source}/data.safetensors" if source else []


def data_of_scale(wildcards):
    """The training data, where a prior's scale is taken from them."""
    prior = EXPERIMENTS[wildcards.experiment].arms[wildcards.arm].prior
    return training_data(wildcards) if getattr(prior, "scale", None) == "auto" else []


def option(name):
    """A file of a command that may do without it."""
    return lambda wildcards, input: options({name: input[name]} if input[name] else {})


def law_of(wildcards):
    """The Gaussian fit that an arm is trained with: one per data set and prior, kept with the first arm that has the prior."""
    arms, arm = of(wildcards).arms, wildcards.arm
    first = next(name for name, each in arms.items() if each.prior == arms[arm].prior)
    return f"{RESULTS}/{wildcards.experiment}/{first}/gaussian.safetensors"


def data_options(experiment):
    """The command of `mld data` that makes the data of an experiment, and its options."""
    settings = EXPERIMENTS[experiment]
    data, kind = dumped(settings.data, "kind"), settings.data.kind
    also = {"resolution": settings.native_resolution, "name": experiment}
    if "file" in data:
        data["file"] = located(data["file"])
    match kind:
        case "mnist":
            return options({"source": [*map(located, data.pop("sources"))]} | data | also, kind)
        case "reaction-diffusion":
            return options(data | also, kind)
        case "fields":
            source = data.pop("source")
            file, _, inside = source.rpartition(":")
            source = located(source) if not file or os.path.exists(located(source)) else f"{located(file)}:{inside}"
            return options(data | {"grid": settings.grid.value} | also, kind, source)
    values = {name: flow(value) for name, value in data.items()}
    return options({"set": values, "grid": settings.grid.value} | also, "build", kind)


def data_code(kind):
    """The digest of the module that makes data of a kind, of those that are no plugin's."""
    home = f"data.{kind.replace('-', '_')}"
    return code(home if find_spec(f"multilevel_diffusion.{home}") else "data.sets", "data.sets")


def data_source(experiment):
    """The user's own file or folder that data are made from, of a source FILE:NAME the file; the run ends if there is none."""
    data = EXPERIMENTS[experiment].data
    source = data.source if data.kind == "fields" else getattr(data, "file", None)
    if not source:
        return None
    found = [path for path in map(located, filter(None, (source, source.rpartition(":")[0]))) if os.path.exists(path)]
    if not found:
        sys.exit(f"config: experiments.{experiment}.data: {source}: no such file or folder")
    return found[0]


def data_files(experiment):
    """The user's own file or folder as an input, unless it has braces, which are wildcards to Snakemake."""
    source = data_source(experiment)
    return source if source and "{" not in source else []


def data_stamp(experiment):
    """Names, sizes and times of what Snakemake does not see: the files in a folder, and a file with braces in its name."""
    source = data_source(experiment)
    if not source or not (os.path.isdir(source) or "{" in source):
        return ""
    found = os.scandir(source) if os.path.isdir(source) else [Path(source)]
    stamps = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in found)
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


def sampler_text(sampler):
    """A sampler's settings for a command line: its kind alone where nothing else is set."""
    found = sampler.model_dump(mode="json", exclude_defaults=True)
    return found["kind"] if len(found) == 1 else flow(found)


def classifier_of(wildcards):
    """The classifier that judges samples of digits: one a data set."""
    digits = CONFIG.data_of(wildcards.experiment).kind == "mnist"
    return f"{RESULTS}/{CONFIG.data_set(wildcards.experiment)}/classifier.safetensors" if digits else []


def classifier_options(wildcards):
    """The files of the digits and their native resolution, as options of a command."""
    data = dumped(of(wildcards).data)
    found = {
        "source": [*map(located, data["sources"])],
        "sha256": data["sha256"],
        "resolution": of(wildcards).native_resolution,
    }
    return options(found)


def section(settings, *without):
    """A section of settings as options of a command: its grids first, samplers as text."""
    found = dumped(settings, *without)
    first = {"resolution": found.pop("resolutions", [])}
    if "sampler" in found:
        found["sampler"] = sampler_text(settings.sampler)
    if found.pop("samplers", None):
        first["sampler"] = [sampler_text(sampler) for sampler in settings.samplers]
    return first | found


def of(wildcards):
    """The settings of the experiment of a job."""
    return EXPERIMENTS[wildcards.experiment]


def spec_of(wildcards):
    """The settings of the arm of a job."""
    return arm_spec(CONFIG, wildcards.experiment, wildcards.arm)


def gains(wildcards, count=None):
    """The gains of an arm, or the first of them, as options of a command."""
    return {"gain": list(of(wildcards).gains_of(wildcards.arm)[:count])}


def sampling(wildcards):
    """How an arm is sampled, as options of a command; without what is as always."""
    found = section(of(wildcards).sampling_of(wildcards.arm))
    return {name: value for name, value in found.items() if (name, value) != ("start", "prior")}


def along_training_options(wildcards):
    """The sampler of the samples and where it starts, with fewer steps, and the metrics of the samples."""
    settings, found = of(wildcards), gains(wildcards)
    found |= {name: value for name, value in sampling(wildcards).items() if name in ("sampler", "start")}
    return options(found | section(settings.along_training, "resolution") | dumped(settings.metrics))


def convergence_options(wildcards, field):
    """The samplers to compare, where networks start, the metrics of the samples, and test sets where there are any."""
    settings = of(wildcards)
    found = section(settings.convergence, "networks", "resolutions", "start") | dumped(settings.metrics)
    if field == "values" and settings.convergence.start != "prior":
        found["start"] = settings.convergence.start.value
    return options(found | ({} if settings.mixture else {"data": test_set(wildcards, wildcards.resolution)}))


def test_set(wildcards, resolution):
    """The test set of an experiment, which is no mixture, on a grid."""
    return f"{RESULTS}/{CONFIG.data_set(wildcards.experiment)}/data/{resolution}.safetensors"


JOBS = {
    "resolve": Job(
        f"Freeze the settings of {OF_ARM}",
        f"resolve {{params.config}} --arm {OF_ARM} {{params.data}} --output {{output.spec}}",
        place="{experiment}/{arm}/resolve",
        local=True,
        code=code("settings"),
        input={"data": data_of_scale},  # a prior's scale that is `auto` is known when the data are
        output={"spec": f"{ARM}/spec.json"},
        params={
            "settings": lambda wildcards: spec_of(wildcards).model_dump_json(),
            # not recorded: other overrides must not resolve this arm anew
            "config": lambda wildcards, output: config_of_commands(),
            "data": option("data"),
            "scale": lambda wildcards: code("builders") if data_of_scale(wildcards) else "",
        },
    ),
    "resolve_target": Job(
        f"Freeze what the data of {OF_ARM} depend on",
        f"resolve {{params.config}} --arm {OF_ARM} --target --output {{output.target}}",
        place="{experiment}/{arm}/resolve-target",
        local=True,
        code=code("settings"),
        output={"target": f"{ARM}/target.json"},
        params={
            "settings": lambda wildcards: spec_of(wildcards).target.model_dump_json(),
            "config": lambda wildcards, output: config_of_commands(),
        },
    ),
    "test_sets": Job(
        "The test sets of {wildcards.experiment} at {wildcards.resolution}",
        "data restrict {input.data} --resolution {wildcards.resolution} --output {output.data}",
        place="{experiment}/data-{resolution}",
        code=code("data.sets"),
        input={"data": training_data},
        output={"data": f"{RESULTS}/{{experiment}}/data/{{resolution}}.safetensors"},
    ),
    "mixture_data": Job(
        f"Draw test sets of {OF_ARM} at {{wildcards.resolution}}",
        "data mixture {input.target} --resolution {wildcards.resolution} --samples {params.samples}"
        " --output {output.data}",
        place="{experiment}/{arm}/data-{resolution}",
        code=code("builders", "mixture", "data.sets"),
        input={"target": f"{ARM}/target.json"},
        output={"data": f"{ARM}/data/{{resolution}}.safetensors"},
        params={"samples": lambda wildcards: EXPERIMENTS[wildcards.experiment].sampling.samples},
    ),
    "gaussian_law": Job(
        f"Gaussian fit of the data of {OF_ARM}",
        "gaussian {input.spec} {params.data} --output {output.law}",
        place="{experiment}/{arm}/gaussian",
        input={"spec": f"{ARM}/spec.json", "data": training_data},
        output={"law": f"{ARM}/gaussian.safetensors"},
        params={"data": option("data")},
    ),
    "train": Job(
        f"Train {OF_RUN}; its loss and the time left: tail -f {{log}}",
        "train {input.spec} {params.data} --gaussian {input.gaussian} --seed {wildcards.seed} --output {params.folder:q}",
        place=f"{AT_RUN}/train",
        input={"spec": f"{ARM}/spec.json", "data": training_data, "gaussian": law_of},
        output={
            "model": f"{RUN}/model.safetensors",
            "history": f"{RUN}/history.csv",
            "snapshots": directory(f"{RUN}/snapshots"),
        },
        params={
            "data": option("data"),
            "folder": lambda wildcards, output: Path(output.model).parent,
        },
        threads=threads_of_training,
        gpu=1,
        priority=1,  # samples and metrics wait for it
    ),
    "sample": Job(
        f"Sample {OF_RUN}, on every grid",
        "sample {input.model} {params.options} --seed {wildcards.seed} --output {output.samples}",
        place=f"{AT_RUN}/sample",
        input={"model": f"{RUN}/model.safetensors"},
        output={"samples": directory(f"{RUN}/samples")},
        params={"options": lambda wildcards: options(gains(wildcards) | sampling(wildcards))},
        **LONG,
    ),
    "sample_exact": Job(
        f"Sample the exact score of {OF_RUN}, on every grid",
        "sample {input.target} {params.options} --seed {wildcards.seed} --output {output.samples}",
        place=f"{AT_RUN}/sample-exact",
        input={"target": f"{ARM}/target.json"},
        output={"samples": directory(f"{RUN}/exact")},
        params={"options": lambda wildcards: options(section(of(wildcards).sampling, "start"))},
        gpu=1,
    ),
    "sample_snapshot": Job(
        f"Sample {OF_RUN}, after epoch {{wildcards.epoch}}",
        "sample {input.snapshots}/epoch_{wildcards.epoch}.safetensors {params.options}"
        " --seed {wildcards.seed} --output {output.samples}",
        place=f"{AT_RUN}/sample-epoch{{epoch}}",
        input={"snapshots": f"{RUN}/snapshots"},
        output={"samples": directory(f"{RUN}/epoch{{epoch}}")},
        params={"options": lambda wildcards: options(gains(wildcards, 1) | sampling(wildcards))},
        **LONG,
    ),
    "classifier": Job(
        "Train the classifier of the digits of {wildcards.experiment}",
        "classifier {params.options} --output {output.classifier}",
        place="{experiment}/classifier",
        code=code("stages.classifier", "data.mnist"),
        output={"classifier": f"{RESULTS}/{{experiment}}/classifier.safetensors"},
        params={"options": classifier_options},
    ),
    "evaluate": Job(
        f"Evaluate the samples of {OF_RUN}",
        "evaluate {params.samples:q} {params.data} {params.classifier} --projections {params.projections}"
        " --output {output.metrics}",
        place=f"{AT_RUN}/evaluate",
        input={
            "samples": lambda wildcards: folders_of(samples_of(*wildcards)),
            "data": lambda wildcards: data_of(wildcards.experiment, wildcards.arm),
            "classifier": classifier_of,
        },
        output={"metrics": f"{RUN}/metrics.csv"},
        params={
            "samples": lambda wildcards: samples_of(*wildcards),
            "data": lambda wildcards, input: options({"data": [*input.data]}),
            "classifier": option("classifier"),
            "projections": lambda wildcards: of(wildcards).metrics.projections,
        },
    ),
    "score_error": Job(
        f"Measure the score error along training of {OF_RUN}",
        "score-error {input.snapshots} --gaussian {input.gaussian} {params.options} --output {output.table}",
        place=f"{AT_RUN}/score_error",
        input={"snapshots": f"{RUN}/snapshots", "gaussian": law_of},
        output={"table": f"{RUN}/score_error.csv"},
        params={"options": lambda wildcards: options(gains(wildcards) | section(of(wildcards).score_error))},
        **LONG,
    ),
    "along_training": Job(
        f"Distance to the test set along training of {OF_RUN}",
        "along-training {input.snapshots} --data {input.data} {params.options} --output {output.table}",
        place=f"{AT_RUN}/along-training",
        input={
            "snapshots": f"{RUN}/snapshots",
            "data": lambda wildcards: test_set(wildcards, of(wildcards).along_training.resolution),
        },
        output={"table": f"{RUN}/along_training.csv"},
        params={"options": along_training_options},
        **LONG,
    ),
    "truncation": Job(
        f"Truncate the forward process of {OF_RUN}",
        "truncation {input.target} {params.options} --seed {wildcards.seed} --output {output.table}",
        place=f"{AT_RUN}/truncation",
        input={"target": f"{ARM}/target.json"},
        output={"table": f"{RUN}/truncation.csv"},
        params={"options": lambda wildcards: options(section(of(wildcards).truncation))},
        gpu=1,
    ),
}
for NAME in DATA_SETS:
    DATA = EXPERIMENTS[NAME].data
    JOBS[f"data_{NAME}"] = Job(
        f"Make the data of {NAME}",
        "data {params.what} --output {output.data}",
        place=f"{NAME}/data",
        code=data_code(DATA.kind),
        input={"files": lambda wildcards, experiment=NAME: data_files(experiment)},
        output={"data": f"{RESULTS}/{NAME}/data.safetensors"},
        params={
            "what": lambda wildcards, experiment=NAME: data_options(experiment),
            "stamp": lambda wildcards, experiment=NAME: data_stamp(experiment),
        },
        threads=all_cores if DATA.kind == "reaction-diffusion" else 1,
        gpu=1 if DATA.kind == "reaction-diffusion" else 0,
    )
# By the network (values) and, of mixtures, by the exact score.
for FIELD, SOURCE in {"values": f"{RUN}/model.safetensors", "exact": f"{ARM}/target.json"}.items():
    JOBS[f"convergence_{FIELD}"] = Job(
        f"Distance against evaluations of {OF_RUN}, at {{wildcards.resolution}}",
        "convergence {input.source} --resolution {wildcards.resolution} {params.options}"
        " --seed {wildcards.seed} --output {output.table}",
        place=f"{AT_RUN}/convergence-{FIELD}-{{resolution}}",
        input={
            "source": SOURCE,
            "data": lambda wildcards: [] if of(wildcards).mixture else test_set(wildcards, wildcards.resolution),
        },
        output={"table": f"{RUN}/convergence/{FIELD}-{{resolution}}.csv"},
        params={"options": lambda wildcards, field=FIELD: convergence_options(wildcards, field)},
        **LONG,
    )
    JOBS[f"log_density_{FIELD}"] = Job(
        f"Log density relative to the prior of {OF_RUN}",
        "log-density {input.source} {params.options} --seed {wildcards.seed} --output {output.table}",
        place=f"{AT_RUN}/log-density-{FIELD}",
        input={"source": SOURCE},
        output={"table": f"{RUN}/log_density/{FIELD}.csv"},
        params={"options": lambda wildcards: options(section(of(wildcards).log_density, "networks"))},
        **LONG,
    )
