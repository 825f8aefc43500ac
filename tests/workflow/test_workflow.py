"""The whole workflow at preset `smoke`, in a copy, run once; then what it would do again after a change."""

import base64
import contextlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
import pandas as pd
import psutil
import pytest
import torch
from PIL import Image

from multilevel_diffusion.columns import COLUMNS
from multilevel_diffusion.settings import load_config
from multilevel_diffusion.storage import read_csv, read_facts, read_tensors, write_csv

ARM = Path("results/smoke/mixture/fno-combined")
ROOT = Path(__file__).parents[2]
CONFIG = load_config([ROOT / "config.yaml"], {"preset": "smoke"}, ROOT / "workflow" / "presets")
FIELDS = tuple(name for name, figure in CONFIG.figures.items() if not figure.drawing.numbers)
FIGURES = tuple(CONFIG.figures)
TABLE_FILES = tuple(CONFIG.tables)
RULES_OF_TABLES = tuple(f"{name}_table" if name in FIGURES else name for name in TABLE_FILES)
ALL = {
    "resolve": 14,
    "resolve_target": 1,
    "mixture_data": 3,
    "gaussian_law": 6,  # one a data set and prior
    "train": 14,
    "score_error": 1,
    "sample": 14,
    "sample_snapshot": 4,
    "sample_exact": 1,
    "convergence_values": 4,
    "convergence_exact": 2,
    "log_density_values": 1,
    "condition_values": 1,
    "log_density_exact": 1,
    "truncation": 1,
    "classifier": 1,  # one a data set
    "evaluate": 14,
    "data_mnist": 1,
    "along_training": 4,
    "data_reaction-diffusion": 1,
    "test_sets": 4,
    **dict.fromkeys([*FIGURES, *RULES_OF_TABLES, "report"], 1),
}
EXACT = ("sample_exact", "convergence_exact", "log_density_exact", "truncation")
PLACES_OF_WORK = ("config.yaml", "workflow", "envs", "src", "tests/mnist")


def only(*rules):
    return {rule: ALL[rule] for rule in rules}


