"""`mld sample --observe`, `mld condition`, and the figure and the table of posteriors."""

import json
import os
import re

import numpy as np
import pytest
import torch

from multilevel_diffusion import load
from multilevel_diffusion.columns import POSTERIOR
from multilevel_diffusion.data.observed import read_observations
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.gaussian import prior_law
from multilevel_diffusion.grids import Torus
from multilevel_diffusion.models import read_exact, read_source
from multilevel_diffusion.observations import Observations, Points
from multilevel_diffusion.settings import (
    DPMSolverSettings,
    DPSSettings,
    GuidedSettings,
    ObservedCoarseSettings,
    ObservedPointsSettings,
    ProjectedSettings,
)  # fmt: skip
from multilevel_diffusion.stages.condition import _band, _scores, condition
from multilevel_diffusion.stages.gaussian import read_law
from multilevel_diffusion.storage import read_csv, read_tensors, write_tensors

DRAW = ["--resolution", 8, "--samples", 4, "--steps", 3, "--seed", 1]
SEEN = "x1,x2,value\n0.5,0.25,1.0\n0.1,0.3,-0.5\n"


@pytest.fixture
def seen(tmp_path):
    path = tmp_path / "seen.csv"
    path.write_text(SEEN)
    return path


def test_samples_given_a_file_are_those_of_the_model_given_its_observations(mld, files, seen, tmp_path):
    done = mld("sample", files.model, *DRAW, "--observe", seen, "--noise", 0.1, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    found = read_tensors(tmp_path / "out" / "values-8.safetensors")
    missed = float(re.search(r"at 8 the samples miss what was seen by (\S+) \(rms\); its noise is 0.1", done.out)[1])
    given = Observations(Points(torch.tensor([[0.5, 0.25], [0.1, 0.3]])), torch.tensor([1.0, -0.5]), 0.1)
    model = load(files.model, "cpu")
    residual = given.residual(found[0]["samples"].double(), Torus(8))
    assert missed == pytest.approx(residual.square().mean().sqrt().item(), rel=0.01)
    torch.testing.assert_close(found[0]["samples"], model.sample(4, resolution=8, steps=3, seed=1, observations=given))
    assert not torch.allclose(found[0]["samples"], model.sample(4, resolution=8, steps=3, seed=1))
    assert "guided" in found[1]["sampler"]


@pytest.mark.parametrize("sampler", ["euler-maruyama", "predictor-corrector", "gaussian-exponential"])
def test_a_sampler_that_ends_elsewhere_is_refused_where_observations_have_no_noise(sampler, mld, files, seen, tmp_path):
    how = ["--observe", seen, "--noise", 0, "--sampler", sampler]
    done = mld("sample", files.model, *DRAW, *how, "-o", tmp_path / "out")
    assert done.code == 1
    assert f"{seen}: sampler: {sampler} does not end with the data prediction" in done.err
    assert not (tmp_path / "out").exists()


def test_exact_observations_that_contradict_one_another_are_refused(mld, files, tmp_path):
    rows = {"seen": "0.5,0.5,1\n0.5,0.5,-1\n", "seam": "0,0.5,1\n1,0.5,-1\n"}
    for name, text in rows.items():
        (tmp_path / f"{name}.csv").write_text("x1,x2,value\n" + text)
        how = ["--observe", tmp_path / f"{name}.csv", "--sampler", "ancestral", "-o", tmp_path / "out"]
        done = mld("sample", files.model, *DRAW, *how, "--noise", 0)
        assert done.code == 1
        assert f"{name}.csv: observations: at" in done.err
        assert "a field cannot have all of them with so little noise, and misses them by 1" in done.err
        assert mld("sample", files.model, *DRAW, *how, "--noise", 0.1).code == 0


@pytest.mark.parametrize("sampler", ["dpm-solver++", "ancestral"])
def test_a_sampler_that_ends_with_the_data_prediction_meets_observations_without_noise(sampler, files):
    given = Observations(Points(torch.tensor([[0.5, 0.25], [0.125, 0.375]])), torch.tensor([1.0, -0.5]), 0.0)
    made = load(files.model, "cpu").sample(4, resolution=8, steps=6, seed=1, sampler=sampler, observations=given)
    torch.testing.assert_close(made[:, [4, 1], [2, 3]], given.values.expand(4, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f2", "<i4"])
def test_a_field_with_a_mask_is_seen_where_it_is_true(kind, tmp_path):
    field, mask = np.arange(16.0).reshape(4, 4), np.eye(4, dtype=bool)
    np.savez(tmp_path / "seen.npz", field=field.astype(kind), mask=mask)
    found = read_observations(tmp_path / "seen.npz", 0.0, Torus)
    assert found.values.tolist() == [0, 5, 10, 15]
    seen = found.operator.apply(torch.from_numpy(field)[None], Torus(4))[0]
    torch.testing.assert_close(seen, found.values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x1,x2,value\n0.5,1.5,1\n", "point 1 is (0.5, 1.5), outside"),
        ("x1,x2,value\n0.5,,1\n", "point 1 is (0.5, nan)"),
        ("x1,x2,value\n0.5,0.5,\n", "value 1 is not finite"),
        ("x1,x2,value\n0.5,0.5,much\n", "column value has something else than numbers"),
        ("x1,x2,value\n", "a header and no rows"),
        ("x1,x2,value\n0.5,0.5,True\n", "column value has something else than numbers"),
        ("x1,x2,value,value\n0.5,0.5,1,2\n", "two columns value"),
        ("x,y,value\n0.5,0.5,1\n", "no column x1"),
        ("", "not a table of x1, x2, value"),
        ("x1,x2,value\n0.5,0.25,0.5,0.1\n", "a row has more entries than the header has names"),
        ("x1,x2,value\n0.5,0.25,0.5,\n", "a row has more entries than the header has names"),
    ],
)
def test_a_table_that_is_none_of_observations_is_refused(mld, files, tmp_path, text, words):
    (tmp_path / "seen.csv").write_text(text)
    done = mld("sample", files.model, *DRAW, "--observe", tmp_path / "seen.csv", "--noise", 0.1, "-o", tmp_path / "out")
    assert "seen.csv: " in done.refusal
    assert words in done.refusal
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"field": np.zeros((8, 8)), "mask": np.ones((4, 4), dtype=bool)}, "a mask of shape (4, 4), not (8, 8)"),
        ({"field": np.zeros((8, 8)), "mask": np.zeros((8, 8), dtype=bool)}, "true nowhere"),
        ({"field": np.zeros((8, 8)), "mask": np.ones((8, 8))}, "the mask is float64"),
        ({"field": np.zeros((8, 4)), "mask": np.ones((8, 4), dtype=bool)}, "a field of shape (8, 4)"),
        ({"field": np.full((8, 8), np.nan), "mask": np.ones((8, 8), dtype=bool)}, "value 1 is not finite"),
        ({"field": np.zeros((8, 8))}, "not an .npz of arrays field and mask"),
        ({"field": np.full((8, 8), "a"), "mask": np.ones((8, 8), dtype=bool)}, "a field of <U1, not of real numbers"),
        ({"field": np.zeros((8, 8), complex), "mask": np.ones((8, 8), dtype=bool)}, "a field of complex128"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mld, files, tmp_path, arrays, words):
    np.savez(tmp_path / "seen.npz", **arrays)
    done = mld("sample", files.model, *DRAW, "--observe", tmp_path / "seen.npz", "--noise", 0.1, "-o", tmp_path / "out")
    assert "seen.npz: " in done.refusal
    assert words in done.refusal


