"""Objects from settings, what `auto` means, warnings about priors, and model files."""

import pytest
import torch
import yaml

from multilevel_diffusion import builders
from multilevel_diffusion.builders import (
    NOISE_TO_DATA,
    build,
    build_grid,
    build_network,
    build_prior,
    misfits,
    resolved,
)
from multilevel_diffusion.data.mnist import FILES, fetch, mnist_sets
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.grids import Torus
from multilevel_diffusion.models import read_model
from multilevel_diffusion.priors import Bessel
from multilevel_diffusion.settings import ArmSpec, Settings, parse
from multilevel_diffusion.storage import read_tensors, write_tensors

COMBINED = {"kind": "combined", "fno_scale": 0.5, "modes": [6, 4]}
CPU = torch.device("cpu")


def variance(fields):
    """E‖X − EX‖²."""
    return (fields - fields.mean(0)).double().square().mean().item()


@pytest.fixture(scope="module")
def spec(tiny):
    """An arm on a file of fields of 16 points per side, under a prior."""

    def make(prior, **changes):
        arm = tiny() | {"kind": "fields", "data_set": "bumps", "validation": {"resolutions": [8]}, "prior": prior}
        return parse(ArmSpec, arm | changes, "spec")

    return make


@pytest.fixture(scope="module")
def fields():
    """Smooth fields of standard deviation 3 around a mean of 1."""
    drawn = Bessel(16, 8.0, 1.0).sample(200, Torus(16), seed=1)
    return 1 + 3 * drawn / drawn.std()


@pytest.fixture(scope="module")
def digits(root):
    """The digits that the tests have, on 64 points per side."""
    preset = yaml.safe_load((root / "workflow" / "presets" / "smoke.yaml").read_text())
    known = preset["experiments"]["mnist"]["data"]["sha256"]
    found = fetch([str(root / "tests" / "mnist")], known, said=lambda line: None)
    assert set(found) == set(FILES)
    sets = mnist_sets(found, 64, {"train": 160, "validation": 20, "test": 60}, {"name": "digits"})
    return sets.fields["train"]


@pytest.mark.parametrize("prior", [{"kind": "laplacian"}, COMBINED])
def test_auto_makes_the_noise_so_many_times_the_variance_of_the_data(spec, fields, prior):
    for amplitude in (1, 100):
        found = resolved(spec(prior | {"scale": "auto"}), amplitude * fields)
        ratio = build_prior(found).trace(Torus(16)) / variance(amplitude * fields)
        assert ratio == pytest.approx(NOISE_TO_DATA, rel=1e-3)


def test_auto_is_refused_where_no_file_could_have_the_scale(spec, fields):
    for amplitude in (1e6, 1e-9):
        with pytest.raises(UserError, match="divide the fields by their standard deviation"):
            resolved(spec({"kind": "laplacian", "scale": "auto"}), amplitude * fields)


def test_auto_is_refused_for_fields_that_are_all_alike(spec, fields):
    with pytest.raises(UserError, match="for fields that vary"):
        resolved(spec({"kind": "laplacian", "scale": "auto"}), torch.ones_like(fields))


def test_auto_does_not_see_the_mean_of_the_data(spec, fields):
    auto = spec(COMBINED | {"scale": "auto"})
    assert resolved(auto, fields + 5).prior.scale == pytest.approx(resolved(auto, fields).prior.scale, rel=1e-3)


def test_auto_is_in_proportion_to_the_data_under_the_laplacian(spec, fields):
    auto = spec({"kind": "laplacian", "scale": "auto"})
    once, twice = (resolved(auto, amplitude * fields).prior.scale for amplitude in (1, 2))
    assert twice == pytest.approx(2 * once, rel=1e-3)


def test_the_ratio_of_auto_is_that_of_the_papers_prior_on_the_digits(spec, digits):
    paper = spec({"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": [32, 16]}, native_resolution=64)
    ratio = build_prior(paper).trace(Torus(64)) / variance(digits)
    assert ratio == pytest.approx(NOISE_TO_DATA, rel=0.05)


@pytest.mark.parametrize("prior", [{"kind": "laplacian", "scale": 3}, {"kind": "standard"}])
def test_a_prior_with_its_number_stays_as_it_is(spec, fields, prior):
    assert resolved(spec(prior), fields) == spec(prior)


