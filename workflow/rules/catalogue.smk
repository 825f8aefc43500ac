# A job for every figure and table of the catalogue, and for the metrics of every experiment.
from multilevel_diffusion.settings import TableSettings

JOBS["compare"] = Job(
    "Compare the metrics with the reference run of this preset",
    "compare {input.reference} {input.metrics} --output {output.table}",
    place="tables/compare",
    local=True,
    code=code("tables"),
    input={"reference": beside(f"results/reference/{CONFIG.preset}/tables/metrics.csv"), "metrics": METRICS},
    output={"table": f"{RESULTS}/tables/compare.csv"},
)
# What a training step costs as the work grows: minutes in which nothing else may run, so not part of `all`.
JOBS["cost_scaling"] = Job(
    "Time and memory of a training step against resolution, batch and width",
    "bench scaling --output {output.table}",
    place="cost/scaling",
    code=code("bench.costs"),
    output={"table": f"{RESULTS}/cost/scaling.csv"},
    threads=all_cores,
)
JOBS["cost"] = Job(
    "Figure cost: time and memory of a training step as the work grows",
    "figure cost {input.table} --output {output.svg}",
    place="figures/cost",
    local=True,
    code=code("figures"),
    input={"table": f"{RESULTS}/cost/scaling.csv"},
    output=files("figures/cost", "svg", "png", "csv"),
)


FIGURES, TABLES = CONFIG.drawn, CONFIG.made
STAMP = f" --stamp {shlex.quote(CONFIG.stamp)}" if CONFIG.stamp else ""
RULE_OF_TABLE = {name: f"{name}_table" if name in FIGURES else name for name in TABLES}


def tables_of(entry, experiment, arms):
    """The tables of the stages that a figure or table is made from."""
    settings, table = EXPERIMENTS[experiment], entry.drawing.table
    if not entry.drawing.one_arm:
        return of_runs(table, experiment, arms)
    section = getattr(settings, entry.drawing.section)
    stems = [f"-{n}" for n in section.resolutions] if table in ("convergence", "conditioning") else [""]
    return [
        f"{RESULTS}/{experiment}/{arms[0]}/seed{seed}/{table}/{field}{stem}.csv"
        for field in (("exact", "values") if settings.mixture else ("values",))
        for stem in stems
        for seed in settings.seeds[: section.networks]
    ]


def figure_job(name, figure):
    """A figure; of fields the test sets and samples of the first seed, of which a job waits for the folders."""
    experiment, settings = figure.experiment, EXPERIMENTS[figure.experiment]
    arms = tuple(settings.arms) if figure.arms is None else figure.arms
    of_fields = figure.draw.startswith("fields")
    if figure.drawing.one_arm:
        arms = arms[:1]
    if settings.mixture and of_fields:  # test sets and the exact score belong to a prior
        arms = tuple(arm for arm in arms if settings.arms[arm].prior == settings.arms[arms[0]].prior)
    tables = tables_of(figure, experiment, arms) if figure.drawing.table else []
    if of_fields:
        samples = [
            file
            for arm in arms
            for file in samples_of(experiment, arm, settings.seeds[0], figure.epochs)
            if arm == arms[0] or Path(file).parent.name != "exact"
        ]
        data = data_of(experiment, arms[0] if arms else None)
        metrics = of_runs("metrics.csv", experiment, arms, settings.seeds[:1]) if arms and not figure.epochs else []
        needs = data + folders_of(samples) + tables + metrics
        how = {"history": tables, "metrics": metrics, "count": figure.count}
        if figure.epochs and settings.metrics:  # no table has distances of snapshots
            how["projections"] = settings.metrics.projections
        what = options(how, "fields", *data, *samples)
    elif figure.draw == "posterior":
        first = settings.conditioning.resolutions[0]
        tables = [
            file
            for file in tables
            if Path(file).parents[1].name == f"seed{settings.seeds[0]}" and file.endswith(f"-{first}.csv")
        ]
        needs = [str(Path(file).with_suffix(".safetensors")) for file in tables]
        what = options({}, figure.draw, *needs)
    else:
        needs = tables
        what = options({"against": list(figure.against)} if figure.draw == "ladders" else {}, figure.draw, *tables)
    return Job(
        f"{name}: {figure.title}",
        "figure {params.what} --output {output.svg}",
        place=f"figures/{name}",
        local=True,
        code=code("figures", *["stages.evaluate"] * bool(figure.draw == "fields" and figure.epochs)),
        input={"files": needs},
        output=picture(name, figure),
        params={"what": what + STAMP},
    )


