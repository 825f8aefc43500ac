import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from multilevel_diffusion import __version__, metrics, training
from multilevel_diffusion.builders import build_prior
from multilevel_diffusion.cli.figure import measured
from multilevel_diffusion.columns import COLUMNS
from multilevel_diffusion.grids import Torus, restrict
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.models import read_target
from multilevel_diffusion.sample import Ancestral, DPMSolver, Heun, PredictorCorrector, time_grid
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import TimeGrid
from multilevel_diffusion.stages import train as stage
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_csv, write_tensors


@pytest.fixture
def spec_of(tmp_path):
    def write(settings):
        path = tmp_path / "written-spec.json"
        path.write_text(json.dumps(settings))
        return path

    return write


def everything_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def test_help_answers_without_importing_what_computes():
    code = "import sys, multilevel_diffusion.cli; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'typer'" in loaded
    for module in ("torch", "numpy", "pandas", "matplotlib", "ot", "neuralop"):
        assert f"'{module}'" not in loaded


def test_tables_are_made_without_importing_what_trains_draws_or_fits():
    code = "import sys, multilevel_diffusion.tables; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "scipy.special" in loaded
    assert not {"torch", "matplotlib", "ot", "neuralop", "scipy.stats"} & set(loaded)


def test_only_benchmarks_import_the_package_that_they_compare_with():
    code = "import sys, multilevel_diffusion as md, multilevel_diffusion.stages.train; md.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "multilevel_diffusion.networks" in loaded
    assert not {"neuralop", "wandb", "tensorly"} & set(loaded)


def test_help_lists_every_stage(mld_process):
    done = mld_process("--help")
    assert done.code == 0
    for command in (
        *("resolve", "data", "train", "score-error", "sample", "evaluate"),
        *("convergence", "log-density", "truncation", "figure", "table"),
    ):
        assert f"\n  {command} " in done.out


@pytest.mark.parametrize("group", [[], ["data"], ["figure"], ["table"], ["bench"]])
def test_a_command_without_arguments_shows_its_help(mld_process, group):
    done = mld_process(*group)
    assert (done.out + done.err).startswith(f"Usage: {' '.join(['mld', *group])}")


def test_the_version_is_told(mld):
    assert mld("--version").out == f"mld {__version__}\n"


PLUGIN = """
from typing import Literal

from multilevel_diffusion.builders import builds
from multilevel_diffusion.priors import Laplacian
from multilevel_diffusion.settings import PriorBase


class TwiceSettings(PriorBase):
    kind: Literal["twice-laplacian"]


@builds(TwiceSettings)
def twice(settings, native, stream, state):
    return Laplacian(native, 20.0)
"""


def test_a_plugin_named_before_the_command_adds_its_kinds(mld, mld_process, tiny, spec_of, tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    train = ["train", spec_of(tiny() | {"prior": {"kind": "twice-laplacian"}}), "--seed", 1, "-o"]
    assert "twice-laplacian" in mld(*train, tmp_path / "x").refusal
    assert "nowhere.py" in mld("--plugin", "nowhere.py", *train, tmp_path / "x").refusal
    assert mld_process("--plugin", tmp_path / "plugin.py", *train, tmp_path / "own").code == 0
    spec_of(tiny() | {"prior": {"kind": "laplacian", "scale": 20}})
    assert mld(*train, tmp_path / "known").code == 0
    own, known = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("own", "known"))
    assert all(torch.equal(own[key], known[key]) for key in known)


def test_presets_are_those_beside_the_first_file_and_only_what_is_asked_for_must_be_sound(mld, root, tmp_path):
    shutil.copy(root / "config.yaml", tmp_path)
    shutil.copytree(root / "workflow" / "presets", tmp_path / "workflow" / "presets")
    (tmp_path / "mine.yaml").write_text("experiments: {mnist: {sampling: {stepz: 1}}}")
    files = [tmp_path / "config.yaml", tmp_path / "mine.yaml", "--set", "preset=smoke"]
    spec, target = tmp_path / "spec.json", tmp_path / "target.json"
    assert mld("resolve", *files, "--arm", "mixture/fno-combined", "-o", spec).code == 0
    assert mld("resolve", *files, "--arm", "mixture/fno-combined", "--target", "-o", target).code == 0
    assert read_target(spec) == read_target(target)
    assert "stepz" in mld("resolve", *files, "--arm", "mnist/fno-combined", "-o", tmp_path / "x").refusal


def test_a_config_without_presets_beside_it_is_told_what_to_do(mld, root, tmp_path):
    shutil.copy(root / "config.yaml", tmp_path)
    line = mld("resolve", tmp_path / "config.yaml", "--arm", "mixture/fno-combined", "-o", tmp_path / "x").refusal
    assert f"--presets: no YAML in {tmp_path / 'workflow' / 'presets'}" in line
    assert "the config.yaml of a checkout" in line


