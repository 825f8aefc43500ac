"""The Gaussian baseline stage by stage, alone and under a network, on two-phase fields, which are far from Gaussian."""

import contextlib
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from multilevel_diffusion.builders import build_grid, build_network, build_prior
from multilevel_diffusion.checkpoints import Checkpoint
from multilevel_diffusion.data.sets import FieldSets, write_sets
from multilevel_diffusion.gaussian import GaussianDenoiser
from multilevel_diffusion.grids import CellCentred, Torus, restrict
from multilevel_diffusion.metrics import Reference, floor, projections
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.models import Model, load, read_model, write_model
from multilevel_diffusion.settings import ArmSpec, Gain, parse
from multilevel_diffusion.stages.gaussian import gaussian, read_law
from multilevel_diffusion.stages.train import train
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_tensors
from multilevel_diffusion.training import Trainer, denoising_loss

NATIVE = 16
UNET = {"kind": "unet", "channels": [4, 8], "blocks": 1, "groups": 2, "preconditioning": "gaussian"}
FNO = {"kind": "fno", "width": 8, "layers": 2, "modes": 3, "head": 16, "preconditioning": "gaussian"}
ALONE = {"kind": "gaussian"}
BESSEL = {"kind": "bessel", "shift": 8, "power": 0.8}


def phases(count, name, size=NATIVE):
    """±1 by the sign of a smooth random field, shape (count, N, N)."""
    fine = torch.randn(count, 6, 6, generator=generator(1, name))
    smooth = torch.nn.functional.interpolate(fine[:, None], (size, size), mode="bicubic")[:, 0]
    return torch.where(smooth > 0.3, 1.0, -1.0)


def sets_of(name="phases", grid=Torus, train=300):
    fields = {"train": phases(train, "train"), "validation": phases(32, "validation")}
    fields |= {"reference": phases(4, "reference"), "floor": phases(4, "floor")}
    return FieldSets(fields, grid(NATIVE), {"kind": "fields", "name": name, "images": False})


@pytest.fixture(scope="session")
def spec_of(tiny):
    """The settings of an arm on the two-phase fields, as a mapping."""

    def make(network, *, prior=BESSEL, grid="torus", **training):
        settings = tiny(**({"steps_per_epoch": None, "weight_decay": 0.0, "batch_size": 30} | training))
        return settings | {
            "experiment": "phases",
            "kind": "fields",
            "data_set": "phases",
            "grid": grid,
            "network": network,
            "prior": prior,
            "validation": {"resolutions": [8, 16], "draws": 4},
        }

    return make


@pytest.fixture(scope="session")
def arm(spec_of):
    return lambda *args, **options: parse(ArmSpec, spec_of(*args, **options), "arm")


@pytest.fixture(scope="module")
def made(mld, spec_of, tmp_path_factory):
    """Files: the data, and of the arms `alone` and `fno` the settings, the law and the training."""
    folder = tmp_path_factory.mktemp("gaussian")
    found = SimpleNamespace(folder=folder, data=folder / "data.safetensors", arms={})
    write_sets(found.data, sets_of(), {})
    for name, network in {"alone": ALONE, "fno": FNO}.items():
        spec, law, trained = (folder / f"{name}{suffix}" for suffix in (".json", ".safetensors", ""))
        spec.write_text(json.dumps(spec_of(network)))
        for command in (
            ["gaussian", spec, "--data", found.data, "-o", law],
            ["train", spec, "--data", found.data, "--gaussian", law, "--seed", 1, "-o", trained],
        ):
            done = mld(*command)
            assert done.code == 0, done.err
        found.arms[name] = SimpleNamespace(spec=spec, law=law, trained=trained, model=trained / "model.safetensors")
    return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def untrained(spec, sets):
    prior = build_prior(spec)
    return Model(spec, 1, 0, sets.target, build_network(spec, 1), prior, gaussian(spec, sets))


GRIDS = [("fno", n, grid) for n in (8, 9, 16, 17, 24) for grid in ("torus", "cell-centred")]
GRIDS += [("unet", n, "torus") for n in (8, 16, 24)]


