# What the report says about figures and tables: captions in workflow/report/ take it from the settings and results of the run.
import base64
import html
import math
import re
from collections import Counter

from multilevel_diffusion.storage import read_csv, read_facts

CLAIMS = Path(f"{RESULTS}/tables/claims.csv")
CAPTIONS = sorted(map(str, (BASE / "workflow/report").glob("*.rst")))


def in_report(path, category, content, form):
    """`path` as part of the report, with its caption."""
    labels = {"content": content, "form": form}
    return report(path, caption="report/entry.rst", category=category, labels=labels)


def picture(name, figure):
    """The outputs of a job that draws a figure; the numbers it draws lie beside it."""
    stem, about = f"{RESULTS}/figures/{name}", (EXPERIMENTS[figure.experiment].title or figure.experiment, figure.title)
    made = {"svg": in_report(f"{stem}.svg", *about, "picture"), "png": f"{stem}.png"}
    return made | ({"csv": in_report(f"{stem}.csv", *about, "values")} if figure.drawing.numbers else {})


def page(name, table):
    """The outputs of a job that makes a table."""
    stem, about = f"{RESULTS}/tables/{name}", ("Claims" if table.make == "claims" else "Tables", table.title)
    made = {"html": in_report(f"{stem}.html", *about, "table"), "csv": in_report(f"{stem}.csv", *about, "values")}
    return made | {"md": f"{stem}.md"}


def names_of(figure):
    """What a claim is about: {"fig8", "fig9", "table1"} for "figs 8, 9, table 1"."""
    kind, names = "", set()
    for word, number in re.findall(r"([a-z]*?)s?\s*(\d+(?:\.\d+)?)", figure):
        kind = word or kind
        names.add(f"{kind}{number}")
    return names or {figure}


def seen(*names):
    """The verdicts on the claims about some figures and tables: a list in reStructuredText."""
    if not CLAIMS.exists():
        return "The claims of the paper are not judged yet."
    lines = []
    for row in read_csv(CLAIMS).to_dict("records"):
        if names_of(row["figure"]).isdisjoint(names):
            continue
        measured = "not measured in this run"
        if row["seeds"]:
            interval = "" if math.isnan(row["low"]) else " ({low:.3g} to {high:.3g})".format(**row)
            seeds = "seed" if row["seeds"] == 1 else "seeds"
            measured = "measured {value:.3g}{0}, from {reached} of {seeds} {1}".format(interval, seeds, **row)
        tuned = " (trained by other settings than the paper's)" if row["settings"] == "tuned" else ""
        line = "* **{verdict}**{tuned}: {statement}; {measured}; criterion {criterion} for ``{quantity}``."
        lines.append(line.format(measured=measured, tuned=tuned, **row))
    return "\n".join(lines) or "No claim of the paper is judged by this."


def verdicts():
    """How many claims have which verdict, in words."""
    if not CLAIMS.exists():
        return "not judged yet"
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(read_csv(CLAIMS).verdict).most_common())


def made(experiment):
    """How large an experiment is in this run, in words."""
    settings, ladders = EXPERIMENTS[experiment], {}
    for arm in settings.arms:
        levels = [
            f"{level.resolution} ({f'{level.epochs} epochs' if level.epochs else f'{level.steps} steps'}"
            f"{f' of batch {level.batch_size}' if level.batch_size else ''})"
            for level in settings.training_of(arm).ladder
        ]
        ladders.setdefault(", ".join(levels), []).append(arm)
    trained = "; ".join(f"{', '.join(arms)} at {levels}" for levels, arms in ladders.items())
    seeds = f"seed{'s' * (len(settings.seeds) > 1)} {', '.join(map(str, settings.seeds))}"
    epoch = f"{settings.training.steps_per_epoch} steps" if settings.training.steps_per_epoch else "a pass"
    return (
        f"Preset {CONFIG.preset}, {seeds}: trained {trained}, an epoch being {epoch} "
        f"of batch {settings.training.batch_size}; {settings.sampling.samples} samples in {settings.sampling.steps} steps of "
        f"{settings.sampling.sampler}."
    )