@dataclass
class Workflow:
    folder: Path
    said: str = ""

    def command(self, *options, experiments=None, files=(), **mixture):
        """A run of preset smoke with other settings of experiments, those of the mixture as keywords."""
        experiments = (experiments or {}) | ({"mixture": mixture} if mixture else {})
        config = ["preset=smoke", *([f"experiments={json.dumps(experiments)}"] if experiments else [])]
        options = [*options, *(["--configfile", *files] if files else [])]
        snakemake = [sys.executable, "-m", "snakemake", "--cores", "2"]
        return {
            "args": [*snakemake, *map(str, options), "--config", *config],
            "cwd": self.folder,
            "env": os.environ
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": f"{self.folder / 'src'}"},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def run(self, *options, **mixture):
        return subprocess.run(**self.command(*options, **mixture))

    def plan(self, **mixture):
        """How many jobs of each rule a run would start; whatever changes, the report is made again."""
        dry = self.run("--dry-run", **mixture)
        assert dry.returncode == 0, dry.stdout
        if "Nothing to be done" in dry.stdout:
            return {}
        table = dry.stdout.split("Job stats:")[1].strip().split("\n\n")[0]
        counts = {rule: int(count) for rule, count in re.findall(r"^([\w/-]+) +(\d+)$", table, re.MULTILINE)}
        counts.pop("-" * 3, None)
        assert counts.pop("total") == sum(counts.values())
        assert counts.pop("report") == 1
        return {rule: count for rule, count in counts.items() if rule != "all"}

    @contextlib.contextmanager
    def edited(self, module, old, new):
        """The package with every `old` in the source of one module replaced."""
        path = self.folder / "src" / "multilevel_diffusion" / module
        source = path.read_text()
        assert old in source
        path.write_text(source.replace(old, new))
        try:
            yield
        finally:
            path.write_text(source)


@pytest.fixture(scope="session")
def workflow(root, tmp_path_factory):
    """A finished run."""
    made = Workflow(tmp_path_factory.mktemp("workflow"))
    for name in PLACES_OF_WORK:
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (made.folder / name).parent.mkdir(exist_ok=True)
        copy(source, made.folder / name)
    done = made.run()
    assert done.returncode == 0, done.stdout
    made.said = done.stdout
    return made


@pytest.fixture
def copied(workflow, tmp_path):
    """The finished run in a folder where it may be spoilt."""
    shutil.copytree(workflow.folder, tmp_path / "copy", symlinks=True)
    return Workflow(tmp_path / "copy")


@pytest.mark.parametrize(
    "output",
    [f"figures/{figure}.{suffix}" for figure in FIGURES for suffix in ("svg", "png")]
    + [f"figures/{figure}.csv" for figure in FIGURES if figure not in FIELDS]
    + [f"tables/{table}.{suffix}" for table in TABLE_FILES for suffix in ("csv", "md", "html")],
)
def test_every_figure_and_table_is_made(workflow, output):
    assert (workflow.folder / "results" / "smoke" / output).stat().st_size > 300


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_not_blank(workflow, figure):
    pixels = matplotlib.image.imread(workflow.folder / f"results/smoke/figures/{figure}.png")[..., :3]
    assert min(pixels.shape[:2]) > 150
    assert (pixels != pixels[0, 0]).any(axis=-1).mean() > 0.05


@pytest.fixture
def metrics(workflow):
    return read_csv(workflow.folder / "results/smoke/tables/metrics.csv")


def test_the_metrics_are_tidy_and_each_has_its_floor(metrics):
    assert list(metrics.columns) == COLUMNS
    assert metrics[["value", "seed", "resolution"]].notna().all(axis=None)
    skill = metrics.metric == "skill"  # of one training on validation fields: no samples, no standard error
    tests = metrics.metric.str.endswith("p_value")
    assert (metrics.n_samples.isna() == skill).all()
    assert (metrics.stderr.isna() == skill | tests).all()
    for name in ("floor", "floor_stderr"):
        assert (metrics[name].isna() == tests).all()
    assert (metrics.scale.isna() == (metrics.metric == "truncation_error")).all()
    assert (metrics.floor_sets.dropna() >= 8).all()
    keys = ["experiment", "arm", "network", "prior", "gain", "seed", "sampler", "resolution", "metric"]
    assert not metrics.duplicated(keys).any()


def test_every_metric_is_there_for_every_field_and_resolution(metrics):
    assert set(metrics.experiment) == {"mixture", "mnist", "warm-start", "reaction-diffusion"}
    metrics = metrics[metrics.experiment == "mixture"]
    fields = metrics[metrics.metric == "sliced_wasserstein"].fillna({"gain": "-"})
    assert Counter(zip(fields.network, fields.gain, fields.resolution, strict=True)) == Counter(
        [("exact", "-", n) for n in (32, 50, 64)]
        + [("fno", "values", n) for n in (32, 50, 64)]
        + [("fno", "coefficients", n) for n in (50, 64)]
    )
    sampled = metrics[~metrics.metric.isin({"relative_score_error", "truncation_error", "truncation_rate", "skill"})]
    assert set(sampled.groupby("metric").size()) == {len(fields)}
    assert {"sliced_wasserstein", "moment_sliced_wasserstein", "spectrum_distance", "relative_score_error"} <= set(
        metrics.metric
    )


def test_the_table_to_read_has_every_metric(workflow, metrics):
    text = (workflow.folder / "results/smoke/tables/metrics.md").read_text()
    for metric in metrics.metric.unique():
        assert f"### {metric}\n" in text


def test_tables_to_read_have_short_lines_and_no_nan(workflow):
    made = [*workflow.folder.glob("results/smoke/tables/*.md")]
    assert len(made) >= 8
    for path in made:
        text = path.read_text()
        assert max(map(len, text.splitlines())) <= 160, path
        assert not re.search(r"\bnan\b", text, re.IGNORECASE), path


def test_table_1_has_every_arm_of_the_digits_and_of_the_reaction_diffusion_system(workflow):
    table = read_csv(workflow.folder / "results/smoke/tables/table1.csv")
    learned = table[table.network == "fno"].groupby("experiment").prior.agg(set).to_dict()
    assert learned == {"mnist": {"combined"}, "reaction-diffusion": {"laplacian", "combined"}}
    assert table["32"].str.match(r"\d").sum() == 4 + 3


def test_the_table_of_priors_has_every_arm_on_every_grid(workflow):
    table = read_csv(workflow.folder / "results/smoke/tables/priors.csv")
    assert Counter(table.experiment) == {"mnist": 8, "reaction-diffusion": 6}
    in_kernel = table.groupby("prior").power_in_kernel.max()
    assert in_kernel["laplacian"] > 0.01  # the mean
    assert in_kernel[["standard", "combined"]].max() < 1e-12


def test_the_data_of_figure_1_are_the_score_errors(workflow):
    drawn = read_csv(workflow.folder / "results/smoke/figures/fig1.csv")
    measured = read_csv(workflow.folder / ARM / "seed1/score_error.csv")
    pd.testing.assert_frame_equal(drawn, measured)
    assert set(drawn.epoch) == {1, 2, 3}


def test_every_log_is_without_complaint(workflow):
    logs = list((workflow.folder / "results/smoke/logs").rglob("*.log"))
    assert len(logs) == sum(ALL.values())
    for log in logs:
        assert not re.search("error|warning|traceback", log.read_text().replace("score error", ""), re.IGNORECASE), log


def captions_in(report):
    """Path of each figure and table of a report to its caption, as text."""
    page = report.read_text()
    results = json.loads(re.search(r"var results = (\{.*\});\n", page.split('<script id="results">')[1])[1])
    return {
        path: " ".join(html.unescape(re.sub("<[^>]*>", "", entry["caption"])).split())
        for path, entry in results.items()
    }


PARTS = ("What it shows.", "How it was made.", "Command.", "What the paper says.", "What we see.")


def test_the_report_holds_every_figure_and_table_with_its_caption(workflow):
    captions = captions_in(workflow.folder / "results/smoke/report.html")
    drawn = {f"figures/{figure}.svg" for figure in FIGURES}
    numbers = {f"figures/{figure}.csv" for figure in FIGURES if figure not in FIELDS}
    tables = {f"tables/{table}.{suffix}" for table in TABLE_FILES for suffix in ("html", "csv")}
    assert captions.keys() == {f"results/smoke/{path}" for path in drawn | numbers | tables}
    for path, caption in captions.items():
        found = re.fullmatch("".join(f"{re.escape(part)} (.{{5,}}) ?" for part in PARTS), caption)
        assert found, path
        rule = f"{Path(path).stem}_table" if "/tables/samplers" in path else Path(path).stem
        assert found[3].strip() == f"snakemake {rule} --cores all --config preset=smoke"
        assert "Docutils" not in caption


def test_every_figure_of_preset_smoke_says_that_it_means_nothing(workflow):
    for figure in set(FIGURES) - set(FIELDS):
        facts = read_facts(workflow.folder / f"results/smoke/figures/{figure}.csv")
        assert "--stamp 'smoke: meaningless'" in facts["command"]


def test_the_report_opens_on_all_figures_with_captions_and_then_all_tables_those_of_claims_first(workflow):
    page = (workflow.folder / "results/smoke/report.html").read_text()
    description = json.loads(
        re.search(r"var workflow_desc = (\".*\");\n", page.split('<script id="workflow-desc">')[1])[1]
    )
    shown = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">|<div class="(table)">', description)
    titles = [html.escape(figure.title) for figure in CONFIG.figures.values()]
    assert [title for _, title, _ in shown] == [*titles, *[""] * len(TABLE_FILES)]
    for (picture, *_), name in zip(shown, FIGURES, strict=False):
        assert base64.b64decode(picture) == (workflow.folder / f"results/smoke/figures/{name}.png").read_bytes()
    assert len(re.findall("What we see", description)) == len(shown)
    assert "System Message" not in description


def test_the_report_works_offline_and_has_the_graph_and_the_run_times(workflow):
    page = (workflow.folder / "results/smoke/report.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]* (src|href)=.?http", page)
    for specification in ("rulegraph", "runtimes"):
        for rule in ALL.keys() - {"report"}:
            assert f'"rule": "{rule}"' in page.split(f'<script id="{specification}">')[1].split("</script>")[0]


def test_captions_say_what_the_claims_say(copied):
    table = copied.folder / "results/smoke/tables/claims.csv"
    verdicts = ["reproduced", "not reproduced", "undecided", "cannot be told by this metric"]
    claims = read_csv(table).assign(value=1.125, low=1.0625, high=1.25, seeds=3, reached=3)
    claims["verdict"] = [verdicts[i % 4] for i in range(len(claims))]
    write_csv(table, claims, {})
    again = copied.run("report", "--forcerun", "report")
    assert again.returncode == 0, again.stdout
    captions = captions_in(copied.folder / "results/smoke/report.html")
    shown = {"fig1": ["fig1"], "fig3": ["fig3"], "figs 8, 9, table 1": ["fig8", "fig9"], "theorem 3.4": ["fig10"]}
    assert shown.keys() <= set(claims.figure)
    for claim in claims.itertuples():
        said = (
            claim.verdict + {"tuned": r" \(trained by other settings than the paper.s\)", "paper": ""}[claim.settings]
        )
        line = rf"(?<!not ){said}: {re.escape(claim.statement)}; measured 1.12 \(1.06 to 1.25\), from 3 of 3 seeds"
        for figure in shown.get(claim.figure, ()):
            assert re.search(line, captions[f"results/smoke/figures/{figure}.svg"]), (claim.claim, figure)
        assert not re.search(line, captions["results/smoke/figures/log_density.svg"])
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(claims.verdict).most_common())
    assert counts in captions["results/smoke/tables/claims.html"]
    assert counts in (copied.folder / "results/smoke/report.html").read_text().split('<script id="workflow-desc">')[1]
    assert f"claims   results/smoke/tables/claims.md: {counts}" in again.stdout