@pytest.mark.parametrize("prior", [{"kind": "laplacian"}, COMBINED])
def test_auto_refuses_data_that_do_not_vary_in_one_line(spec, prior):
    with pytest.raises(UserError) as refused:
        resolved(spec(prior | {"scale": "auto"}), torch.ones(5, 16, 16))
    assert "prior.scale: auto" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_auto_refuses_a_prior_with_more_noise_already(spec, fields):
    with pytest.raises(UserError, match="lower fno_scale"):
        resolved(spec(COMBINED | {"scale": "auto", "fno_scale": 1000}), fields)


def test_a_prior_that_is_auto_is_not_built_before_the_data_are_known(spec):
    with pytest.raises(UserError, match="auto is known when the data are"):
        build_prior(spec({"kind": "laplacian", "scale": "auto"}))


def warnings(spec, fields):
    return misfits(spec, build_prior(spec), fields)


def test_a_prior_with_too_little_noise_is_told_of(spec, fields):
    (line,) = warnings(spec({"kind": "bessel", "shift": 8, "power": 0.55}), 100 * fields)
    assert "at t = 1 the data are still" in line
    assert "scale: auto" in line


def test_a_prior_that_leaves_a_part_of_the_data_without_noise_is_told_of(spec, fields):
    """The laplacian has no noise in the mean of a field, which varies here; where it does not vary it need not be learned."""
    mean = torch.linspace(-3, 3, 200)[:, None, None]
    (line,) = warnings(spec({"kind": "laplacian", "scale": 400}), fields + mean)
    assert "modes that the prior leaves without noise" in line
    centred = fields - fields.mean((1, 2), keepdim=True)
    assert not warnings(spec({"kind": "laplacian", "scale": 400}), centred + 1)


@pytest.mark.parametrize("prior", [{"kind": "laplacian"}, COMBINED])
def test_no_warning_is_of_noise_that_auto_has_chosen(spec, fields, prior):
    centred = fields - fields.mean((1, 2), keepdim=True)
    assert not warnings(resolved(spec(prior | {"scale": "auto"}), centred), centred)


def test_fields_of_the_other_geometry_are_told_of(spec):
    """Smooth fields on a torus, and what is seen of such fields between walls: a quarter of a finer grid."""
    prior = {"kind": "bessel", "shift": 8, "power": 1.5}
    torus = Bessel(16, 8.0, 1.5).sample(64, Torus(32), seed=1)
    for drawn, grid, other, word in (
        (torus[:, ::2, ::2], "torus", "cell-centred", "is the grid a torus?"),
        (torus[:, :16, :16], "cell-centred", "torus", "is the grid cell-centred?"),
    ):
        centred = drawn - drawn.mean((1, 2), keepdim=True)
        assert not [line for line in warnings(spec(prior, grid=grid), centred) if "grid" in line]
        (line,) = (line for line in warnings(spec(prior, grid=other), centred) if "grid" in line)
        assert word in line


def test_the_papers_combined_prior_suits_the_digits(spec, digits):
    prior = {"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": [32, 16]}
    assert not warnings(spec(prior, native_resolution=64), digits)


def test_paired_arms_start_from_the_same_weights(spec):
    first, second = (build_network(spec({"kind": "standard"}, arm=arm, paired=True), 3) for arm in "ab")
    other = build_network(spec({"kind": "standard"}, arm="b"), 3)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_grid_that_the_network_does_not_take_is_refused(spec):
    unet = {"kind": "unet", "channels": [4, 4], "blocks": 1, "groups": 4}
    assert build_grid(spec({"kind": "standard"}, network=unet), 8).resolution == 8
    with pytest.raises(UserError, match="multiples of 2"):
        build_grid(spec({"kind": "standard"}, network=unet), 9)


def test_settings_that_nothing_builds_are_refused_by_name():
    with pytest.raises(UserError, match="Settings: nothing builds it"):
        build(Settings())


@pytest.fixture
def changed(files, tmp_path):
    """The model of the tiny arm, its tensors and header changed."""

    def change(tensors=lambda all: all, header=lambda all: all):
        old, facts = read_tensors(files.model)
        path = tmp_path / "model.safetensors"
        write_tensors(path, tensors(old), header(facts))
        return path

    return change


def without(key):
    return lambda all: {name: value for name, value in all.items() if name != key}