def entry(rule):
    """What the caption of a figure or table says."""
    named = {called(name): (name, figure, (figure.experiment,)) for name, figure in FIGURES.items()}
    everywhere = tuple(EXPERIMENTS)
    named |= {
        called(RULE_OF_TABLE[name]): (name, table, table.experiments or everywhere) for name, table in TABLES.items()
    }
    name, found, experiments = named[rule]
    words = [f"{each}: {made(each)}" for each in experiments if each in EXPERIMENTS]
    if section := found.drawing.section:
        words += [
            f"{section.replace('_', ' ')}: {flow(dumped(getattr(EXPERIMENTS[each], section)))[1:-1]}."
            for each in experiments
        ]
    if len(experiments) == 1 and EXPERIMENTS[experiments[0]].paired:
        how = "may have run side by side" if CONFIG.max_threads else "ran one at a time"
        words.append(f"Times count optimisation only, of trainings that {how}.")
    more = (
        f"All numbers are in `{name}.csv`_."
        if found.drawing.numbers
        else "Distances of all samples are in ``tables/metrics.html``."
    )
    return {
        "shows": found.drawing.shows,
        "made": " ".join(words),
        "paper": found.paper,
        "seen": f"{verdicts()}." if name == "claims" else seen(name, *found.claims),
        "more": more,
    }


def gallery():
    """Every figure with its caption, and then every table with its, the claims first: in reStructuredText."""
    judged = sorted(TABLES, key=lambda name: TABLES[name].make != "claims")
    for name, found in [*FIGURES.items(), *((name, TABLES[name]) for name in judged)]:
        figure = name in FIGURES and found is FIGURES[name]
        path = Path(f"{RESULTS}/figures/{name}.png" if figure else f"{RESULTS}/tables/{name}.html")
        if not path.exists():
            continue
        if figure:
            picture = base64.encodebytes(path.read_bytes()).decode()  # in lines, whose length docutils limits
            shown = f'<img src="data:image/png;base64,{picture}" alt="{html.escape(found.title)}">'
        else:
            shown = f'<div class="table">{path.read_text().partition("</style>")[2]}</div>'
        yield found.title, shown, entry(called(name if figure else RULE_OF_TABLE[name]))


def config_option():
    """What the command line changed, as Snakemake's own options."""
    files = workflow.config_settings.configfiles
    changed = [f"{key}={value if isinstance(value, str) else flow(value)}" for key, value in COMMAND_LINE.items()]
    words = [*(["--configfile", *map(str, files)] if files else []), *(["--config", *changed] if changed else [])]
    return f" {shlex.join(words)}" if words else ""


def command(target=""):
    """What to type for a target of this run."""
    return f"snakemake {target}{' ' * bool(target)}--cores all{config_option()}"


def origin():
    """What made the table of all metrics, in words."""
    table = Path(f"{RESULTS}/tables/metrics.csv")
    if not table.exists():
        return "metrics not measured yet"
    facts = read_facts(table)
    return f"commit {facts['commit']}, Python {facts['python']}, PyTorch {facts['torch']}"


def last_screen():
    """Where the results lie, of those that are made."""
    places = {"figures": "figures", "tables": "tables", "claims": "tables/claims.md", "report": "report.html"}
    more = {"claims": f": {verdicts()}"}
    there = {name: path for name, path in places.items() if Path(RESULTS, path).exists()}
    lines = [f"{name:8} {RESULTS}/{path}{more.get(name, '')}" for name, path in there.items()]
    logs = sorted(Path(RESULTS, "logs").glob("**/train.log"))
    said = {line for log in logs for line in log.read_text().splitlines() if line.startswith("mld: ")}
    return "\n".join([*sorted(said), *lines])


# all that a caption sees of a run besides its own job
about = {"preset": CONFIG.preset} | {each.__name__: each for each in (entry, verdicts, command, origin, gallery)}
config = {**config, "about": about}  # not the settings of a workflow that uses this as a module