def test_the_last_screen_says_where_the_results_lie(workflow):
    screen = workflow.said.split("100%) done\n")[-1]
    places = dict(re.findall(r"^(\w+) +(results/smoke/[\w/.]+)", screen, re.MULTILINE))
    assert list(places) == ["figures", "tables", "claims", "report"]
    assert all((workflow.folder / place).exists() for place in places.values())


def facts_of(path):
    """The provenance in a file."""
    match path.suffix:
        case ".safetensors":
            return read_tensors(path)[1]["provenance"]
        case ".csv":
            return read_facts(path)
        case ".md" | ".html":
            return json.loads(path.read_text().split("<!-- ")[1].split(" -->")[0])
        case ".png":
            return json.loads(Image.open(path).text["Description"])
        case ".svg":
            return json.loads(html.unescape(re.search("<dc:description>(.*)</dc:description>", path.read_text())[1]))


@pytest.mark.parametrize("suffix", ["safetensors", "csv", "md", "html", "png", "svg"])
def test_every_file_says_what_made_it(workflow, suffix):
    made = [path for path in workflow.folder.glob(f"results/smoke/**/*.{suffix}") if path.name != "report.html"]
    assert made
    for path in made:
        needed = {"version", "commit", "python", "torch", "numpy"}
        if suffix not in ("png", "svg"):  # equal pictures are equal files, whenever and wherever they are drawn
            needed |= {"command", "device", "seconds"}
        if suffix == "csv" and path.name in ("history.csv", "score_error.csv", "along_training.csv"):
            needed |= {"settings", "seed"}
        if suffix == "safetensors":
            assert {"spec", "target"} & read_tensors(path)[1].keys(), path
        assert needed <= facts_of(path).keys(), path