@pytest.mark.parametrize("name", ["none.csv", "folder", "pipe"])
def test_what_is_no_file_is_refused(mld, files, tmp_path, name):
    """A pipe too: it is read once, and the next one at its place has other numbers."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    refusal = mld(
        "sample", files.model, *DRAW, "--observe", tmp_path / name, "--noise", 0.1, "-o", tmp_path / "out"
    ).refusal
    assert "no such file; give" in refusal if name == "none.csv" else "not a regular file; give" in refusal
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["seen.npz", "seen.csv.gz"])
def test_a_file_that_is_cut_off_or_something_else_is_refused(tmp_path, name):
    field = np.random.default_rng(1).random((8, 8))
    np.savez_compressed(tmp_path / "seen.npz", field=field, mask=field > 0)
    whole = (tmp_path / "seen.npz").read_bytes()
    for content in (b"", whole[:100], whole[:80] + b"spoilt" + whole[86:]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: not "):
            read_observations(tmp_path / name, 0.1, Torus)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--noise: give the standard deviation"),
        (["--method", "dps", "--noise", 0], "seen.csv: dps: it divides by the noise"),
        (["--method", "projected", "--noise", 0.1], "seen.csv: projected: it is for observations without noise"),
        (["--method", "{kind: guided, derivative: mine}"], "--method: derivative"),
        (["--noise", -1], "--noise"),
    ],
)
def test_a_method_or_noise_that_does_not_suit_is_refused(mld, files, seen, tmp_path, options, words):
    assert words in mld("sample", files.model, *DRAW, "--observe", seen, *options, "-o", tmp_path / "out").refusal


@pytest.mark.parametrize("option", [["--noise", 0], ["--method", "guided"], ["--gaussian", "law.safetensors"]])
def test_what_is_for_observations_is_refused_without_them(mld, files, tmp_path, option):
    refusal = mld("sample", files.model, *DRAW, *option, "-o", tmp_path / "out").refusal
    assert f"{option[0]}: is for what is observed; give --observe" in refusal


def test_a_method_or_law_without_observations_is_refused_in_python_too(files):
    read = read_source(files.model, "cpu")
    for option in ({"method": "dps"}, {"law": prior_law(read.prior)}):
        with pytest.raises(UserError, match="observations: give what they are conditioned on"):
            read.sample(2, resolution=8, steps=1, seed=1, **option)


def test_samples_given_a_gaussian_of_the_data_take_its_covariances(mld, files, seen, tmp_path):
    path = tmp_path / "law.safetensors"
    assert mld("gaussian", files.spec, "-o", path).code == 0
    for source, name in ((files.model, "values"), (files.spec, "exact")):
        done = mld(
            "sample", source, *DRAW, "--observe", seen, "--noise", 0.1, "--gaussian", path, "-o", tmp_path / "out"
        )
        assert done.code == 0, done.err
        read = read_source(source, "cpu")
        law = read_law(path, load(files.model, "cpu").settings, {})
        options = {"resolution": 8, "steps": 3, "seed": 1, "observations": read_observations(seen, 0.1, Torus)}
        found = read_tensors(tmp_path / "out" / f"{name}-8.safetensors")[0]["samples"]
        torch.testing.assert_close(found, read.sample(4, **options, law=law))
        assert not torch.allclose(found, read.sample(4, **options))


def test_on_the_exact_field_posteriors_are_near_the_exact_ones(tiny, tmp_path):
    target = {key: tiny()[key] for key in ("experiment", "kind", "arm", "native_resolution", "prior_seed", "prior")}
    (tmp_path / "target.json").write_text(json.dumps(target))
    found = condition(
        read_exact(tmp_path / "target.json"),
        observed={
            "points": ObservedPointsSettings(kind="points", count=3, noise=0.1),
            "coarse": ObservedCoarseSettings(kind="coarse", resolution=4, noise=0.0),
        },
        methods=[GuidedSettings(kind="guided"), DPSSettings(kind="dps"), ProjectedSettings(kind="projected")],
        sampler=DPMSolverSettings(kind="dpm-solver++", stochasticity=1.0, times="log-snr"),
        **{"resolution": 8, "steps": 30, "truths": 2, "samples": 256, "seed": 1},
    )
    table = found.table.set_index(["observed", "method", "posterior"]).value
    assert set(found.table.posterior) <= set(POSTERIOR)
    methods = {name: set(group.method) for name, group in found.table.groupby("observed")}
    assert methods == {"points": {"exact", "guided", "dps"}, "coarse": {"exact", "guided", "projected"}}
    for name in methods:
        assert table[name, "exact", "exact_mean_error"] < 2.5 * table[name, "exact", "exact_mean_floor"]
        assert table[name, "exact", "exact_spread"] == pytest.approx(1, abs=0.1)
        assert table[name, "exact", "exact_coverage"] == pytest.approx(0.9, abs=0.03)
    assert table["coarse", "guided", "exact_mean_error"] < 0.2
    assert table["coarse", "guided", "exact_coverage"] == pytest.approx(0.9, abs=0.05)
    assert found.fields["points/guided/samples"].shape == (3, 8, 8)
    assert found.fields["points/points"].shape == (3, 3)


def test_crps_and_coverage_of_draws_of_the_truth_itself():
    """For N(0, 1) and draws of it the CRPS is 1/√π on the average, whatever the number of samples."""
    generator = torch.Generator().manual_seed(1)
    for n in (3, 200):
        drawn = torch.randn(n, 60, 60, generator=generator, dtype=torch.float64)
        found = _scores(drawn, torch.randn(60, 60, generator=generator, dtype=torch.float64))
        assert found["crps"] == pytest.approx(np.pi**-0.5, abs=0.03)


@pytest.mark.parametrize("n", [19, 30, 200])
def test_a_band_of_ever_so_few_draws_holds_nine_tenths_of_the_others(n):
    generator = torch.Generator().manual_seed(1)
    low, high = _band(torch.randn(n, 60, 60, generator=generator, dtype=torch.float64))
    others = torch.randn(100, 60, 60, generator=generator, dtype=torch.float64)
    assert ((low <= others) & (others <= high)).double().mean().item() == pytest.approx(0.9, abs=0.012)


def test_the_command_goes_on_after_a_stop_and_its_files_are_drawn_and_read(mld, files, tmp_path):
    table, method = (
        tmp_path / "values-8.csv",
        ["--method", "guided", "--method", "{kind: guided, derivative: denoiser}"],
    )
    what = ["--observed", "some={kind: points, count: 2, noise: 0.1}", *DRAW, *method, "--truths", 2]
    done = mld("condition", files.model, *what, "-o", table)
    assert done.code == 0, done.err
    rows = read_csv(table)
    assert set(rows.method) == {"exact", "guided", "guided(derivative=denoiser)"}
    assert not list(tmp_path.glob("checkpoint"))
    again = tmp_path / "again.csv"
    assert mld("condition", files.model, *what, "-o", again).code == 0
    timeless = ~rows.posterior.str.startswith("seconds")
    assert read_csv(again)[timeless].equals(rows[timeless])
    drawn = mld("figure", "posterior", table.with_suffix(".safetensors"), "-o", tmp_path / "posterior.svg")
    assert drawn.code == 0, drawn.err
    made = mld("table", "posterior", table, "-o", tmp_path / "summary.csv")
    assert made.code == 0, made.err
    assert "exact_mean_error" in (tmp_path / "summary.md").read_text()
    tensors, header = read_tensors(table.with_suffix(".safetensors"))
    for spoilt in ("some/truth", "some/guided/samples", "some/guided/spread", "some/points"):
        for value in (tensors[spoilt][..., :2], torch.full_like(tensors[spoilt], torch.nan)):
            write_tensors(tmp_path / "spoilt.safetensors", tensors | {spoilt: value}, header)
            refused = mld("figure", "posterior", tmp_path / "spoilt.safetensors", "-o", tmp_path / "posterior.svg")
            assert "spoilt.safetensors: not fields of posteriors" in refused.refusal
    wrong = mld("figure", "posterior", files.samples, "-o", tmp_path / "posterior.svg")
    assert "mld condition" in wrong.refusal


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (["points"], "is not NAME=YAML"),
        (["some={kind: stars, noise: 0}"], "there is no kind 'stars'"),
        (["some={kind: points, count: 2}"], "noise"),
        (["some={kind: points, count: 2, noise: -1}"], "some.noise"),
        (["some={kind: outside, resolution: 8, noise: 0, low: [0.8, 0.2]}"], "below high"),
        (["a/b={kind: points, count: 2, noise: 0}"], "a name has"),
        (2 * ["some={kind: points, count: 2, noise: 0}"], "some was given before"),
    ],
)
def test_what_cannot_be_seen_is_refused(mld, files, tmp_path, observed, words):
    given = [word for text in observed for word in ("--observed", text)]
    done = mld("condition", files.model, *given, *DRAW, "--method", "guided", "--truths", 2, "-o", tmp_path / "x.csv")
    assert "--observed" in done.refusal
    assert words in done.refusal


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("{kind: points, count: 2, noise: 1e200}", "the noise is 1e+200"),
        ("{kind: modes, radius: 900000, noise: 1}", "more than is free"),
    ],
)
def test_what_cannot_be_observed_is_refused_before_anything_is_drawn(mld, files, tmp_path, what, words):
    how = ["--observed", f"some={what}", "--method", "guided", *DRAW, "--truths", 2, "-o", tmp_path / "x.csv"]
    refusal = mld("condition", files.model, *how).refusal
    assert words in refusal
    assert "--observed" in refusal
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("noise", [0, 1e-12])
def test_hardly_any_noise_is_none(mld, files, seen, tmp_path, noise):
    how = ["--observe", seen, "--noise", noise, "-o", tmp_path / "out"]
    assert "does not end with the data prediction" in mld("sample", files.model, *DRAW, *how).refusal


def test_a_noise_that_no_method_takes_is_refused(mld, files, tmp_path):
    seen = ["--observed", "some={kind: points, count: 2, noise: 0.1}", "--method", "projected"]
    done = mld("condition", files.model, *seen, *DRAW, "--truths", 2, "-o", tmp_path / "x.csv")
    assert "no method is for the noise of some, 0.1" in done.refusal