@pytest.mark.parametrize(
    ("tensors", "header", "said"),
    [
        (lambda all: without(next(key for key in all if key.startswith("network/")))(all), None, "its network is not"),
        (lambda all: all | {"network/extra": torch.ones(2)}, None, "its network is not"),
        (without("prior/weights"), None, "its prior is not"),
        (lambda all: all | {"prior/weights": torch.ones(2, 2)}, None, "its prior is not"),
        (
            lambda all: {key: value for key, value in all.items() if key.startswith("prior/")},
            None,
            "its network is not",
        ),
        (None, without("spec"), "header: spec: Field required; give a model.safetensors"),
        (
            None,
            lambda all: all | {"spec": {**all["spec"], "grid": "cell-centred"}},
            "data of kind mixture lie on torus",
        ),
        (None, lambda all: all | {"spec": {**all["spec"], "prior_seed": 2}}, "target: not the target of"),
        (None, without("seed"), "header: seed: Field required"),
        (None, lambda all: all | {"spec": {**all["spec"], "arm": "No Name"}}, "arm"),
        (
            None,
            lambda all: all | {"spec": {**all["spec"], "network": {**all["spec"]["network"], "width": 8}}},
            "its network is not what its settings say (lift.weight is float32 (4, 4), not float32 (8, 4))",
        ),
        (
            None,
            lambda all: all | {"spec": {**all["spec"], "prior": {"kind": "standard"}}},
            "target: not the target of",
        ),
        (lambda all: all | {"prior/weights": -all["prior/weights"]}, None, "not the one that its prior_seed draws"),
        (lambda all: {k: v * torch.nan if k.startswith("network/") else v for k, v in all.items()}, None, "not finite"),
        (lambda all: {k: v.double() if k.startswith("network/") else v for k, v in all.items()}, None, "is float64"),
        (lambda all: all | {"extra": torch.ones(2)}, None, "a tensor extra, which no model has"),
        (None, lambda all: all | {"spec": {**all["spec"], "prior": {"kind": "matern"}}}, "mld --plugin FILE"),
    ],
)
def test_a_model_file_that_is_not_that_of_its_settings_is_refused_in_one_line(changed, tensors, header, said):
    path = changed(**{name: f for name, f in {"tensors": tensors, "header": header}.items() if f})
    with pytest.raises(UserError) as refused:
        read_model(path, CPU)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert said in line
    assert len(line.splitlines()) == 1


def test_a_model_file_of_before_is_read(changed, files):
    """Names and layout of version 0.1, when neuraloperator's layers held the weights."""
    now = read_model(files.model, CPU).network.state_dict()
    old = {"lift.": "lift.fcs.0.", "head.": "head.fcs."}
    old |= {f"pointwise.{i}.": f"pointwise.{i}.fcs.0." for i in range(4)}
    old |= {f"spectral.{i}.weight": f"spectral.{i}.weight.tensor" for i in range(4)}

    def as_before(name, values):
        (begins,) = (each for each in old if name.startswith(f"network/{each}"))
        complex_ = begins.startswith("spectral.")
        return name.replace(begins, old[begins], 1), torch.complex(*values).permute(2, 3, 0, 1) if complex_ else values

    path = changed(
        tensors=lambda all: dict(as_before(k, v) if k.startswith("network/") else (k, v) for k, v in all.items())
    )
    assert not now.keys() & {name.removeprefix("network/") for name in read_tensors(path)[0]}
    for name, value in read_model(path, CPU).network.state_dict().items():
        assert torch.equal(value, now[name])


def test_a_model_file_gives_back_its_model(files):
    tensors, header = read_tensors(files.model)
    model = read_model(files.model, CPU)
    assert model.settings.model_dump(mode="json") == header["spec"]
    assert torch.equal(torch.view_as_real(model.prior.weights), tensors["prior/weights"])
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, tensors[f"network/{name}"])


def test_a_u_net_without_diffusers_is_told_what_to_install(tiny, monkeypatch):
    monkeypatch.setattr(builders, "find_spec", lambda name: None)
    network = {"kind": "unet", "channels": [4, 8], "blocks": 1, "groups": 2}
    with pytest.raises(UserError, match=r"pip install 'multilevel-diffusion\[unet\]'"):
        build_network(parse(ArmSpec, tiny() | {"network": network}, "spec"), seed=1)