def test_claims_are_judged_with_the_power_of_metrics_that_is_asked_for(workflow):
    tables = workflow.folder / "results/smoke/tables"
    assert "--table power=results/smoke/tables/power.csv" in facts_of(tables / "claims.csv")["command"]
    assert "--enough 5.0" in facts_of(tables / "power.csv")["command"]
    power = read_csv(tables / "claims.csv").power
    assert (power.dropna() != 0).any()


def test_a_second_run_does_nothing(workflow):
    again = workflow.run()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


MEASURED = ("fig10", "fig2", "fig3", "fig8", "gaussian", "gaussian_pde")
"""Figures that have distances above their fields."""
TABLES = only("metrics", "table1", "transfer", "power", "claims")
CONVERGENCE = {"convergence_values": 2} | only("convergence_exact", "samplers", "samplers_table", "claims")
EVERY_CONVERGENCE = only("convergence_values")
CONVERGENCE_OF_DIGITS = {"convergence_values": 2} | only("samplers_digits", "samplers_digits_table")
MIXTURE_TRAINED = {"train": 1, "sample": 1, "evaluate": 1} | TABLES
MIXTURE_TRAINED |= {"convergence_values": 2} | only("score_error", "log_density_values")
MIXTURE_TRAINED |= only("fig1", "fig10", "samplers", "samplers_table", "log_density")
LADDERS_TRAINED = {"train": 6, "sample": 6, "evaluate": 6} | only("sample_snapshot", "ladders") | TABLES
LADDERS_TRAINED |= only("fig5", "fig5_gain", "fig5_tradeoff", "fig6")
MNIST_TRAINED = {"train": 4, "sample": 4, "evaluate": 4} | TABLES | CONVERGENCE_OF_DIGITS
MNIST_TRAINED |= only("along_training", "fig2", "fig3", "fig4", "skill", "gaussian")
MNIST_TRAINED |= only("condition_values", "posterior_digits", "conditioning_digits")
PDE_TRAINED = {"train": 3, "sample": 3, "evaluate": 3} | only("fig8", "fig9", "skill_pde", "gaussian_pde") | TABLES