@pytest.mark.parametrize(("network", "n", "grid"), GRIDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_untrained_network_on_the_gaussian_is_the_gaussian(arm, network, n, grid, dtype):
    spec = arm({"fno": FNO, "unet": UNET}[network], grid=grid)
    model = untrained(spec, sets_of(grid={"torus": Torus, "cell-centred": CellCentred}[grid]))
    u, t = torch.randn(3, n, n, generator=generator(2), dtype=dtype), torch.tensor([0.02, 0.4, 1.0], dtype=dtype)
    on = build_grid(spec, n)
    assert torch.equal(model.denoiser().predict_noise(u, t, on), GaussianDenoiser(model.law).predict_noise(u, t, on))


@pytest.mark.parametrize("network", [FNO, UNET], ids=["fno", "unet"])
@pytest.mark.parametrize("sampler", ["euler-maruyama", {"kind": "gaussian-exponential", "stochasticity": 1}], ids=str)
def test_after_its_file_it_still_is_and_draws_the_samples_of_the_gaussian_alone(arm, network, sampler, tmp_path):
    sets = sets_of()
    write_model(tmp_path / "model.safetensors", untrained(arm(network), sets), {})
    alone, on_it = untrained(arm(ALONE), sets), read_model(tmp_path / "model.safetensors", torch.device("cpu"))
    drawn = [
        model.sample(3, resolution=24, steps=3, seed=1, sampler=sampler, start="gaussian") for model in (alone, on_it)
    ]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", ["alone", "fno"])
def test_the_law_survives_the_model_file_bit_by_bit(made, arm, name):
    files = made.arms[name]
    law = gaussian(arm(ALONE if name == "alone" else FNO), sets_of())
    assert law.side == 5  # 300 fields, and ten for each of 25 modes
    for path in (files.model, *sorted((files.trained / "snapshots").iterdir())):
        again = read_model(path, torch.device("cpu")).law
        assert_same(law.state(), again.state())
        assert (law.tail, law.grid) == (again.tail, again.grid)
    target = read_tensors(made.data)[1]["target"]
    assert_same(
        law.state(), read_law(files.law, parse(ArmSpec, json.loads(files.spec.read_text()), ""), target).state()
    )


def test_a_training_estimates_the_law_that_it_is_not_given(made, mld, tmp_path):
    files = made.arms["fno"]
    assert mld("train", files.spec, "--data", made.data, "--seed", 1, "-o", tmp_path).code == 0
    for path in ("model.safetensors", "snapshots/epoch_0001.safetensors"):
        assert_same(read_tensors(tmp_path / path)[0], read_tensors(files.trained / path)[0])
    histories = (read_csv(folder / "history.csv").drop(columns="seconds") for folder in (tmp_path, files.trained))
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_an_interrupted_training_on_the_gaussian_ends_with_the_bits_of_an_uninterrupted_one(arm, tmp_path, averaging):
    spec, sets = arm(FNO, ladder=[{"resolution": 8, "epochs": 6}], averaging=averaging, schedule="one-cycle"), sets_of()

    @contextlib.contextmanager
    def cut_off(total, label, done=0):
        said = []

        def advance(line):
            said.append(line)
            if len(said) == 3:
                raise KeyboardInterrupt

        yield advance

    def keeping():
        return {
            "keep": Checkpoint(tmp_path / "run", seconds=0),
            "write": lambda path, model: write_model(path, model, {}),
            "warn": lambda line: None,
        }

    with pytest.raises(KeyboardInterrupt):
        train(spec, 1, sets, **keeping(), progress=cut_off)
    (state,) = tmp_path.glob("run/*/training.state.safetensors")
    assert len(read_tensors(state)[1]["history"]) == 3
    resumed, history = train(spec, 1, sets, **keeping())
    whole, expected = train(spec, 1, sets, warn=lambda line: None)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True)
    assert_same(resumed.network.state_dict(), whole.network.state_dict())
    assert_same(resumed.law.state(), whole.law.state())