MIXTURE = ["data", "mixture", "{spec}", "--samples", "4", "-o", "{out}"]
SAMPLE = ["--resolution", "8", "--samples", "4", "--steps", "2", "--seed", "1", "-o", "{out}"]
SCORE = ["score-error", "{snapshots}", "--resolution", "8", "--batches", "1", "--batch-size", "4", "-o", "{out}"]
CONVERGE = ["convergence", "{spec}", "--resolution", "8", "--evaluations", "2", "--reference-evaluations", "2"]
CONVERGE += ["--samples", "2", "--projections", "2", "--seed", "1", "-o", "{out}"]
DENSITY = ["log-density", "{spec}", "--samples", "2", "--steps", "2", "--probes", "1", "--seed", "1", "-o", "{out}"]
TRUNCATE = ["truncation", "{spec}", "--samples", "4", "--steps", "2", "--seed", "1", "-o", "{out}"]
RESOLVE = ["resolve", "{config}", "--presets", "{presets}", "--arm", "mixture/fno-combined", "-o", "{out}"]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([*MIXTURE, "--resolution", "0"], "--resolution"),
        ([*MIXTURE, "--resolution", "33.5"], "--resolution"),
        ([*MIXTURE, "--resolution"], "--resolution"),
        (["data", "mixture"], "TARGET"),
        (["data", "moons"], "moons"),
        (["frobnicate"], "frobnicate"),
        (["train", "{spec}", "--seed", "-1", "-o", "{out}"], "--seed"),
        (["train", "{spec}", "--seed", "1", "-o", "{out}", "--lr", "3"], "--lr"),
        (["sample", "{model}", *SAMPLE, "--gain", "nonsense"], "--gain"),
        (["sample", "{model}", *SAMPLE, "--steps", "0"], "--steps"),
        (["sample", "{model}", *SAMPLE, "--sampler", "leapfrog"], "leapfrog"),
        (["sample", "{model}", *SAMPLE, "--sampler", "[heun"], "heun"),
        (["sample", "{spec}", *SAMPLE, "--sampler", "{{kind: ancestral, stochasticity: 1.5}}"], "stochasticity"),
        (["sample", "{spec}", *SAMPLE, "--sampler", "{{kind: dpm-solver++, stochasticity: -1}}"], "stochasticity"),
        (["sample", "{spec}", *SAMPLE, "--sampler", "{{kind: heun, stochasticity: 1}}"], "stochasticity"),
        (["sample", "{spec}", *SAMPLE, "--sampler", "{{kind: heun, times: cubic}}"], "times"),
        (["sample", "{spec}", *SAMPLE, "--sampler", "{{kind: predictor-corrector, snr: 0}}"], "snr"),
        (CONVERGE, "--sampler"),
        ([*CONVERGE, "--sampler", "leapfrog"], "leapfrog"),
        ([*CONVERGE, "--sampler", "heun", "--evaluations", "0"], "--evaluations"),
        ([*DENSITY, "--resolution", "8", "--drawn-on", "8"], "--drawn-on"),
        ([*DENSITY, "--resolution", "8", "--drawn-on", "9", "--probes", "0"], "--probes"),
        ([*TRUNCATE, "--resolution", "8", "--drawn-on", "9"], "--resolution"),
        ([*TRUNCATE, "--resolution", "8", "--resolution", "9", "--drawn-on", "9"], "--drawn-on"),
        (SCORE, "--gain"),
        ([*SCORE, "--gain", "nonsense"], "--gain"),
        ([*RESOLVE, "--set", "preset"], "--set"),
        ([*RESOLVE, "--set", "mixture=[1"], "--set"),
        ([*RESOLVE, "--set", "experiments={{mixture: {{sampling: {{stepz: 1}}}}}}"], "stepz"),
        (["resolve", "nowhere.yaml", *RESOLVE[2:]], "nowhere.yaml"),
        ([*RESOLVE, "--presets", "nowhere"], "nowhere"),
        ([*RESOLVE, "--arm", "mixture/none"], "--arm"),
    ],
)
def test_a_wrong_call_is_one_line_that_names_the_option(mld_process, root, files, tmp_path, args, word):
    out = tmp_path / "out" / "x"
    names = vars(files) | {"out": out, "config": root / "config.yaml", "presets": root / "workflow" / "presets"}
    done = mld_process(*[arg.format_map(names) for arg in args])
    assert word in done.refusal
    assert everything_in(tmp_path) == []