@pytest.mark.parametrize(
    ("changed", "rerun"),
    [
        (
            {"sampling": {"steps": 5}},
            {"sample": 1, "evaluate": 1} | only("sample_exact", "fig10") | TABLES,
        ),
        ({"convergence": {"evaluations": [3]}}, CONVERGENCE),
        ({"log_density": {"steps": 3}}, only("log_density_values", "log_density_exact", "log_density")),
        ({"truncation": {"steps": 3}}, only("truncation") | TABLES),
        ({"score_error": {"batches": 2}}, only("score_error", "fig1") | TABLES),
        ({"metrics": {"projections": 21}}, {"evaluate": 1} | only("fig10") | TABLES | CONVERGENCE),
        ({"training": {"learning_rate": 0.001}}, {"resolve": 1, "gaussian_law": 1} | MIXTURE_TRAINED),
        (
            {"prior_seed": 2},
            {"resolve": 1, "gaussian_law": 1} | only("resolve_target", "mixture_data", *EXACT) | MIXTURE_TRAINED,
        ),
        ({"training": {"learning_rate": 0.0006}}, {}),
        (
            {"experiments": {"reaction-diffusion": {"data": {"steps": 9}}}},
            {"test_sets": 2, "gaussian_law": 2} | only("data_reaction-diffusion", "fig7", "priors") | PDE_TRAINED,
        ),
        (
            {"experiments": {"reaction-diffusion": {"validation": {"draws": 2}}}},
            {"resolve": 3, "gaussian_law": 2} | only("priors") | PDE_TRAINED,
        ),
        (
            {"experiments": {"reaction-diffusion": {"sampling": {"steps": 3}}}},
            {"sample": 2, "evaluate": 2} | only("fig8", "gaussian_pde") | TABLES,
        ),
        (
            {"experiments": {"mnist": {"data": {"train": 17}}}},
            LADDERS_TRAINED
            | MNIST_TRAINED
            | {"test_sets": 2, "gaussian_law": 3, "train": 10, "sample": 10, "evaluate": 10}
            | only("data_mnist", "priors"),
        ),
        ({"experiments": {"warm-start": {"arms": {"warm": {"gain": "values"}}}}}, {}),
        (
            {"experiments": {"warm-start": {"arms": {"equal-16-32-64": {"gain": "coefficients"}}}}},
            {"resolve": 1, "train": 1, "sample": 1, "evaluate": 1} | only("fig5_tradeoff", "ladders") | TABLES,
        ),
        ({"experiments": {"mnist": {"along_training": {"steps": 3}}}}, only("along_training", "fig4")),
        (
            {"experiments": {"mnist": {"training": {"weight_decay": 0.0}}}},
            {"resolve": 3, "gaussian_law": 2} | only("priors") | MNIST_TRAINED,
        ),
    ],
    ids=[
        *("sampling-steps", "evaluations", "flow-steps", "truncation", "score-error-batches", "projections"),
        *("learning-rate", "prior", "same-learning-rate", "pde-steps", "pde-validation", "pde-sampling"),
        *("mnist-data", "the-gain-it-has", "gain-of-an-arm", "mnist-along-training", "mnist-training"),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(workflow, changed, rerun):
    assert workflow.plan(**changed) == rerun


@pytest.mark.parametrize(
    ("module", "old", "new", "rerun"),
    [
        ("figures/style.py", "PAPER_WIDTH", "WIDTH_OF_PAPER", only(*FIGURES)),
        ("likelihood.py", "velocity", "speed", only("log_density_values", "log_density_exact", "log_density")),
        (
            "metrics/base.py",
            "CHUNK = 100",
            "CHUNK = 50",
            only("evaluate", "along_training", "fig4", "fig6", *MEASURED)
            | TABLES
            | CONVERGENCE
            | CONVERGENCE_OF_DIGITS
            | EVERY_CONVERGENCE,
        ),
        (
            "training.py",
            "CHUNK = 128",
            "CHUNK = 64",
            MIXTURE_TRAINED
            | MNIST_TRAINED
            | LADDERS_TRAINED
            | PDE_TRAINED
            | EVERY_CONVERGENCE
            | only("train", "sample", "evaluate"),
        ),
        (
            "data/reaction_diffusion.py",
            "LOADED = 256",
            "LOADED = 128",
            {"test_sets": 2, "gaussian_law": 2} | only("data_reaction-diffusion", "fig7", "priors") | PDE_TRAINED,
        ),
        ("training.py", "from __future__", "# a comment\n\nfrom __future__", {}),
        ("training.py", "Denoising score matching up", "Score matching up", {}),
    ],
    ids=["figures", "likelihood", "metrics", "training", "solver", "comment", "docstring"],
)
def test_changed_code_reruns_the_commands_that_reach_it(workflow, module, old, new, rerun):
    with workflow.edited(module, old, new):
        assert workflow.plan() == rerun


def test_what_builds_a_prior_is_made_again_when_the_builders_change(workflow):
    with workflow.edited("builders.py", "LOOKED_AT = 2000", "LOOKED_AT = 1000"):
        assert workflow.plan().items() >= only("mixture_data", "train", "priors").items()


def test_deleted_samples_are_made_again_with_what_they_go_into(workflow, tmp_path):
    samples = workflow.folder / ARM / "seed1/samples"
    kept = samples.rename(tmp_path / samples.name)
    plan = workflow.plan()
    kept.rename(samples)
    assert plan == {"sample": 1, "evaluate": 1} | only("fig10") | TABLES


def test_figures_and_tables_are_targets_by_name(workflow):
    listed = workflow.run("--list-target-rules").stdout.split()
    assert {
        "all",
        *FIGURES,
        "samplers_table",
        "metrics",
        "table1",
        "transfer",
        "priors",
        "ladders",
        "claims",
        "compare",
        "cost",
    } <= set(listed)


def test_a_run_is_compared_with_the_reference_of_its_preset(copied):
    tables, reference = (copied.folder / "results" / name / "tables" for name in ("smoke", "reference/smoke"))
    reference.mkdir(parents=True)
    moved = read_csv(tables / "metrics.csv")
    write_csv(reference / "metrics.csv", moved, {})
    agreed = copied.run("compare")
    assert agreed.returncode == 0, agreed.stdout
    assert (read_csv(tables / "compare.csv").sigmas == 0).all()
    write_csv(reference / "metrics.csv", moved.assign(value=moved.value + 100 * (moved.stderr + 1)), {})
    assert copied.run("compare").returncode != 0


@pytest.mark.parametrize(
    ("target", "changed", "line"),
    [
        ("all", {"trainig": {}}, "config: experiments.mixture: unknown key 'trainig'; did you mean 'training'?"),
        (
            "results/smoke/reaction-diffusion/fno-fno/seed1/metrics.csv",
            {"experiments": {"reaction-diffusion": {"data": {"end_time": -1}}}},
            "config: experiments.reaction-diffusion.data.end_time: Input should be greater than 0, got",
        ),
        (
            "results/smoke/figures/fig1.svg",
            {"sampling": {"steps": 0}},
            "config: experiments.mixture.sampling.steps: Input should be greater than or equal to 1, got",
        ),
    ],
)
def test_a_bad_setting_stops_the_run_before_any_job_with_one_line(workflow, target, changed, line):
    stopped = workflow.run(target, "--forceall", **changed)
    assert stopped.returncode != 0
    assert sum(said.startswith(line) for said in stopped.stdout.splitlines()) == 1
    assert "Traceback" not in stopped.stdout
    assert "Job stats" not in stopped.stdout


def test_a_truncated_file_stops_the_run_with_one_line_that_names_it(copied):
    samples = ARM / "seed1/samples/values-50.safetensors"
    os.truncate(copied.folder / samples, 1000)
    stopped = copied.run(ARM / "seed1/metrics.csv", "--forcerun", "evaluate")
    assert stopped.returncode != 0
    log = (copied.folder / "results/smoke/logs/mixture/fno-combined/seed1/evaluate.log").read_text()
    assert log.startswith(f"mld: {samples}: truncated")
    assert log.count("\n") == 1
    assert log in stopped.stdout
    assert not (copied.folder / ARM / "seed1/metrics.csv").exists()


def test_a_training_job_that_is_killed_and_run_again_ends_with_the_same_model(copied, mld_process, tmp_path):
    seed = copied.folder / ARM / "seed1"
    model, seen = ARM / "seed1/model.safetensors", "checkpoint/train/*/snapshots/epoch_0003.safetensors"
    longer = {"training": {"ladder": [{"resolution": 16, "epochs": 40}]}}

    with subprocess.Popen(**copied.command(model, **longer)) as running:
        while not [*seed.glob(seen)]:
            assert running.poll() is None
            time.sleep(0.005)
        for process in psutil.Process(running.pid).children(recursive=True):
            if "train" in process.cmdline() and "--seed" in process.cmdline():
                process.send_signal(signal.SIGKILL)
        running.communicate()
    assert running.returncode != 0
    assert not (copied.folder / model).exists()

    again = copied.run(model, **longer)
    assert again.returncode == 0, again.stdout
    assert mld_process("train", seed.parent / "spec.json", "--seed", 1, "-o", tmp_path / "whole").code == 0
    rerun, whole = (read_tensors(folder / "model.safetensors")[0] for folder in (seed, tmp_path / "whole"))
    assert rerun.keys() == whole.keys()
    assert all(torch.equal(rerun[key], whole[key]) for key in rerun)
