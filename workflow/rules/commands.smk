# The commands of all jobs and their arguments, from the settings.
from multilevel_diffusion.settings import FieldsDataSettings, FigureSettings


def options(settings, *rest, **also):
    """A section of settings as options of a command: a list repeats its option, a mapping gives NAME=VALUE."""
    words = list(rest)
    for name, value in (settings | also).items():
        values = (
            value
            if isinstance(value, list)
            else [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else [value]
        )
        words += [word for each in values for word in (f"--{name.replace('_', '-')}", str(each))]
    return shlex.join(words)


def dumped(settings, *without):
    """A section of settings as a mapping, without what is not set."""
    return settings.model_dump(mode="json", exclude_none=True, exclude=set(without))


def sampler_text(sampler):
    """A sampler's settings for a command line: its kind alone where nothing else is set."""
    found = sampler.model_dump(mode="json", exclude_defaults=True)
    return found["kind"] if len(found) == 1 else flow(found)


def sampling_options(experiment):
    """The options of `mld sample` that are settings."""
    settings = EXPERIMENTS[experiment].sampling
    return options(
        {"resolution": list(settings.resolutions), "sampler": sampler_text(settings.sampler)}
        | {"steps": settings.steps, "samples": settings.samples}
    )


def section_options(wildcards, section, *without):
    """A section of an experiment's settings as options of the command of its name."""
    found = dumped(getattr(EXPERIMENTS[wildcards.experiment], section), *without)
    return {"resolution": found.pop("resolutions")} | found


def along_training_options(experiment, arm):
    """The options of `mld along-training` that are settings."""
    settings = EXPERIMENTS[experiment]
    return options(
        {"gain": list(settings.gains_of(arm)), "sampler": sampler_text(settings.sampling.sampler)},
        steps=settings.along_training.steps,
        samples=settings.along_training.samples,
        projections=settings.metrics.projections,
    )


def convergence_options(experiment):
    """The options of `mld convergence` that are settings."""
    settings = EXPERIMENTS[experiment].convergence
    return options(
        {"sampler": [sampler_text(sampler) for sampler in settings.samplers]}
        | dumped(settings, "samplers", "networks", "resolutions"),
        projections=EXPERIMENTS[experiment].metrics.projections,
    )


def test_set_along_training(experiment):
    """The test set on the grid that snapshots are sampled on."""
    return (
        f"{RESULTS}/{CONFIG.data_set(experiment)}/data/{EXPERIMENTS[experiment].along_training.resolution}.safetensors"
    )


def data_command(experiment):
    """The command of `mld data` that makes the data of an experiment, and its options."""
    settings = EXPERIMENTS[experiment]
    data, also = dumped(settings.data, "kind"), {"resolution": settings.native_resolution, "name": experiment}
    match settings.data.kind:
        case "mnist":
            data = {name.removesuffix("s") if name == "sources" else name: value for name, value in data.items()}
            return options(data, "mnist", **also)
        case "reaction-diffusion":
            return options(data, "reaction-diffusion", **also)
        case "fields":
            return options(data, "fields", data.pop("source"), grid=settings.grid.value, **also)
    return options(
        {"set": {name: flow(value) for name, value in data.items()}},
        "build",
        settings.data.kind,
        grid=settings.grid.value,
        **also,
    )


def data_of_scale(experiment, arm):
    """The training data, where a prior's scale is taken from them."""
    automatic = getattr(EXPERIMENTS[experiment].arms[arm].prior, "scale", None) == "auto"
    return training_data_of(experiment) if automatic else []


def module_of_data(experiment):
    """The module that makes the data of an experiment, of those that are no plugin's."""
    home = f"data.{EXPERIMENTS[experiment].data.kind.replace('-', '_')}"
    return home if f"multilevel_diffusion.{home}" in IMPORTS.modules else "data.sets"


def data_files_of(experiment):
    """The user's own files that the data of an experiment are made from."""
    data = EXPERIMENTS[experiment].data
    if isinstance(data, FieldsDataSettings):
        return data.source if Path(data.source).exists() else data.source.rpartition(":")[0] or data.source
    return getattr(data, "file", None) or []


def default_figures(experiment):
    """Of an experiment that no figure is of: its samples, and its losses along training if it has validation."""
    figures = {"samples": ("fields", f"Samples of {experiment}"), "losses": ("losses", f"Losses of {experiment}")}
    return {
        f"{experiment}-{name}": FigureSettings(draw=draw, experiment=experiment, title=title)
        for name, (draw, title) in figures.items()
        if name == "samples" or EXPERIMENTS[experiment].validation
    }


def arms_of(figure):
    """The arms that a figure shows: those it names, all, or the first where it is of one."""
    arms = tuple(EXPERIMENTS[figure.experiment].arms) if figure.arms is None else figure.arms
    one = figure.drawing.one_arm or (EXPERIMENTS[figure.experiment].mixture and figure.draw == "fields")
    return arms[:1] if one else arms


def fields_of(figure):
    """The files that a figure of fields shows: test sets first, then samples of the first seed."""
    experiment, arms = figure.experiment, arms_of(figure)
    seed = EXPERIMENTS[experiment].seeds[0]
    if figure.epochs:
        samples = [file for arm in arms for file in snapshot_samples_of(experiment, arm, seed, figure.epochs)]
    else:
        samples = [file for arm in arms for file in samples_of(experiment, arm, seed)]
    return data_of(experiment, arms[0] if arms else None), samples


def tables_of(entry, experiment, arms):
    """The tables of the stages that a figure or table is made from."""
    settings, table = EXPERIMENTS[experiment], entry.drawing.table
    if not entry.drawing.one_arm:
        return of_runs(table, experiment, arms)
    section = getattr(settings, entry.drawing.section)
    stems = [f"-{n}" for n in section.resolutions] if table == "convergence" else [""]
    return [
        f"{RESULTS}/{experiment}/{arms[0]}/seed{seed}/{table}/{field}{stem}.csv"
        for field in ("exact", "values")
        for stem in stems
        for seed in settings.seeds[: section.networks]
    ]


def needs_of_figure(figure):
    """What a figure waits for; samples by their folders."""
    if not figure.draw.startswith("fields"):
        return tables_of(figure, figure.experiment, arms_of(figure))
    data, samples = fields_of(figure)
    return (
        data
        + folders_of(samples)
        + (of_runs("history.csv", figure.experiment, arms_of(figure)) if figure.drawing.table else [])
    )


def figure_command(figure):
    """The command of `mld figure` that draws a figure, and its arguments."""
    if not figure.draw.startswith("fields"):
        against = list(figure.against) if figure.draw == "ladders" else []
        return options({"against": against}, figure.draw, *tables_of(figure, figure.experiment, arms_of(figure)))
    data, samples = fields_of(figure)
    histories = of_runs("history.csv", figure.experiment, arms_of(figure)) if figure.drawing.table else []
    return options({"history": histories, "count": figure.count}, "fields", *data, *samples)


def metrics_of(experiments):
    """The tables of metrics of all runs, and those of their score errors."""
    metrics = [file for name in experiments for file in of_runs("metrics.csv", name)]
    metrics += [
        file for name in experiments if EXPERIMENTS[name].truncation for file in of_runs("truncation.csv", name)
    ]
    return metrics, [
        file for name in experiments if EXPERIMENTS[name].score_error for file in of_runs("score_error.csv", name)
    ]


def metrics_command(experiments):
    """The command of `mld table` that gathers the metrics of some experiments."""
    metrics, scores = metrics_of(experiments)
    return options({"scores": scores}, "metrics", *metrics)


def priors_of(table):
    """The frozen settings of all arms on data sets, and their test sets."""
    experiments = [name for name in table.experiments or DATA_SETS if name in DATA_SETS]
    specs = [f"{RESULTS}/{name}/{arm}/spec.json" for name in experiments for arm in EXPERIMENTS[name].arms]
    return specs, [file for name in experiments for file in data_of(name, None)]


def needs_of_table(table):
    """What a table waits for."""
    match table.make:
        case "metrics":
            return sum(metrics_of(table.experiments or EXPERIMENTS), [])
        case "samplers" | "ladders":
            return tables_of(table, table.experiments[0], arms_of_table(table))
        case "priors":
            return sum(priors_of(table), [])
        case "claims":
            return judged_tables()
    return [METRICS]


def table_command(table):
    """The command of `mld table` that makes a table, and its arguments."""
    match table.make:
        case "metrics":
            return metrics_command(table.experiments or EXPERIMENTS)
        case "samplers" | "ladders":
            found = {"baseline": table.baseline} if table.baseline else {}
            return options(found, table.make, *tables_of(table, table.experiments[0], arms_of_table(table)))
        case "priors":
            specs, data = priors_of(table)
            return options({"data": data}, "priors", *specs)
        case "claims":
            return options({"table": [f"{Path(file).stem}={file}" for file in judged_tables()]}, "claims")
    experiments = [name for name in table.experiments or EXPERIMENTS if name in EXPERIMENTS]
    return options({"experiment": experiments}, table.make, METRICS)


def arms_of_table(table):
    """The arms that a table of one experiment is of: the first where it is of one, else all."""
    arms = tuple(EXPERIMENTS[table.experiments[0]].arms)
    return arms[:1] if table.drawing.one_arm else arms


def judged_by():
    """What the verdicts depend on besides the tables."""
    return f"{CONFIG.preset} {CONFIG.claims.model_dump_json()}"


def judged_tables():
    """The tables whose numbers the claims are about."""
    return [
        f"{RESULTS}/tables/{name}.csv"
        for name in dict.fromkeys(claim.quantity.table for _, claim in CONFIG.claims.each)
    ]