@pytest.fixture
def damaged(files, tmp_path):
    """Files that are not what a stage asks for, by name, beside the good ones."""
    folder = tmp_path / "in"
    folder.mkdir()
    spec = json.loads(files.spec.read_text())
    contents = {
        "truncated.safetensors": files.model.read_bytes()[:-100],
        "empty.safetensors": b"",
        "misspelt.json": json.dumps(spec | {"bath_size": 1}).encode(),
        "truncated.json": files.spec.read_bytes()[:-9],
        "list.json": b"[1]",
        "garbage.csv": b"\x00\xff\x13" * 99,
        "words.csv": b"no table at all\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return vars(files) | {name.replace(".", "_"): folder / name for name in contents} | {"folder": folder}


EVALUATE = ["--projections", "4", "-o", "{out}"]


@pytest.mark.parametrize(
    ("args", "culprit"),
    [
        (["data", "mixture", "{misspelt_json}", *SAMPLE[:4], "-o", "{out}"], "misspelt_json"),
        (["data", "mixture", "{truncated_json}", *SAMPLE[:4], "-o", "{out}"], "truncated_json"),
        (["train", "{list_json}", "--seed", "1", "-o", "{out}"], "list_json"),
        (["train", "{model}", "--seed", "1", "-o", "{out}"], "model"),
        (["sample", "{truncated_safetensors}", *SAMPLE], "truncated_safetensors"),
        (["sample", "{empty_safetensors}", *SAMPLE], "empty_safetensors"),
        (["sample", "{data}", *SAMPLE], "data"),
        (["sample", "{samples}", *SAMPLE], "samples"),
        (["sample", "{history}", *SAMPLE], "history"),
        (["sample", "{folder}", *SAMPLE], "folder"),
        (["score-error", "{folder}", *SCORE[2:], "--gain", "values"], "folder"),
        (["evaluate", "{samples_12}", "--data", "{data}", *EVALUATE], "samples_12"),
        (["evaluate", "{data}", "--data", "{data}", *EVALUATE], "data"),
        (["evaluate", "{samples}", "--data", "{model}", *EVALUATE], "model"),
        (["evaluate", "{samples}", "--data", "{samples}", *EVALUATE], "samples"),
        (["evaluate", "{samples}", "--data", "{truncated_safetensors}", *EVALUATE], "truncated_safetensors"),
        (["figure", "score-error", "{garbage_csv}", "-o", "{out}"], "garbage_csv"),
        (["figure", "score-error", "{words_csv}", "-o", "{out}"], "words_csv"),
        (["figure", "score-error", "{history}", "-o", "{out}"], "history"),
        (["figure", "fields", "{model}", "-o", "{out}"], "model"),
        (["figure", "samplers", "{history}", "-o", "{out}"], "history"),
        (["figure", "log-density", "{metrics}", "-o", "{out}"], "metrics"),
        (["table", "samplers", "{metrics}", "-o", "{out}"], "metrics"),
        (["table", "metrics", "{history}", "--scores", "{scores}", "-o", "{out}"], "history"),
        (["table", "metrics", "{metrics}", "--scores", "{history}", "-o", "{out}"], "history"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(mld, damaged, tmp_path, args, culprit):
    out = tmp_path / "out" / "x"
    done = mld(*[arg.format_map(damaged | {"out": out}) for arg in args])
    assert str(damaged[culprit]) in done.refusal
    assert not out.parent.exists()


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_missing_source_is_one_line_in_a_real_process(mld_process, tmp_path, suffix):
    source = tmp_path / f"nowhere.{suffix}"
    done = mld_process("sample", source, *[arg.format(out=tmp_path / "x") for arg in SAMPLE])
    assert f"{source}: no such file" in done.refusal
    assert everything_in(tmp_path) == []


def test_an_output_folder_that_is_a_file_is_one_line_that_names_it(mld, files, tmp_path):
    out = tmp_path / "taken"
    out.write_text("mine")
    assert str(out) in mld("train", files.spec, "--seed", 1, "-o", out).refusal
    assert out.read_text() == "mine"


def test_a_figure_of_fields_is_drawn_without_a_test_set(mld, files, tmp_path):
    assert mld("figure", "fields", files.samples, "-o", tmp_path / "figure.svg").code == 0
    assert (tmp_path / "figure.png").stat().st_size > 0


def test_a_figure_of_fields_draws_the_fewest_samples_the_settings_allow(mld, files, tmp_path):
    few = ["--resolution", 8, "--samples", 2]
    data, samples = tmp_path / "data.safetensors", tmp_path / "exact-8.safetensors"
    mld("data", "mixture", files.spec, *few, "-o", data)
    mld("sample", files.spec, *few, "--steps", 2, "--seed", 1, "-o", tmp_path)
    done = mld("figure", "fields", data, samples, "-o", tmp_path / "figure.svg")
    assert done.code == 0
    assert (tmp_path / "figure.png").stat().st_size > 0


@pytest.mark.parametrize("gains", [["coefficients"], ["coefficients", "values"]])
def test_the_figure_of_score_errors_is_drawn_for_any_gains(mld, files, tmp_path, gains):
    scores = tmp_path / "scores.csv"
    options = [word for gain in gains for word in ("--gain", gain)]
    done = mld(
        *["score-error", files.snapshots, "--resolution", 8, "--resolution", 16, *options],
        *["--batches", 1, "--batch-size", 4, "-o", scores],
    )
    assert done.code == 0
    assert mld("figure", "score-error", scores, "-o", tmp_path / "figure.svg").code == 0


def test_the_figure_of_score_errors_is_drawn_for_any_resolutions(mld, files, tmp_path):
    scores = tmp_path / "scores.csv"
    mld(
        *["score-error", files.snapshots, "--resolution", 12, "--gain", "values"],
        *["--batches", 1, "--batch-size", 4, "-o", scores],
    )
    assert mld("figure", "score-error", scores, "-o", tmp_path / "figure.svg").code == 0


def test_a_loss_that_is_not_finite_stops_training_and_leaves_no_result(mld, tiny, spec_of, tmp_path):
    out = tmp_path / "out"
    done = mld("train", spec_of(tiny(learning_rate=1e30)), "--seed", 1, "-o", out)
    assert "learning_rate" in done.refusal
    assert "epoch 1 at resolution 8" in done.refusal
    for name in ("model.safetensors", "history.csv", "snapshots"):
        assert not (out / name).exists()


def test_a_model_that_blows_up_is_refused_when_sampled(mld, tiny, spec_of, tmp_path):
    settings = tiny(learning_rate=1e30, steps_per_epoch=1, ladder=[{"resolution": 8, "epochs": 1}])
    assert mld("train", spec_of(settings), "--seed", 1, "-o", tmp_path / "trained").code == 0
    model, out = tmp_path / "trained" / "model.safetensors", tmp_path / "x"
    assert str(model) in mld("sample", model, *[arg.format(out=out) for arg in SAMPLE]).refusal
    assert not out.exists()


def test_a_disk_that_fills_up_stops_training_with_one_line_and_no_partial_file(mld_process, files, tmp_path):
    done = mld_process("train", files.spec, "--seed", 1, "-o", tmp_path / "out", file_size=1000)
    assert "no space left" in done.refusal
    assert str(tmp_path / "out") in done.refusal
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_train_leaves_model_history_and_snapshots_and_nothing_else(files):
    made = {str(path) for path in everything_in(files.model.parent) if path.parts[0] != "samples"}
    snapshots = {f"snapshots/epoch_000{epoch}.safetensors" for epoch in (1, 2)}
    assert made == {"model.safetensors", "history.csv", "snapshots"} | snapshots


def test_a_file_carries_settings_seed_and_provenance(files, tiny):
    for path in (files.model, files.samples, files.samples_12):
        header = read_tensors(path)[1]
        assert header["seed"] == 1
        if path == files.samples_12:
            assert header["target"]["prior"]["scale"] == tiny()["prior"]["scale"]
        else:
            assert header["spec"]["training"]["batch_size"] == tiny()["training"]["batch_size"]
        assert {"version", "commit", "python", "torch", "seed", "device", "seconds"} <= header["provenance"].keys()


@pytest.fixture
def sampled(mld, tmp_path):
    def draw(source, samples=4, seed=1, resolution=8):
        out = tmp_path / os.urandom(4).hex()
        grid = ["--resolution", resolution, "--samples", samples]
        assert mld("sample", source, *grid, "--steps", 3, "--seed", seed, "-o", out).code == 0
        (made,) = out.iterdir()
        return read_tensors(made)[0]["samples"]

    return draw


@pytest.mark.parametrize("source", ["model", "spec"])
def test_a_sample_does_not_depend_on_how_many_are_drawn(files, sampled, source):
    source = getattr(files, source)
    many, few = sampled(source, samples=70), sampled(source, samples=10)
    assert many.shape == (70, 8, 8)
    torch.testing.assert_close(many[:10], few, rtol=1e-5, atol=1e-6)
    assert len(many.flatten(1).unique(dim=0)) == 70


def test_a_single_sample_is_the_first_of_many_and_has_no_metrics(mld, files, sampled, tmp_path):
    torch.testing.assert_close(sampled(files.model, samples=1), sampled(files.model)[:1], rtol=1e-5, atol=1e-6)
    words = ["--resolution", 8, "--samples", 1, "--steps", 3, "--seed", 1, "-o", tmp_path]
    assert mld("sample", files.model, *words).code == 0
    words = ["--data", files.data, "--projections", 4, "-o", tmp_path / "metrics.csv"]
    line = mld("evaluate", tmp_path / "values-8.safetensors", *words).refusal
    assert "a single sample at 8 has no law to measure; draw at least 2" in line


def test_samples_are_drawn_on_every_grid_under_every_gain_but_once_where_gains_agree(mld, files, sampled, tmp_path):
    words = ["--resolution", 8, "--resolution", 12, "--gain", "coefficients", "--gain", "values"]
    for source, gains in ((files.model, words), (files.spec, words[:4])):
        assert mld("sample", source, *gains, "--samples", 4, "--steps", 3, "--seed", 1, "-o", tmp_path / "x").code == 0
    drawn = {file.stem: read_tensors(file) for file in (tmp_path / "x").iterdir()}
    assert drawn.keys() == {"coefficients-8", "coefficients-12", "values-12", "exact-8", "exact-12"}
    for name, (_, header) in drawn.items():
        assert name == f"{header['gain'] or 'exact'}-{header['resolution']}"
    samples = {name: tensors["samples"] for name, (tensors, _) in drawn.items()}
    assert torch.equal(samples["coefficients-8"], sampled(files.model))
    assert torch.equal(samples["values-12"], sampled(files.model, resolution=12))
    assert not torch.isclose(samples["coefficients-12"], samples["values-12"]).all()


@pytest.mark.parametrize("source", ["model", "spec"])
def test_a_seed_repeats_its_samples_and_another_gives_others(files, sampled, source):
    source = getattr(files, source)
    first = sampled(source, seed=5)
    assert torch.equal(sampled(source, seed=5), first)
    assert not torch.isclose(sampled(source, seed=6), first).any(dim=0).all()


def test_the_two_sets_of_true_data_are_independent_draws_that_repeat(mld, files, tmp_path):
    again = tmp_path / "again.safetensors"
    mld("data", "mixture", files.spec, "--resolution", 8, "--samples", 4, "-o", again)
    first, second = read_tensors(files.data)[0], read_tensors(again)[0]
    assert torch.equal(first["reference"], second["reference"])
    assert torch.equal(first["floor"], second["floor"])
    assert len(first["floor"]) == len(first["reference"]) == 8 * 4
    assert not torch.isclose(first["reference"], first["floor"]).any(dim=0).all()


def test_evaluate_gives_every_metric_its_floor(files):
    table = pd.read_csv(files.metrics, comment="#")
    assert {"sliced_wasserstein", "moment_sliced_wasserstein", "spectrum_distance"} <= set(table.metric)
    tests = table.metric.str.endswith("p_value")
    assert set(table.metric[tests]) == {"mmd_p_value", "nearest_neighbour_p_value"}
    assert table.value[tests].between(1 / 500, 1).all()
    assert table[["stderr", "floor", "floor_stderr", "floor_sets"]][tests].isna().all(axis=None)
    assert table[["value", "stderr", "floor", "floor_stderr", "scale"]][~tests].notna().all(axis=None)
    assert (table.floor_sets[~tests] == 8).all()


def test_distances_are_scaled_by_the_deviation_of_the_reference_and_what_has_no_units_is_not(files):
    y = read_tensors(files.data)[0]["reference"].double().numpy()
    deviation = math.sqrt(((y - y.mean(axis=0)) ** 2).mean())
    scales = read_csv(files.metrics).set_index("metric").scale
    assert set(scales.round(6)) == {1.0, round(deviation, 6)}
    units = {"sliced_wasserstein", "moment_sliced_wasserstein", "max_sliced_wasserstein", "sliced_wasserstein_within"}
    units |= {"pixel_distance", "increment_distance_near", "increment_distance_far"}
    assert set(scales.index[scales != 1]) == units


def test_equal_inputs_give_equal_figures(mld, files, tmp_path):
    for name in ("a", "b"):
        assert mld("figure", "score-error", files.scores, "-o", tmp_path / f"{name}.svg").code == 0
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    drawn, again = ((tmp_path / f"{name}.csv").read_text().partition("\n")[2] for name in "ab")  # below what made it
    assert drawn == again


def test_floors_are_means_of_the_metrics_of_all_disjoint_floor_sets(mld, files, tmp_path):
    """Samples that are one of these sets have its metrics as values: their mean is the floor, not one draw of it."""
    true, _ = read_tensors(files.data)
    header, tables = read_tensors(files.samples)[1], []
    for i in range(8):
        impostor, out = tmp_path / f"{i}.safetensors", tmp_path / f"{i}.csv"
        write_tensors(impostor, {"samples": true["floor"][4 * i : 4 * i + 4].clone()}, header)
        assert mld("evaluate", impostor, "--data", files.data, "--projections", 4, "-o", out).code == 0
        tables.append(read_csv(out).set_index("metric"))
    values, floors = pd.concat([table.value for table in tables], axis=1).loc[tables[0].floor.notna()], tables[0]
    floors = floors.loc[values.index]
    np.testing.assert_allclose(floors.floor, values.mean(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(floors.floor_stderr, values.std(axis=1) / 8**0.5, rtol=1e-6, atol=1e-12)
    assert (floors.floor[floors.index.str.endswith(("wasserstein", "distance"))] > 0).all()
    assert (values.std(axis=1)[floors.index.str.endswith(("wasserstein", "distance"))] > 0).all()


def test_the_floor_of_a_single_set_has_the_error_of_its_jackknife(mld, files, tmp_path):
    true, header = read_tensors(files.data)
    data, out = tmp_path / "data.safetensors", tmp_path / "metrics.csv"
    write_tensors(data, true | {"floor": true["floor"][:7].clone()}, header)
    assert mld("evaluate", files.samples, "--data", data, "--projections", 4, "-o", out).code == 0
    row = read_csv(out).set_index("metric").loc["spectrum_distance"]
    reference = metrics.Reference(true["reference"].numpy(), np.eye(64)[:, :2])
    expected = metrics.jackknife(
        lambda x: {"x": reference.spectrum_distance(x)}, true["floor"][:4].numpy(), interactions=False
    )["x"]
    assert (row.floor, row.floor_stderr, row.floor_sets) == pytest.approx(
        (expected.value, expected.stderr, 1), rel=1e-6
    )


def test_samples_of_another_prior_are_refused(mld, files, tiny, tmp_path):
    spec, samples = tmp_path / "spec.json", tmp_path / "exact-8.safetensors"
    spec.write_text(json.dumps(tiny() | {"prior": {"kind": "bessel", "shift": 8, "power": 0.55}}))
    drawing = ["--resolution", 8, "--samples", 4, "--steps", 2, "--seed", 1]
    assert mld("sample", spec, *drawing, "-o", tmp_path).code == 0
    out = tmp_path / "metrics.csv"
    refused = mld("evaluate", samples, "--data", files.data, "--projections", 4, "-o", out)
    assert str(samples) in refused.refusal
    assert not out.exists()


def test_an_unknown_sampler_is_refused_with_those_there_are(mld, files, tmp_path):
    line = mld(
        "sample", files.spec, *[arg.format(out=tmp_path / "x") for arg in SAMPLE], "--sampler", "leapfrog"
    ).refusal
    for name in ("euler-maruyama", "ancestral", "heun", "dpm-solver++", "predictor-corrector"):
        assert f"'{name}'" in line


@pytest.mark.parametrize(
    ("sampler", "name", "evaluations"),
    [
        ("euler-maruyama", "euler-maruyama", 3),
        ("{kind: ancestral, stochasticity: 0}", "ancestral(stochasticity=0)", 3),
        ("{kind: heun, times: karras}", "heun(times=karras)", 5),
        ("{kind: dpm-solver++, stochasticity: 1, times: log-snr}", "dpm-solver++(times=log-snr, stochasticity=1)", 3),
        ("{kind: predictor-corrector, corrections: 2}", "predictor-corrector(corrections=2)", 7),
    ],
)
def test_samples_carry_their_sampler_by_name_and_its_evaluations(mld, files, tmp_path, sampler, name, evaluations):
    done = mld("sample", files.model, *[arg.format(out=tmp_path) for arg in SAMPLE], "--steps", 3, "--sampler", sampler)
    assert done.code == 0, done.err
    header = read_tensors(tmp_path / "values-8.safetensors")[1]
    assert (header["sampler"], header["steps"], header["evaluations"]) == (name, 3, evaluations)


@pytest.mark.parametrize("times", TimeGrid)
@pytest.mark.parametrize(
    ("options", "make"),
    [
        ("kind: ancestral, stochasticity: 0.3", lambda d: Ancestral(d, 0.3)),
        ("kind: dpm-solver++, stochasticity: 0.6", lambda d: DPMSolver(d, 0.6)),
        ("kind: predictor-corrector, corrections: 2, snr: 0.3", lambda d: PredictorCorrector(d, 2, 0.3)),
    ],
)
def test_the_command_runs_the_sampler_and_times_that_its_options_say(mld, files, tmp_path, options, make, times):
    words = [arg.format(out=tmp_path) for arg in SAMPLE]
    done = mld("sample", files.spec, *words, "--samples", 70, "--sampler", f"{{{options}, times: {times}}}")
    assert done.code == 0, done.err
    denoiser = MixtureDenoiser(GaussianMixture(build_prior(read_target(files.spec))), ForwardSDE())
    expected = make(denoiser).sample(
        70,
        Torus(8),
        time_grid(times, 2, denoiser.sde),
        lambda block: generator(1, "sample exact", "mixture", "tiny", 8, block),
    )
    torch.testing.assert_close(
        read_tensors(tmp_path / "exact-8.safetensors")[0]["samples"], expected.float(), rtol=1e-5, atol=1e-6
    )


def test_convergence_measures_what_it_says(mld, files, tmp_path):
    """Distance of samples of two blocks, drawn by the library, to eleven sets of truth, beside the floor of twelve."""
    out, n, grid, key = tmp_path / "x.csv", 70, Torus(8), ("mixture", "tiny", 8)
    words = [arg.format(spec=files.spec, out=out) for arg in CONVERGE]
    done = mld(*words, "--samples", n, "--projections", 20, "--sampler", "{kind: heun, times: karras}")
    assert done.code == 0, done.err
    table = read_csv(out).set_index(["sampler", "metric"])
    mixture = GaussianMixture(build_prior(read_target(files.spec)))
    truths = [
        mixture.sample(n, grid, generator(1, "convergence truth", *key, i), torch.float64).numpy() for i in range(12)
    ]
    directions = metrics.projections(8, 20, generator(0, "projections", 8))
    drawn = Heun(MixtureDenoiser(mixture, ForwardSDE())).sample(
        n, grid, time_grid(TimeGrid.KARRAS, 1, ForwardSDE()), lambda block: generator(1, "convergence", *key, block)
    )
    expected = metrics.Reference(np.concatenate(truths[1:]), directions).sliced_wasserstein(drawn.numpy()).value
    row = table.loc["heun(times=karras)", "sliced_wasserstein"]
    among = metrics.floor(lambda x, y: metrics.Reference(y, directions).sliced_wasserstein(x), truths)
    assert (row.value, row.floor, row.stderr) == pytest.approx((expected, among.value, among.stderr), rel=1e-6)
    assert (row.floor_stderr, row.floor_sets) == pytest.approx((among.stderr / 12**0.5, 12), rel=1e-6)
    assert row.scale == pytest.approx(metrics.Reference(np.concatenate(truths[1:]), directions).deviation)


def test_convergence_measures_each_sampler_within_its_evaluations_against_the_truth(mld, files, tmp_path):
    for source, network in ((files.spec, "exact"), (files.model, "fno")):
        out = tmp_path / f"{network}.csv"
        words = [arg.format(spec=source, out=out) for arg in CONVERGE]
        done = mld(*words, "--evaluations", 5, "--sampler", "heun", "--sampler", "euler-maruyama")
        assert done.code == 0, done.err
        table = read_csv(out)
        assert set(table.network) == {network}
        runs = set(zip(table.sampler, table.steps, table.evaluations, strict=True))
        assert runs == {("euler-maruyama", 2, 2), ("euler-maruyama", 5, 5), ("heun", 1, 1), ("heun", 3, 5)}
        assert set(table.metric) == {"sliced_wasserstein", "spectrum_distance"}
        assert len(table) == 8
        assert (table[["value", "stderr", "floor"]] > 0).all(axis=None)
        assert mld("figure", "samplers", out, "-o", tmp_path / "figure.svg").code == 0
        assert mld("table", "samplers", out, "-o", tmp_path / "table.csv").code == 0


def test_log_densities_are_written_a_row_a_field_grid_and_trace(mld, files, tmp_path):
    for source, traces in ((files.spec, {"exact", "hutchinson"}), (files.model, {"hutchinson"})):
        out = tmp_path / f"{len(traces)}.csv"
        words = [arg.format(spec=source, out=out) for arg in DENSITY]
        done = mld(*words, "--resolution", 8, "--resolution", 9, "--drawn-on", 12, "--steps", 80)
        assert done.code == 0, done.err
        table = read_csv(out)
        assert set(table.trace) == traces
        assert len(table) == 2 * 2 * len(traces)
        assert table[["estimate", "start", "closed_form", "plain", "finest"]].notna().all(axis=None)
        if source == files.spec:
            check_densities(table[table.trace == "exact"], files.spec)
        assert (table.groupby("field").finest.nunique() == 1).all()
    assert mld("figure", "log-density", tmp_path / "2.csv", tmp_path / "1.csv", "-o", tmp_path / "f.svg").code == 0
    assert "exact score" in mld("figure", "log-density", tmp_path / "1.csv", "-o", tmp_path / "g.svg").refusal
    assert not (tmp_path / "g.svg").exists()


def check_densities(table, spec):
    """The columns of the exact field are what the library says of the same draws."""
    prior = build_prior(read_target(spec))
    mixture, finest = GaussianMixture(prior), Torus(12)
    fields = mixture.sample(2, finest, generator(1, "log density", "mixture", "tiny"), torch.float64)
    for n, rows in table.groupby("resolution"):
        u = restrict(fields, finest, Torus(n))
        closed = mixture.log_density(u, torch.ones(2), Torus(n))
        assert rows.closed_form.tolist() == pytest.approx(closed.tolist())
        assert rows.plain.tolist() == pytest.approx((closed + prior.log_density(u, Torus(n))).tolist())
        assert rows.finest.tolist() == pytest.approx(mixture.log_density(fields, torch.ones(2), finest).tolist())
        assert (rows.estimate + rows.start).tolist() == pytest.approx(closed.tolist(), abs=0.05)
        assert rows.start.abs().max() < 1


def test_more_samples_than_true_fields_are_refused_for_their_floor_would_be_of_fewer(mld, files, tmp_path):
    few, out = tmp_path / "few.safetensors", tmp_path / "metrics.csv"
    true, header = read_tensors(files.data)
    write_tensors(few, true | {"floor": true["floor"][:2].clone()}, header)
    line = mld("evaluate", files.samples, "--data", few, "--projections", 4, "-o", out).refusal
    assert "4 samples" in line
    assert "only 2 test fields" in line
    assert not out.exists()


def test_samples_without_a_table_are_measured_where_they_are_drawn(mld, files, tmp_path):
    assert mld("evaluate", files.samples, "--data", files.data, "--projections", 4, "-o", tmp_path / "m.csv").code == 0
    rows = measured([files.samples, files.data], 4)
    pd.testing.assert_frame_equal(rows[COLUMNS], read_csv(tmp_path / "m.csv"), check_dtype=False)
    assert set(rows.epoch) == {read_tensors(files.samples)[1]["epoch"]}
    draw = ["figure", "fields", files.samples, files.data, "--projections", 4, "-o", tmp_path / "f.svg"]
    assert mld(*draw).code == 0
    assert "give one of them" in mld(*draw, "--metrics", tmp_path / "m.csv").refusal


def test_truncation_is_measured_on_every_grid_beside_its_tail_and_has_its_rate(mld, files, tmp_path):
    out = tmp_path / "truncation.csv"
    words = [arg.format(spec=files.spec, out=out) for arg in TRUNCATE]
    done = mld(*words, "--resolution", 5, "--resolution", 8, "--resolution", 12, "--drawn-on", 24)
    assert done.code == 0, done.err
    table = read_csv(out)
    assert list(table.columns) == COLUMNS
    errors, rate = table[table.metric == "truncation_error"], table[table.metric == "truncation_rate"]
    mixture = GaussianMixture(build_prior(read_target(files.spec)))
    assert errors.floor.tolist() == pytest.approx([mixture.tail(Torus(24), Torus(n)) for n in (5, 8, 12)])
    assert (errors.value > 0.5 * errors.floor).all()
    assert rate.value.item() == pytest.approx(np.polyfit(np.log(errors.floor), np.log(errors.value), 1)[0])


def test_a_truncation_that_cuts_nothing_off_is_refused(mld, files, tmp_path):
    spec, out = tmp_path / "spec.json", tmp_path / "truncation.csv"
    few = {"kind": "fno", "modes": [2, 2]}
    spec.write_text(json.dumps(json.loads(files.spec.read_text()) | {"prior": few}))
    words = [arg.format(spec=spec, out=out) for arg in TRUNCATE]
    done = mld(*words, "--resolution", 12, "--resolution", 16, "--drawn-on", 24)
    assert "keeps all modes of the prior" in done.refusal
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "read", "output"),
    [
        ("resolve config.yaml --arm mixture/fno-combined --output {}", "config.yaml", "config.yaml"),
        ("figure losses history.csv -o {}", "history.csv", "history.svg"),
        ("table ladders history.csv --baseline cold -o {}", "history.csv", "history.md"),
        (
            "data fields fields.npy --grid torus --resolution 8 --train 2 --validation 2 --test 2 -o {}",
            "fields.npy",
            "./fields.npy",
        ),
        (
            "condition m.safetensors --observed p={{kind:points,count:1,noise:1}} --resolution 8 --truths 2 --samples 2"
            " --steps 2 --seed 1 --method guided -o {}",
            "m.safetensors",
            "m.csv",
        ),
    ],
)
def test_no_command_writes_over_what_it_reads(mld, tmp_path, monkeypatch, command, read, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / read).write_bytes(b"mine")
    assert "is read too, and would be overwritten" in mld(*command.format(output).split()).refusal
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(read, b"mine")]


@pytest.mark.parametrize("output", [".", ".."])
def test_samples_need_a_folder_of_their_own(mld, files, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    done = mld("sample", files.model, "--resolution", 8, "--steps", 2, "--samples", 2, "--seed", 1, "-o", output)
    assert "--output: " in done.refusal
    assert list(tmp_path.iterdir()) == []


def test_a_gain_is_refused_where_there_is_none(mld, files, tmp_path):
    draw = [
        "--resolution",
        8,
        "--steps",
        2,
        "--samples",
        2,
        "--seed",
        1,
        "--gain",
        "coefficients",
        "-o",
        tmp_path / "o",
    ]
    assert "gain: the exact score has none" in mld("sample", files.spec, *draw).refusal
    assert "this network sees fields of one scale" in mld("sample", "digits", *draw).refusal


@pytest.mark.parametrize("command", [CONVERGE, DENSITY], ids=["convergence", "log-density"])
def test_a_network_is_measured_under_the_gain_of_its_training_if_none_is_given(mld, files, tmp_path, command):
    extra = ["--sampler", "heun"] if command is CONVERGE else ["--resolution", 12, "--drawn-on", 13]
    own, tables = read_tensors(files.model)[1]["spec"]["gain"], {}
    for gain in (None, "values", "coefficients"):
        out = tmp_path / f"{gain}.csv"
        words = [arg.format(spec=files.model, out=out) for arg in command]
        done = mld(*words, *extra, *(["--gain", gain] if gain else []))
        assert done.code == 0, done.err
        tables[gain] = read_csv(out)
    pd.testing.assert_frame_equal(tables[None], tables[own])
    assert set(tables[None].gain) == {own}
    if command is DENSITY:  # on a grid where the gains differ
        assert not np.allclose(tables["values"].estimate, tables["coefficients"].estimate)


@pytest.mark.parametrize("command", [CONVERGE, DENSITY], ids=["convergence", "log-density"])
def test_a_network_that_returns_nan_is_one_line_that_names_it(mld, files, tmp_path, command):
    tensors, header = read_tensors(files.model)
    model, out = tmp_path / "model.safetensors", tmp_path / "out" / "x.csv"
    write_tensors(model, {k: v * 1e30 if k.startswith("network/") else v for k, v in tensors.items()}, header)
    words = [arg.format(spec=model, out=out) for arg in command]
    extra = ["--sampler", "heun"] if command is CONVERGE else ["--resolution", 8, "--drawn-on", 9]
    line = mld(*words, *extra).refusal
    assert str(model) in line
    assert "not finite at t = " in line
    assert not out.parent.exists()


def test_too_little_memory_for_a_network_is_one_line_that_names_it(mld, files, tmp_path, monkeypatch):
    def noise(*args):
        raise torch.OutOfMemoryError("of the device")

    monkeypatch.setattr("multilevel_diffusion.denoise.LearnedDenoiser.predict_noise", noise)
    line = mld(
        "sample", files.model, "--resolution", 8, "--steps", 2, "--samples", 2, "--seed", 1, "-o", tmp_path / "out"
    ).refusal
    assert str(files.model) in line
    assert "memory of the device does not suffice for fields of 8 points per side" in line
    assert not (tmp_path / "out").exists()


def test_samples_that_are_not_finite_are_refused_by_name(mld, files, tmp_path):
    tensors, header = read_tensors(files.samples)
    tensors["samples"][0, 1, 2] = torch.nan
    write_tensors(tmp_path / "samples", tensors, header)
    done = mld("evaluate", tmp_path / "samples", "--data", files.data, "--projections", 2, "-o", tmp_path / "out.csv")
    assert f"{tmp_path / 'samples'}: samples has values that are not finite" in done.refusal
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gain": None}, "field: learned, which does not go with its spec, gain and epoch"),
        ({"field": "exact"}, "field: exact, which does not go with its spec, gain and epoch"),
        ({"gain": "large"}, "gain: Input should be 'values' or 'coefficients', got 'large'"),
        ({"resolution": 9}, "samples has shape (4, 8, 8), not (n, 9, 9)"),
        ({"steps": "2"}, "steps: Input should be a valid integer, got '2'"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"epoch": 2.5}, "epoch: Input should be a valid integer, got 2.5"),
        ({"sampler": ""}, "sampler: String should have at least 1 character"),
        (
            {"target": {"kind": "mnist", "name": "mnist", "images": True}},
            "target: not the target of mixture/tiny",
        ),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_samples_with_a_header_of_another_version_are_refused_by_every_command(mld, files, tmp_path, change, said):
    tensors, header = read_tensors(files.samples)
    path, out = tmp_path / "samples", tmp_path / "out" / "x"
    write_tensors(path, tensors, header | change)
    for command in (["evaluate", path, "--data", files.data, "--projections", 2], ["figure", "fields", path]):
        line = mld(*command, "-o", out).refusal
        assert line.startswith(f"mld: {path}: ")
        assert said in line
        assert "give a file of `mld sample`, or draw it again" in line
        assert not out.parent.exists()


def test_the_loss_is_scaled_by_the_native_grid(mld, files, tmp_path, monkeypatch):
    scales = []
    trainer = training.Trainer.__init__
    monkeypatch.setattr(
        training.Trainer,
        "__init__",
        lambda self, *args, **options: scales.append(options["loss_scale"]) or trainer(self, *args, **options),
    )
    assert mld("train", files.spec, "--seed", 1, "-o", tmp_path).code == 0
    assert scales == [16**2]


@pytest.mark.parametrize(
    "prior",
    [
        {"kind": "standard"},
        {"kind": "fno", "modes": [8, 4]},
        {"kind": "laplacian", "scale": 10},
        {"kind": "bessel", "shift": 8, "power": 0.55},
        {"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": [2, 2]},
    ],
    ids=lambda prior: prior["kind"],
)
def test_every_prior_goes_the_whole_way(mld, tiny, tmp_path, prior):
    spec, data, out = (tmp_path / name for name in ("spec.json", "d.safetensors", "m.csv"))
    spec.write_text(json.dumps(tiny() | {"prior": prior}))
    grid = ["--resolution", 9, "--samples", 4]
    for command in [
        ["train", spec, "--seed", 1, "-o", tmp_path],
        ["data", "mixture", spec, *grid, "-o", data],
        ["sample", tmp_path / "model.safetensors", *grid, "--steps", 2, "--seed", 1, "-o", tmp_path],
        ["evaluate", tmp_path / "values-9.safetensors", "--data", data, "--projections", 4, "-o", out],
    ]:
        done = mld(*command)
        assert done.code == 0, done.err
    assert read_csv(out).value.notna().all()


def test_the_seed_decides_data_times_and_noise_and_not_the_initial_weights_alone(mld, files, tmp_path, monkeypatch):
    initial = stage.build_network
    monkeypatch.setattr(stage, "build_network", lambda spec, seed: initial(spec, 0))
    losses = []
    for seed in (1, 2):
        assert mld("train", files.spec, "--seed", seed, "-o", tmp_path / str(seed)).code == 0
        losses.append(read_csv(tmp_path / str(seed) / "history.csv").loss[0])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("command", ["figure", "table"])
def test_scores_that_lack_a_column_are_refused_by_name(mld, files, tmp_path, command):
    scores, out = tmp_path / "scores.csv", tmp_path / "out.csv"
    write_csv(scores, read_csv(files.scores).drop(columns="arm"), {})
    calls = {
        "figure": ["figure", "score-error", scores, "-o", out],
        "table": ["table", "metrics", files.metrics, "--scores", scores, "-o", out],
    }
    line = mld(*calls[command]).refusal
    assert str(scores) in line
    assert "arm" in line
    assert not out.exists()


@pytest.fixture
def run_folder(files, tmp_path):
    """A results folder whose metrics are those of the tiny arm with every sliced distance moved by so many standard errors."""

    def make(name, sigmas=0.0):
        table = read_csv(files.metrics)
        sliced = table.metric == "sliced_wasserstein"
        table.loc[sliced, "value"] += sigmas * 2**0.5 * table.loc[sliced, "stderr"]
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / "tables" / "metrics.csv", table, {})
        return tmp_path / name

    return make


def test_runs_that_agree_within_the_bound_pass_and_others_do_not(mld, run_folder, tmp_path):
    a, near, far = run_folder("a"), run_folder("near", 3.9), run_folder("far", -4.1)
    assert mld("compare", a, near).code == 0
    told = mld("compare", a, far, "-o", tmp_path / "compare.csv")
    assert told.code == 1
    assert "1 differ by more than 4 standard errors" in told.out
    assert read_csv(tmp_path / "compare.csv").sigmas.min() == pytest.approx(-4.1)
    assert mld("compare", a, far, "--bound", 4.2).code == 0
    assert mld("compare", a / "tables" / "metrics.csv", near, "--bound", 3).code == 1


def test_what_cannot_be_compared_is_refused_in_one_line(mld, run_folder, files, tmp_path):
    a = run_folder("a")
    assert "nowhere" in mld("compare", a, tmp_path / "nowhere").refusal
    assert "history" in mld("compare", a, files.history).refusal
    other = read_csv(files.metrics).assign(arm="other")
    write_csv(tmp_path / "other.csv", other, {})
    assert "no metric of the same experiment" in mld("compare", a, tmp_path / "other.csv").refusal