def test_a_checkpoint_of_another_gaussian_is_not_gone_on_from(arm, tmp_path):
    spec, sets = arm(FNO, ladder=[{"resolution": 8, "epochs": 2}]), sets_of()
    law = gaussian(spec, sets)
    other = replace(law, variances=2 * law.variances, _cache={})
    quiet, told = {"warn": lambda line: None}, []

    def keeping():
        keep = Checkpoint(tmp_path / "run", seconds=0, warn=told.append)
        return {"keep": keep, "write": lambda path, model: write_model(path, model, {})}

    train(spec, 1, sets, law=other, **keeping(), **quiet)
    found, expected = (train(spec, 1, sets, law=law, **more, **quiet)[0] for more in (keeping(), {}))
    assert ["of other variances" in line for line in told] == [True]
    assert_same(found.network.state_dict(), expected.network.state_dict())


def test_the_gaussian_has_no_skill_and_what_is_trained_on_it_has_some(made, arm):
    alone, trained = (read_csv(made.arms[name].trained / "history.csv") for name in ("alone", "fno"))
    assert list(alone.epoch) == [1]
    assert (alone[["skill_8", "skill_16"]] == 0).all(axis=None)
    for n in (8, 16):
        skill = 1 - trained[f"validation_{n}"] / alone[f"validation_{n}"].item()
        assert trained[f"skill_{n}"].tolist() == pytest.approx(skill.tolist(), rel=1e-6)
    ladder = [{"resolution": 8, "epochs": 4}, {"resolution": 16, "epochs": 3}]
    training = {"ladder": ladder, "learning_rate": 5e-3, "snapshot_every": None}
    combined = {"kind": "combined", "scale": 20, "fno_scale": 1, "modes": [3, 2]}
    _, history = train(arm(FNO | {"modes": 4}, prior=combined, **training), 1, sets_of(), warn=lambda line: None)
    assert history.skill_8[3] > 0.03
    assert history.skill_16.iloc[-1] > 0.25


def test_a_plain_network_is_told_its_skill_where_the_law_is_given(made, mld, spec_of, tmp_path):
    spec, plain = tmp_path / "spec.json", {key: value for key, value in FNO.items() if key != "preconditioning"}
    spec.write_text(json.dumps(spec_of(plain)))
    command = ["train", spec, "--data", made.data, "--seed", 1, "-o"]
    assert mld(*command, tmp_path / "without").code == 0
    assert mld(*command, tmp_path / "with", "--gaussian", made.arms["fno"].law).code == 0
    without, told = (read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in ("without", "with"))
    skill = ["skill_8", "skill_16"]
    pd.testing.assert_frame_equal(told.drop(columns=skill), without, check_exact=True)
    assert (told[skill] < 0).all(axis=None)  # after so few steps
    models = [read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("without", "with")]
    assert_same(*models)
    assert not [key for key in models[0] if key.startswith("law/")]


@pytest.mark.parametrize("network", [FNO, UNET], ids=["fno", "unet"])
def test_the_loss_of_a_network_on_the_gaussian_is_in_units_of_that_of_the_gaussian(arm, network, monkeypatch):
    """By Monte Carlo over the training fields, whose second moments the law has."""
    scales, sets, start = [], sets_of(), Trainer.__init__
    monkeypatch.setattr(
        Trainer,
        "__init__",
        lambda self, *args, **given: scales.append(given["loss_scale"]) or start(self, *args, **given),
    )
    spec = arm(network)
    train(spec, 1, sets, warn=lambda line: None)
    law, stream, grid = gaussian(spec, sets), generator(3), Torus(8)
    u_0 = restrict(sets.fields["train"].double(), sets.grid, grid).repeat(60, 1, 1)
    t = torch.rand(len(u_0), generator=stream, dtype=torch.float64)
    eta = law.prior.sample(len(u_0), grid, stream, torch.float64)
    losses = denoising_loss(GaussianDenoiser(law), u_0, t, eta, grid)
    error = losses.std().item() / math.sqrt(len(losses))
    assert 1 / scales[0] == pytest.approx(losses.mean().item(), abs=4 * error)
    assert error < 0.02 * losses.mean()