def metrics_of(experiments):
    """The tables of metrics of all runs, the tables of their score errors, and the histories of runs that have validation."""

    def found(file, section):
        return [path for name in experiments if getattr(EXPERIMENTS[name], section) for path in of_runs(file, name)]

    scores, histories = found("score_error.csv", "score_error"), found("history.csv", "validation")
    return found("metrics.csv", "metrics") + found("truncation.csv", "truncation"), scores, histories


def needs_and_command(table):
    """What a table waits for, and the arguments of `mld table` that makes it."""
    experiments = [name for name in table.experiments or EXPERIMENTS if name in EXPERIMENTS]
    match table.make:
        case "metrics":
            metrics, scores, histories = metrics_of(experiments)
            also = {"scores": scores, "history": histories}
            return metrics + scores + histories, options(also, "metrics", *metrics)
        case "samplers" | "ladders" | "posterior":
            arms = table.arms or tuple(EXPERIMENTS[experiments[0]].arms)
            tables = tables_of(table, experiments[0], arms[:1] if table.drawing.one_arm else arms)
            return tables, options({"baseline": table.baseline or []}, table.make, *tables)
        case "priors":
            experiments = [name for name in experiments if name in DATA_SETS]
            specs = [f"{RESULTS}/{name}/{arm}/spec.json" for name in experiments for arm in EXPERIMENTS[name].arms]
            data = [file for name in experiments for file in data_of(name, None)]
            return specs + data, options({"data": data}, "priors", *specs)
        case "power":
            return [METRICS], options({"enough": CONFIG.claims.power} if CONFIG.claims else {}, "power", METRICS)
        case "claims":
            criteria = [each for _, claim in CONFIG.claims.each for each in claim.criteria.values()]
            of_claims = [criterion.quantity.table for criterion in criteria]
            tables = {name: f"{RESULTS}/tables/{name}.csv" for name in (*of_claims, "power") if name in TABLES}
            return list(tables.values()), options({"table": tables}, "claims")
    return [METRICS], options({"experiment": experiments}, table.make, METRICS)


def table_job(name, table, output):
    """A table of the catalogue, or of one experiment's metrics."""
    needs, what = needs_and_command(table)
    params = {"what": what, "config": ""}
    if table.make == "claims":
        params["claims"] = lambda wildcards: f"{CONFIG.preset} {CONFIG.claims.model_dump_json()}"
        # not recorded: other overrides must not judge anew
        params["config"] = lambda wildcards, output: config_of_commands()
    return Job(
        f"Table {name}: {table.title}",
        "table {params.what} {params.config} --output {output.csv}",
        place=f"tables/{name}",
        local=True,
        code=code(*["builders"] * (table.make == "priors"), "tables"),
        input={"files": needs},
        output=output,
        params=params,
    )


MADE = {name: figure_job(name, figure) for name, figure in FIGURES.items()}
MADE |= {RULE_OF_TABLE[name]: table_job(name, table, page(name, table)) for name, table in TABLES.items()}
for NAME in EXPERIMENTS:
    TABLE = TableSettings(make="metrics", experiments=(NAME,), title=f"metrics of {NAME}")
    JOBS[f"metrics_{NAME}"] = table_job(f"{NAME}-metrics", TABLE, files(f"tables/{NAME}-metrics", "csv", "md", "html"))
NAMES = [*MADE, *EXPERIMENTS, *CONFIG.broken]
TAKEN = [
    *JOBS,
    *(f"{name}-metrics" for name in EXPERIMENTS),
    "report",
    "all",
    "logs",
    "benchmarks",
    "figures",
    "tables",
]
for NAME in NAMES:
    if NAME in TAKEN or NAMES.count(NAME) > 1:
        sys.exit(f"config: {NAME}: something else in the workflow has this name; choose another")

JOBS |= MADE