@pytest.mark.parametrize("prior", [{"kind": "laplacian", "scale": 3}, {"kind": "fno", "modes": [3, 2]}], ids=str)
def test_a_network_is_trained_on_the_gaussian_of_a_singular_prior(arm, prior):
    model, history = train(arm(FNO, prior=prior), 1, sets_of(), warn=lambda line: None)
    assert history.filter(like="validation").notna().all(axis=None)
    assert (
        model.sample(2, resolution=17, steps=3, seed=1, sampler="gaussian-exponential", start="gaussian")
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("network", [ALONE, FNO], ids=["alone", "fno"])
@pytest.mark.parametrize("n", [8, 16, 24])
def test_nothing_is_divided_by_zero_at_the_first_moment(arm, network, n):
    """A uniform draw of t may be 0, and grids have modes without data."""
    model = untrained(arm(network), sets_of())
    u_0, grid = restrict(phases(2, "first"), Torus(NATIVE), Torus(n)) if n < NATIVE else torch.zeros(2, n, n), Torus(n)
    eta = model.prior.sample(2, grid, generator(4))
    loss = denoising_loss(model.denoiser(), u_0, torch.zeros(2), eta, grid)
    assert loss.isfinite().all()


def test_one_step_from_the_gaussian_draws_the_mean_and_the_spectrum_of_the_data(made, mld, tmp_path):
    n = 2000
    done = mld(
        *("sample", made.arms["alone"].model, "--resolution", NATIVE, "--samples", n, "--steps", 1, "--seed", 1),
        *("--sampler", "gaussian-exponential", "--start", "gaussian", "-o", tmp_path),
    )
    assert done.code == 0, done.err
    drawn, data = (
        read_tensors(tmp_path / f"values-{NATIVE}.safetensors")[0]["samples"].double(),
        phases(300, "train").double(),
    )
    error = (data.var(dim=0) / n).sqrt()
    deviation = (drawn.mean(0) - data.mean(0)) / error
    assert deviation.abs().max() < 4.5
    assert deviation.square().mean() < 1.6  # 16 × 16 numbers that are not independent
    power, expected = (
        torch.fft.rfft2(each - each.mean(0), norm="forward").abs().square().mean(0) for each in (drawn, data)
    )
    expected = expected * len(data) / (len(data) - 1)
    assert (power / expected - 1).abs().max() < 5 * math.sqrt(2 / n)


def test_the_law_of_a_mixture_is_near_its_closed_form(tiny):
    """K = I + g ⊗ g with g = ½ Q^(−½)(m_1 − m_2), the only direction in which the two components differ."""
    spec = parse(ArmSpec, tiny() | {"network": ALONE}, "tiny")
    law, grid = gaussian(spec), Torus(NATIVE)
    prior, count = law.prior, 4096
    means = GaussianMixture(prior).means(grid)
    g = prior.whiten((means[:1] - means[1:]) / 2, grid)
    assert law.side == 2 * 7 + 1
    assert (law.spectrum(Torus(32))[NATIVE // 2 : NATIVE] == 1).all()
    for n in (NATIVE // 2, NATIVE // 2 - 1):  # data drawn on a coarser grid have its Nyquist frequencies
        drawn = GaussianMixture(prior).sample(4000, Torus(n), dtype=torch.float64, seed=1)
        w = torch.fft.rfft2(prior.whiten(drawn - drawn.mean(0), Torus(n)), norm="forward").abs().square().mean(0)
        assert (w / law.spectrum(Torus(n)) - 1).abs().max() < 6 * math.sqrt(2 / 4000 + 2 / count)

    basis = torch.eye(NATIVE**2, dtype=torch.float64).unflatten(1, (NATIVE, NATIVE)) * NATIVE
    found = law.apply(lambda kappa: kappa, basis, grid).flatten(1) / NATIVE
    top = NATIVE // 2  # the law is stationary at the Nyquist frequencies
    low = torch.ones(NATIVE, NATIVE // 2 + 1)
    low[top], low[:, top] = 0, 0
    below = torch.fft.irfft2(torch.fft.rfft2(basis) * low, s=(NATIVE, NATIVE)).flatten(1) / NATIVE
    onto = torch.fft.irfft2(torch.fft.rfft2(g) * low, s=(NATIVE, NATIVE)).flatten() / NATIVE
    expected = below + onto[:, None] * onto
    off = found - expected
    off = below @ off @ below
    norm = 1 + onto.square().sum()
    assert norm > 1.5
    assert off.abs().max() < 6 * norm / math.sqrt(count)
    values, vectors = torch.linalg.eigh(below @ found @ below)
    assert values[-1] == pytest.approx(norm.item(), rel=0.1)
    assert (vectors[:, -1] @ onto).abs() / onto.norm() > 0.95
    rest = values[-(law.side**2) : -1]
    spread = math.sqrt(law.side**2 / count)  # Marchenko and Pastur
    assert rest.min() > (1 - spread) ** 2 - 0.1
    assert rest.max() < (1 + spread) ** 2 + 0.1
    error = prior.whiten((law.mean - means.mean(0))[None], grid)
    assert error.square().mean() == pytest.approx((NATIVE**2 - 1 + norm.item()) / count, rel=0.5)


def test_a_gaussian_of_another_prior_or_data_set_is_refused_in_one_line(made, mld, spec_of, tmp_path):
    other, law = tmp_path / "other.json", made.arms["fno"].law
    other.write_text(json.dumps(spec_of(FNO, prior=BESSEL | {"power": 0.7})))
    sets = sets_of()
    write_sets(tmp_path / "data.safetensors", replace(sets, target=sets.target | {"digest": "other"}), {})
    for spec, data, what in (
        (other, made.data, "prior"),
        (made.arms["fno"].spec, tmp_path / "data.safetensors", "data set"),
    ):
        refused = mld("train", spec, "--data", data, "--gaussian", law, "--seed", 1, "-o", tmp_path / "run")
        assert (
            f"{law}: a Gaussian fit of another {what} than phases/tiny; give a file of `mld gaussian`"
            in refused.refusal
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("grid", ["torus", "cell-centred"])
def test_a_law_of_the_training_grid_knows_what_the_network_saw_and_no_more(made, arm, mld, spec_of, tmp_path, grid):
    """On its grid and coarser ones it is that of the native grid, but at Nyquist; finer modes are all noise to it."""
    kind = {"torus": Torus, "cell-centred": CellCentred}[grid]
    given = spec_of(FNO, grid=grid)
    seen, native = (
        parse(ArmSpec, given | {"law": law}, "arm") for law in ({"modes": 0, "resolution": 9}, {"modes": 0})
    )
    sets = sets_of(grid=kind)
    law, whole = gaussian(seen, sets), gaussian(native, sets)
    assert law.grid == kind(9)
    inside = law.spectrum(kind(9))
    if grid == "torus":
        torch.testing.assert_close(inside[:, :-1], whole.spectrum(kind(9))[:, :-1], rtol=1e-5, atol=1e-7)
        t, eta = torch.full((3,), 0.3), build_prior(seen).sample(3, kind(16), generator(5))
        high = eta - kind(9).resample(restrict(eta, kind(16), kind(9)), kind(16))
        u_t = law.sde.noise_scale(t)[:, None, None] * high + law.sde.mean_scale(t)[:, None, None] * law.mean_on(
            kind(16), high
        )
        torch.testing.assert_close(GaussianDenoiser(law).predict_noise(u_t, t, kind(16)), high, rtol=1e-4, atol=1e-5)
        assert (GaussianDenoiser(whole).predict_noise(u_t, t, kind(16)) - high).abs().max() > 0.05 * high.abs().max()

    path, spec, trained = tmp_path / "law.safetensors", tmp_path / "spec.json", tmp_path / "trained"
    write_sets(tmp_path / "data.safetensors", sets, {})
    spec.write_text(seen.model_dump_json())
    data = ["--data", tmp_path / "data.safetensors"]
    assert mld("gaussian", spec, *data, "-o", path).code == 0
    assert mld("train", spec, *data, "--gaussian", path, "--seed", 1, "-o", trained).code == 0
    again = load(trained / "model.safetensors").law
    assert_same(law.state(), again.state())
    assert again.grid == law.grid
    spec.write_text(native.model_dump_json())
    refused = mld("train", spec, *data, "--gaussian", path, "--seed", 1, "-o", tmp_path / "other").refusal
    assert "a Gaussian fit of another prior" in refused


def test_too_few_fields_for_the_modes_asked_for_are_refused_in_one_line(made, mld, spec_of, tmp_path):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(spec_of(FNO) | {"law": {"modes": 9}}))
    refused = mld("gaussian", spec, "--data", made.data, "-o", tmp_path / "law.safetensors").refusal
    assert "modes: 9, but a grid of 16 points has 7 per direction" in refused
    counts = {"train": 200, "validation": 4, "reference": 4, "floor": 4}
    fields = {name: phases(count, name, 32) for name, count in counts.items()}
    few = FieldSets(fields, Torus(32), sets_of().target)
    write_sets(tmp_path / "few.safetensors", few, {})
    spec.write_text(json.dumps(spec_of(FNO) | {"law": {"modes": 15}, "native_resolution": 32}))
    for command in (["gaussian"], ["train", "--seed", 1]):
        refused = mld(*command, spec, "--data", tmp_path / "few.safetensors", "-o", tmp_path / "out").refusal
        assert "a full covariance of 961 modes needs more than as many training fields, and there are 200" in refused
        assert "choose modes up to 6" in refused
    assert not (tmp_path / "out").exists()


def test_data_that_are_not_those_of_the_arm_are_refused_in_one_line(made, mld, spec_of, tmp_path):
    spec = tmp_path / "spec.json"
    for changed, word in (({"native_resolution": 32}, "resolution is 16"), ({"data_set": "other"}, "name is phases")):
        spec.write_text(json.dumps(spec_of(FNO) | changed))
        assert word in mld("gaussian", spec, "--data", made.data, "-o", tmp_path / "law.safetensors").refusal
    assert (
        "--data: phases/tiny needs the data of other"
        in mld("gaussian", spec, "-o", tmp_path / "law.safetensors").refusal
    )
    assert not (tmp_path / "law.safetensors").exists()


def test_a_scale_that_is_auto_is_taken_from_the_data(made, mld, spec_of, tmp_path):
    spec, law = tmp_path / "spec.json", tmp_path / "law.safetensors"
    spec.write_text(json.dumps(spec_of(FNO, prior={"kind": "laplacian", "scale": "auto"})))
    assert mld("gaussian", spec, "--data", made.data, "-o", law).code == 0
    done = mld("train", spec, "--data", made.data, "--gaussian", law, "--seed", 1, "-o", tmp_path / "run")
    assert done.code == 0, done.err


def test_convergence_on_test_fields_has_the_floor_of_as_many_sets_as_they_make(made, mld, tmp_path):
    model, out, folder = made.arms["fno"].model, tmp_path / "x.csv", tmp_path / "tests"
    command = ["convergence", model, "--resolution", 16, "--evaluations", 2, "--reference-evaluations", 3]
    command += ["--sampler", "gaussian-exponential", "--start", "gaussian", "--projections", 9, "--seed", 1, "-o", out]
    for n in (8, 16):
        assert mld("data", "restrict", made.data, "--resolution", n, "-o", folder / f"{n}.safetensors").code == 0
    given = [*command, "--data", folder / "16.safetensors"]
    done = mld(*given, "--samples", 3)
    assert done.code == 0, done.err
    rows = read_csv(out).set_index(["sampler", "metric"])
    drawn = load(model, "cpu").sample(
        3, resolution=16, steps=2, seed=1, sampler="gaussian-exponential", start="gaussian", stage="convergence"
    )
    test = restrict(torch.cat([sets_of().fields[name] for name in ("reference", "floor")]), Torus(NATIVE), Torus(16))
    sets = [part.double().numpy() for part in (test[:3], test[3:6])]  # two of the eight fields are left over
    directions = projections(16, 9, generator(0, "projections", 16))
    expected = Reference(sets[1], directions).sliced_wasserstein(drawn.double().numpy()).value
    among = floor(lambda x, y: Reference(y, directions).sliced_wasserstein(x), sets)
    row = rows.loc["gaussian-exponential", "sliced_wasserstein"]
    assert (row.value, row.floor, row.stderr) == pytest.approx((expected, among.value, among.stderr), rel=1e-4)
    out.unlink()
    for args, word in (
        (given, "8 test fields make no two sets of 5"),
        ([*command, "--data", folder / "8.safetensors"], "another data set or grid"),
        (command, "only a mixture has an exact score"),
    ):
        assert word in mld(*args, "--samples", 5).refusal
        assert not out.exists()


def test_along_training_starts_where_it_is_told(made, mld, tmp_path):
    snapshots, data = made.arms["fno"].trained / "snapshots", tmp_path / "16.safetensors"
    assert mld("data", "restrict", made.data, "--resolution", 16, "-o", data).code == 0
    how = {"resolution": 16, "steps": 2, "sampler": "gaussian-exponential", "stage": "along-training"}
    command = ["along-training", snapshots, "--data", data, "--gain", "values", "--sampler", how["sampler"]]
    command += ["--samples", 3, "--steps", how["steps"], "--projections", 9]
    last = load(max(snapshots.iterdir()), "cpu")
    reference = Reference(
        sets_of().fields["reference"].double().numpy(), projections(16, 9, generator(0, "projections", 16))
    )
    values = {}
    for start in ("prior", "gaussian"):
        out = tmp_path / f"{start}.csv"
        done = mld(*command, "--start", start, "-o", out)
        assert done.code == 0, done.err
        drawn = last.sample(3, seed=last.seed, start=start, dtype=torch.float64, **how)
        values[start] = read_csv(out).value.iloc[-1]
        assert values[start] == pytest.approx(reference.sliced_wasserstein(drawn.numpy()).value, rel=1e-5)
    assert values["prior"] != pytest.approx(values["gaussian"], rel=1e-3)


def test_what_has_no_gaussian_does_not_start_from_one(files, mld, tmp_path):
    options = [
        "--resolution",
        8,
        "--samples",
        2,
        "--steps",
        2,
        "--seed",
        1,
        "--start",
        "gaussian",
        "-o",
        tmp_path / "out",
    ]
    for source in (files.model, files.spec):
        refused = mld("sample", source, *options).refusal
        assert "start: gaussian needs a denoiser with a Gaussian" in refused
        assert str(source) in refused
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda law: {}, "mean is missing"),
        (lambda law: law | {"variances": -law["variances"]}, "variances is not positive"),
        (lambda law: law | {"low": -law["low"]}, "low is not positive"),
        (lambda law: law | {"low": law["low"] + torch.ones(25, 25).triu(1)}, "low is not positive"),
        (lambda law: {name: values for name, values in law.items() if name != "low"}, "low is missing"),
        (lambda law: law | {"low": law["low"][:9, :9].contiguous()}, "low is float64 (9, 9), not float64 (25, 25)"),
        (lambda law: law | {"mean": law["mean"] / 0}, "mean has values that are not finite"),
        (lambda law: law | {"mean": law["mean"].float()}, "mean is float32"),
        (lambda law: law | {"cosines": law["mean"].square()}, "cosines is too much"),
    ],
)
def test_a_law_that_is_none_is_refused_alone_and_in_a_model(made, mld, tmp_path, spoil, said):
    arm, path = made.arms["fno"], tmp_path / "spoilt.safetensors"
    draw = ["--resolution", 8, "--samples", 2, "--steps", 2, "--seed", 1, "-o", tmp_path / "out"]
    train = ["train", arm.spec, "--data", made.data, "--gaussian", path, "--seed", 1, "-o", tmp_path / "out"]
    for source, prefix, command in ((arm.law, "", train), (arm.model, "law/", ["sample", path, *draw])):
        tensors, header = read_tensors(source)
        law = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
        rest = {name: values for name, values in tensors.items() if not name.startswith(prefix)}
        write_tensors(path, rest | {prefix + name: values for name, values in spoil(law).items()}, header)
        line = mld(*command).refusal
        assert line.startswith(f"mld: {path}: its law is")
        assert said in line
        assert not (tmp_path / "out").exists()


def test_a_model_of_before_its_modes_were_noted_is_read(made, tmp_path):
    tensors, header = read_tensors(made.arms["fno"].model)
    write_tensors(tmp_path / "model", tensors, {key: value for key, value in header.items() if key != "modes"})
    assert read_model(tmp_path / "model", torch.device("cpu")).law.side == 5


def test_the_gain_of_the_arm_does_not_matter_to_what_stands_on_the_gaussian(made):
    model = read_model(made.arms["fno"].model, torch.device("cpu"))
    u, t = torch.randn(2, 24, 24, generator=generator(5)), torch.tensor([0.1, 0.8])
    assert torch.equal(*(model.denoiser(gain).predict_noise(u, t, Torus(24)) for gain in Gain))
