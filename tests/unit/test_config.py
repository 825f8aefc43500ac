import itertools
import json
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from multilevel_diffusion.errors import UserError
from multilevel_diffusion.settings import (
    ArmSpec,
    PriorSettings,
    arm_spec,
    distinct_gains,
    load_config,
    merge,
    parse,
    parse_sampler,
    tuned,
)

ARM = "experiments.mixture.arms.fno-combined"


def nested(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.fixture
def load(root):
    def read(overrides, file=root / "config.yaml", **kwargs):
        return load_config([file], overrides, root / "workflow" / "presets", **kwargs)

    return read


@pytest.fixture
def refusal(load):
    """The one line with which settings are refused, those of an experiment when it is asked for."""

    def read(overrides, **kwargs):
        if experiments := overrides.get("experiments"):
            kwargs |= {"only": list(experiments)}
        with pytest.raises(UserError) as refused:
            load(overrides, **kwargs)
        line = str(refused.value)
        assert len(line.splitlines()) == 1
        return line

    return read


@pytest.mark.parametrize("preset", ["smoke", "laptop", "study", "paper"])
def test_a_preset_resolves_and_its_arms_survive_json(load, preset):
    config = load({"preset": preset})
    assert config.preset == preset
    assert not config.broken
    for experiment, settings in config.experiments.items():
        for arm in settings.arms:
            spec = arm_spec(config, experiment, arm)
            assert parse(ArmSpec, json.loads(spec.model_dump_json()), source="spec.json") == spec


def test_the_paper_preset_changes_nothing_in_config_yaml(root):
    assert yaml.safe_load((root / "workflow" / "presets" / "paper.yaml").read_text()) == {"preset": "paper"}


def test_config_yaml_holds_the_papers_numbers(load):
    mixture = load({"preset": "paper"}).experiments["mixture"]
    training, prior = mixture.training, mixture.arms["fno-combined"].prior
    assert [(level.resolution, level.epochs) for level in training.ladder] == [(32, 100)]
    assert (training.steps_per_epoch, training.batch_size) == (10, 128)
    assert (training.learning_rate, training.weight_decay) == (6e-4, 1e-4)
    assert (training.schedule, training.averaging, training.snapshot_every) == ("constant", 0, 1)
    assert len(set(mixture.seeds)) == 3
    assert mixture.native_resolution == 64
    assert mixture.gains == ("values", "coefficients")
    assert mixture.arms["fno-combined"].network.model_dump() == {
        "kind": "fno",
        "width": 32,
        "layers": 4,
        "modes": 14,
        "head": 128,
        "preconditioning": "none",
    }
    assert (prior.kind, prior.scale, prior.fno_scale, prior.modes) == ("combined", 10, 0.5, (14, 7))
    assert {32, 64} <= set(mixture.score_error.resolutions)
    assert (mixture.score_error.batches, mixture.score_error.batch_size) == (50, 300)
    assert mixture.sampling.steps == 1000
    assert mixture.sampling.resolutions == (32, 50, 64)


def test_the_paper_preset_has_the_settings_of_section_5_2(load):
    mnist = load({"preset": "paper"}).experiments["mnist"]
    training, arms = mnist.training, {name: arm for name, arm in mnist.arms.items() if not arm.network.has_law}
    priors = {name: arm.prior.model_dump() for name, arm in arms.items()}
    assert [(level.resolution, level.epochs) for level in training.ladder] == [(32, 200)]
    assert (training.batch_size, training.learning_rate, training.weight_decay) == (128, 6e-4, 1e-4)
    assert (training.schedule, training.averaging, training.steps_per_epoch) == ("constant", 0, None)
    assert (mnist.data.train, mnist.data.validation, mnist.data.test) == (55_000, 5_000, 10_000)
    assert priors == {
        "unet-standard": {"kind": "standard"},
        "fno-standard": {"kind": "standard"},
        "fno-fno": {"kind": "fno", "modes": (32, 16)},
        "fno-laplacian": {"kind": "laplacian", "scale": 20},
        "fno-bessel": {"kind": "bessel", "shift": 8, "power": 0.55},
        "fno-combined": {"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": (32, 16)},
    }
    assert mnist.sampling.resolutions == (32, 50, 64)
    assert (mnist.sampling.samples, mnist.sampling.steps) == (10_000, 200)
    assert (training.snapshot_every, mnist.along_training.resolution) == (10, 64)
    assert (mnist.along_training.samples, mnist.along_training.steps) == (2_000, 200)
    assert len(mnist.seeds) == 3


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("figurs", "figures"),
        ("experiments.mixture.sampling.setps", "steps"),
        ("experiments.mixture.trainig", "training"),
        ("experiments.mixture.training.learning_rat", "learning_rate"),
        ("experiments.mixture.score_error.batchsize", "batch_size"),
        (f"{ARM}.prior.fnoscale", "fno_scale"),
        (f"{ARM}.network.widht", "width"),
    ],
)
def test_a_misspelt_key_is_refused_by_name(refusal, path, known):
    key = path.rpartition(".")[2]
    line = refusal(nested(path, 1))
    assert f"'{key}'" in line
    assert f"did you mean '{known}'?" in line


@pytest.mark.parametrize("resolution", [0, 1, -32, 33.5, "32", "many", True, None])
@pytest.mark.parametrize("where", ["sampling.resolutions", "score_error.resolutions"])
def test_a_resolution_is_an_integer_of_at_least_three(refusal, where, resolution):
    line = refusal(nested(f"experiments.mixture.{where}", [32, resolution]))
    assert f"experiments.mixture.{where}.1" in line
    assert repr(resolution) in line


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("experiments.mixture.training.ladder", [{"resolution": 0, "epochs": 1}], ["ladder.0.resolution", "got 0"]),
        ("experiments.mixture.training.ladder", [{"resolution": 33.5, "epochs": 1}], ["ladder.0.resolution", "33.5"]),
        ("experiments.mixture.training.ladder", [], ["experiments.mixture.training.ladder"]),
        ("experiments.mixture.training.ladder", [{"resolution": 32, "epochs": 0}], ["ladder.0.epochs", "got 0"]),
        ("experiments.mixture.training.ladder", [{"resolution": 32}], ["level at 32 needs either epochs or steps"]),
        (
            "experiments.mixture.training.ladder",
            [{"resolution": 32, "epochs": 1, "steps": 1}],
            ["either epochs or steps"],
        ),
        (
            "experiments.mixture.training.ladder",
            [{"resolution": 32, "steps": 1, "batch_size": 0}],
            ["ladder.0.batch_size", "got 0"],
        ),
        ("experiments.mixture.training.steps_per_epoch", None, ["training.steps_per_epoch", "give a number"]),
        (
            "experiments.mixture.training.ladder",
            [{"resolution": 32, "epochs": 1}, {"resolution": 16, "epochs": 1}],
            ["experiments.mixture.training", "ladder must increase", "[32, 16]"],
        ),
        (
            "experiments.mixture.training.ladder",
            [{"resolution": 16, "epochs": 1}, {"resolution": 16, "epochs": 1}],
            ["ladder must increase", "[16, 16]"],
        ),
        (
            "experiments.mixture.training.ladder",
            [{"resolution": 128, "epochs": 1}],
            ["ladder", "128", "native_resolution 64"],
        ),
        (
            "experiments.mixture.training.learning_rate",
            -6e-4,
            ["experiments.mixture.training.learning_rate", "-0.0006"],
        ),
        ("experiments.mixture.training.learning_rate", 0, ["experiments.mixture.training.learning_rate"]),
        (
            "experiments.mixture.training.learning_rate",
            float("nan"),
            ["experiments.mixture.training.learning_rate", "nan"],
        ),
        (
            "experiments.mixture.training.learning_rate",
            float("inf"),
            ["experiments.mixture.training.learning_rate", "inf"],
        ),
        (
            "experiments.mixture.training.weight_decay",
            float("nan"),
            ["experiments.mixture.training.weight_decay", "nan"],
        ),
        ("experiments.mixture.training.averaging", 1.0, ["experiments.mixture.training.averaging", "1.0"]),
        ("experiments.mixture.training.averaging", float("nan"), ["experiments.mixture.training.averaging", "nan"]),
        (
            "experiments.mixture.training.schedule",
            "cosine",
            ["experiments.mixture.training.schedule", "one-cycle", "'cosine'"],
        ),
        ("experiments.mixture.training.batch_size", 0, ["experiments.mixture.training.batch_size", "got 0"]),
        (
            "experiments.mixture.sampling.sampler",
            "leapfrog",
            ["experiments.mixture.sampling.sampler", "'leapfrog'", "'heun'"],
        ),
        (
            "experiments.mixture.sampling.sampler",
            {"kind": "ancestral", "stochasticity": 1.1},
            ["experiments.mixture.sampling.sampler.stochasticity", "1.1"],
        ),
        (
            "experiments.mixture.sampling.sampler",
            {"kind": "heun", "tmies": "karras"},
            ["tmies", "did you mean 'times'?"],
        ),
        ("experiments.mixture.sampling.steps", 0, ["experiments.mixture.sampling.steps", "got 0"]),
        (
            "experiments.mixture.convergence.samplers",
            ["heun", "heun"],
            ["experiments.mixture.convergence.samplers", "twice"],
        ),
        (
            "experiments.mixture.convergence.evaluations",
            [0],
            ["experiments.mixture.convergence.evaluations.0", "got 0"],
        ),
        ("experiments.mixture.log_density.drawn_on", 64, ["experiments.mixture.log_density", "64", "drawn_on 64"]),
        (
            "experiments.mixture.truncation.drawn_on",
            128,
            ["experiments.mixture.truncation", "drawn_on 128 must be finer than resolution 128"],
        ),
        (
            "experiments.mixture.truncation.resolutions",
            [16],
            ["experiments.mixture.truncation.resolutions", "at least 2"],
        ),
        ("experiments.mixture.convergence.networks", 5, ["mixture: convergence.networks", "5 asked for", "3 seeds"]),
        ("experiments.mixture.sampling.sampler", {"kind": "ancestral", "stochasticity": "1"}, ["stochasticity", "'1'"]),
        ("experiments.mixture.seeds", [], ["experiments.mixture.seeds", "got []"]),
        ("experiments.mixture.seeds", [1, -1], ["experiments.mixture.seeds.1", "-1"]),
        ("experiments.mixture.seeds", [1, 1], ["experiments.mixture.seeds", "1"]),
        ("experiments.mixture.sampling.resolutions", [32, 32], ["experiments.mixture.sampling.resolutions", "32"]),
        ("experiments.mixture.gains", ["nonsense"], ["experiments.mixture.gains.0", "coefficients", "'nonsense'"]),
        ("experiments.mixture.arms", {"Not_A_Name": {}}, ["experiments.mixture.arms.Not_A_Name"]),
        (f"{ARM}.prior.kind", "fractal", ["arms.fno-combined.prior", "fractal", "combined"]),
        (f"{ARM}.prior.modes", [14], ["arms.fno-combined.prior", "modes"]),
        ("experiments.mixture.training", 3, ["experiments.mixture.training", "got 3"]),
        ("experiments.mixture.grid", "cell-centred", ["experiments.mixture: grid", "torus"]),
        ("experiments.reaction-diffusion.grid", "torus", ["experiments.reaction-diffusion: grid", "cell-centred"]),
        ("experiments.reaction-diffusion.data.train", 99_991, ["train + validation", "test trajectories"]),
        (
            "experiments.reaction-diffusion.data",
            {"file": "published.h5", "laplacian": "spectral"},
            ["laplacian", "published file is of the finite-volume one"],
        ),
        ("experiments.reaction-diffusion.sampling.samples", 991, ["sampling.samples: 991", "data.test has only"]),
        ("experiments.mnist.data.test", 2, ["sampling.samples", "data.test has only 2"]),
        ("experiments.mnist.along_training.samples", 10_001, ["along_training.samples: 10001", "data.test has only"]),
        (
            "experiments.mnist.training.snapshot_every",
            None,
            ["training.snapshot_every: along_training needs snapshots"],
        ),
        (
            "experiments.mnist.validation.resolutions",
            [64],
            ["validation.resolutions: 32, where the ladder of unet-standard ends"],
        ),
        ("experiments.mnist.validation.resolutions", [32, 128], ["validation.resolutions: above native_resolution 64"]),
        ("experiments.mnist.sampling.resolutions", [32, 51], ["the network of unet-standard needs multiples of 2"]),
        (
            "experiments.mnist.arms.unet-standard.training.ladder",
            [{"resolution": 31, "epochs": 1}],
            ["unet-standard", "31"],
        ),
        (
            "experiments.mnist.arms.unet-standard.network.channels",
            [32, 12],
            ["unet-standard.network", "12 channels do not fall"],
        ),
        ("experiments.mnist.arms.unet-standard.network.channels", [2, 64], ["unet-standard.network", "channels.0"]),
        (
            "experiments.mnist.arms.fno-fno.training.ladder",
            [{"resolution": 65, "epochs": 1}],
            ["fno-fno ends at 65", "native_resolution 64"],
        ),
        ("experiments.mnist.data.sources", [], ["experiments.mnist.data.sources"]),
        (
            "experiments.warm-start.data_set",
            "mixture",
            ["warm-start: data_set: 'mixture' is not an experiment with a file of data"],
        ),
        (
            "experiments.warm-start.native_resolution",
            128,
            ["warm-start: grid and native_resolution must be as in mnist"],
        ),
        ("experiments.warm-start.validation.test", 10_001, ["warm-start: validation.test: 10001"]),
        (
            "experiments.mnist.along_training.resolution",
            51,
            ["along_training.resolution: the network of unet-standard"],
        ),
        ("experiments.mnist.validation.test", 10_001, ["validation.test: 10001"]),
        ("experiments.mnist.data.sha256", {"train-images-idx3": "0" * 64}, ["sha256.train-images-idx3"]),
        (
            "experiments.warm-start.arms.warm.training.ladder",
            [{"resolution": 32, "epochs": 1}],
            ["32, where the ladder of warm ends"],
        ),
        ("experiments.warm-start.arms.warm.gain", "none", ["experiments.warm-start.arms.warm.gain", "'none'"]),
        (
            f"{ARM}-gaussian.gain",
            "coefficients",
            ["arms.fno-combined-gaussian.gain", "one scale on every grid; leave it out"],
        ),
        (f"{ARM}.sampling", {"start": "gaussian"}, ["arms.fno-combined: start: gaussian needs preconditioning"]),
        (
            "experiments.mixture.conditioning",
            {"sampler": "euler-maruyama"},
            [
                "conditioning: sampler: euler-maruyama does not end with the data prediction, and would miss observed.coarse"
            ],
        ),
        (f"{ARM}.sampling", {"start": "posterior"}, ["arms.fno-combined.sampling.start", "gaussian"]),
        (f"{ARM}.sampling", {"setps": 3}, ["arms.fno-combined.sampling", "did you mean 'steps'?"]),
        (f"{ARM}.sampling", {"steps": 0}, ["arms.fno-combined.sampling.steps"]),
        (f"{ARM}.sampling", {"resolutions": [32]}, ["arms.fno-combined.sampling", "belong to the experiment"]),
        (f"{ARM}.sampling", {"samples": 3}, ["arms.fno-combined.sampling", "belong to the experiment"]),
        ("experiments.mixture.sampling.start", "gaussian", ["arms.fno-combined: start: gaussian needs"]),
        (f"{ARM}.network.preconditioning", "normal", ["fno-combined.network.preconditioning", "'normal'"]),
        (f"{ARM}.network", {"kind": "gaussian", "width": 8}, ["fno-combined.network", "unknown key 'width'"]),
        (f"{ARM}.law", {"modes": 3}, ["arms.fno-combined", "unknown key 'law'"]),
        ("experiments.mixture.law.modes", -1, ["experiments.mixture.law.modes", "-1"]),
        ("experiments.mixture.law.resolution", 65, ["experiments.mixture", "law.resolution: 65 is finer", "64"]),
        ("experiments.mixture.law.modes", 1.5, ["experiments.mixture.law.modes", "1.5"]),
        ("experiments.mixture.law.modes", "all", ["experiments.mixture.law.modes", "'all'"]),
        (
            "experiments.mixture.sampling.sampler",
            {"kind": "gaussian-exponential", "stochasticity": 0.5},
            ["experiments.mixture.sampling.sampler.stochasticity", "0.5"],
        ),
        ("experiments.mnist.data.sources", ["a\nb"], ["experiments.mnist.data.sources.0"]),
        ("experiments.mnist.data.sources", [""], ["experiments.mnist.data.sources.0"]),
        ("experiments.mnist.data.sha256", {"train-images-idx3-ubyte": "abc"}, ["train-images-idx3-ubyte", "abc"]),
        ("claims.seeds", 1, ["claims.seeds"]),
        ("claims.rows.u-net-degrades.quantity.of.arm", "unet", ["u-net-degrades", "there is no arm 'mnist/unet'"]),
        (
            "claims.rows.digits-transfer.each.arm",
            ["fno"],
            ["digits-transfer fno values", "there is no arm 'mnist/fno'"],
        ),
        ("claims.rows.digits-transfer.statement", "it {does}", ["digits-transfer", "statement", "'does'"]),
        ("claims.confidence", 1.0, ["claims.confidence"]),
        ("claims.rows.score-transfers.at_least", 1.0, ["score-transfers", "one of at_most, at_least and within"]),
        ("claims.rows.score-transfers.quantity.table", "fig1", ["score-transfers", "no table 'fig1'"]),
        ("claims.rows.truncation-rate.quantity.of.metric", "truncation_rate2", ["there is no 'truncation_rate2'"]),
        ("figures.samplers.arms", ["fno-combined", "gaussian"], ["figures.samplers: arms", "of one arm"]),
        ("tables.samplers.arms", ["fno-combined", "gaussian"], ["tables.samplers: arms", "of one arm"]),
        ("results", "", ["results"]),
        ("results", "-n", ["results", "at its start"]),
        ("results", "{x}", ["results", "braces"]),
        ("results", "$SCRATCH/x", ["results", "no braces, $"]),
        ("max_threads", 0, ["max_threads"]),
    ],
)
def test_a_senseless_value_is_refused_in_one_line(refusal, path, value, words):
    line = refusal(nested(path, value))
    for word in words:
        assert word in line


def test_a_sampler_is_its_kind_or_a_mapping_with_its_options(load):
    for written, kind in (("heun", "heun"), ({"kind": "ancestral", "stochasticity": 0}, "ancestral")):
        assert (
            load(nested("experiments.mixture.sampling.sampler", written)).experiments["mixture"].sampling.sampler.kind
            == kind
        )


@pytest.mark.parametrize("preset", ["smoke", "laptop", "study", "paper"])
def test_a_sampler_survives_the_command_line(load, preset):
    for sampler in load({"preset": preset}).experiments["mixture"].convergence.samplers:
        assert parse_sampler(sampler.model_dump_json(exclude_defaults=True), "--sampler") == sampler


def test_the_paper_samples_by_euler_maruyama_and_the_laptop_within_twenty_evaluations(load):
    paper, laptop = (load({"preset": preset}).experiments["mixture"].sampling for preset in ("paper", "laptop"))
    assert (str(paper.sampler), paper.steps) == ("euler-maruyama", 1000)
    assert laptop.steps <= 20


def test_several_mistakes_are_counted(refusal):
    assert "(and 1 more)" in refusal({"experiments": {"mixture": {"seeds": [], "gains": []}}})


def test_a_missing_key_is_named(load, tmp_path, root):
    settings = yaml.safe_load((root / "config.yaml").read_text())
    del settings["experiments"]["mixture"]["native_resolution"]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"mixture\.native_resolution: .*required"):
        load({}, file=file, only=["mixture"])


def test_tuned_is_what_is_trained_otherwise_and_not_what_is_looked_at_otherwise(load):
    paper, study, laptop = (load({"preset": name}) for name in ("paper", "study", "laptop"))
    assert not tuned(study, paper, "mixture", "fno-combined")  # which keeps fewer snapshots
    assert tuned(study, paper, "mixture", "fno-combined-gaussian")
    assert tuned(laptop, paper, "mixture", "fno-combined")
    assert not tuned(laptop, paper, "mixture", "an-arm-of-ones-own")


def test_an_unknown_preset_is_refused_with_the_known_ones(refusal):
    line = refusal({"preset": "desktop"})
    for word in ["'desktop'", "laptop", "paper", "smoke"]:
        assert word in line


@pytest.mark.parametrize(
    "content", [b"mixture: [1, 2", b"a: b: c\n\nd: e", b"\tx", b"- 1\n- 2\n", b"preset: \xff\xfe\n", b"just words"]
)
def test_a_file_that_is_not_settings_is_refused_by_name(refusal, tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    assert str(file) in refusal({}, file=file)


def test_a_missing_config_file_is_refused_by_name(refusal, tmp_path):
    assert "nowhere.yaml: no such file" in refusal({}, file=tmp_path / "nowhere.yaml")


def test_the_preset_lies_on_the_file_and_overrides_on_both(load):
    def steps(overrides):
        return load(overrides).experiments["mixture"].sampling.steps

    assert steps({"preset": "paper"}) == 1000
    assert steps({"preset": "smoke"}) == 4
    assert steps({"preset": "smoke"} | nested("experiments.mixture.sampling.steps", 5)) == 5


def test_later_files_lie_on_earlier_ones(root, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("preset: paper\nexperiments: {mixture: {sampling: {steps: 7}}}\n")
    sampling = (
        load_config([root / "config.yaml", overlay], {}, root / "workflow" / "presets").experiments["mixture"].sampling
    )
    assert (sampling.steps, sampling.samples) == (7, 1000)


def test_merge_replaces_leaves_and_whole_lists_and_leaves_its_arguments_alone():
    base = {"a": {"b": 1, "c": [1, 2, 3]}, "d": 4, "e": {"f": 5}}
    overlay = {"a": {"c": [9]}, "d": {"g": 6}, "e": None, "h": 7}
    assert merge(base, overlay) == {"a": {"b": 1, "c": [9]}, "d": {"g": 6}, "e": None, "h": 7}
    assert base == {"a": {"b": 1, "c": [1, 2, 3]}, "d": 4, "e": {"f": 5}}
    assert overlay == {"a": {"c": [9]}, "d": {"g": 6}, "e": None, "h": 7}


def test_a_mapping_that_names_its_kind_replaces_the_one_below_it():
    base = {"network": {"kind": "unet", "channels": [32], "groups": 32}}
    assert merge(base, {"network": {"groups": 8}})["network"] == {"kind": "unet", "channels": [32], "groups": 8}
    assert merge(base, {"network": {"kind": "fno", "width": 8}})["network"] == {"kind": "fno", "width": 8}


def test_settings_are_frozen(load):
    with pytest.raises(ValidationError, match="frozen"):
        load({}).experiments["mixture"].training.batch_size = 1


@pytest.mark.parametrize(("experiment", "arm"), [("mixture", "unet"), ("preset", "fno-combined"), ("nothing", "")])
def test_an_unknown_arm_is_refused_with_the_known_ones(load, experiment, arm):
    with pytest.raises(UserError, match=f"'{experiment}/{arm}'.*mixture/fno-combined"):
        arm_spec(load({}), experiment, arm)


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_constraints_pin_every_dependency_within_its_bounds(root, project):
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    pins = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pinned}
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        if requirement.name != project["name"]:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_conda_file_asks_for_what_pyproject_asks_for(root, project):
    environments = list((root / "envs").glob("*.yaml"))
    assert environments
    for file in environments:
        *conda, pip = yaml.safe_load(file.read_text())["dependencies"]
        assert conda == [f"python {project['requires-python']}", "pip"]
        package, *others = pip["pip"]
        assert package == "-e ${MULTILEVEL_DIFFUSION}[workflow]"  # which the Snakefile sets
        extras = project["optional-dependencies"]
        _, *workflow = extras["workflow"]
        assert others == [*project["dependencies"], *extras["bench"], *extras["unet"], *workflow]


def test_an_experiment_that_is_asked_for_and_missing_is_refused_with_the_known_ones(load):
    with pytest.raises(UserError, match="no experiment 'mixtures'; there are mixture, mnist"):
        load({}, only=["mixtures"])


def test_an_arm_has_training_settings_of_its_own(load):
    own = {"training": {"learning_rate": 1.0, "ladder": [{"resolution": 32, "steps": 5}]}}
    config = load({"preset": "paper", "experiments": {"mnist": {"arms": {"fno-fno": own}}}})
    changed, other = (arm_spec(config, "mnist", arm).training for arm in ("fno-fno", "fno-bessel"))
    assert (changed.learning_rate, changed.ladder[0].steps, changed.batch_size) == (1.0, 5, 128)
    assert (other.learning_rate, other.ladder[0].epochs) == (6e-4, 200)


def test_an_arm_has_sampling_settings_of_its_own(load):
    given = {"sampler": {"kind": "heun", "times": "angle"}, "steps": 7}
    mnist = load(nested("experiments.mnist.arms.fno-fno.sampling", given)).experiments["mnist"]
    own, other = mnist.sampling_of("fno-fno"), mnist.sampling_of("fno-bessel")
    assert (str(own.sampler), own.steps, own.start) == ("heun(times=angle)", 7, "prior")
    assert other == mnist.sampling
    assert (own.resolutions, own.samples) == (other.resolutions, other.samples)


def test_what_stands_on_the_gaussian_is_sampled_under_one_gain_and_by_the_exponential_sampler(load):
    for preset in ("paper", "laptop"):
        for experiment in load({"preset": preset}).experiments.values():
            for name, arm in experiment.arms.items():
                if arm.network.has_law:
                    sampling = experiment.sampling_of(name)
                    assert experiment.gains_of(name) == ("values",)
                    assert (sampling.sampler.kind, sampling.sampler.times, sampling.start) == (
                        "gaussian-exponential",
                        "angle",
                        "gaussian",
                    )
                    assert arm.network.fields == 2
                else:
                    assert (arm.network.preconditioning, arm.network.fields) == ("none", 1)


def test_an_experiment_says_how_many_modes_its_gaussian_has(load):
    assert arm_spec(load({}), "mnist", "gaussian").law.modes == "auto"
    for modes in (0, 15):
        config = load(nested("experiments.mnist.law.modes", modes))
        assert {arm_spec(config, "mnist", arm).law.modes for arm in config.experiments["mnist"].arms} == {modes}


def test_paired_arms_share_their_random_streams_and_others_do_not(load):
    config = load({})
    streams = {
        (name, arm): arm_spec(config, name, arm).stream for name, e in config.experiments.items() for arm in e.arms
    }
    assert {streams["warm-start", arm] for arm in config.experiments["warm-start"].arms} == {("warm-start",)}
    assert len({streams["mnist", arm] for arm in config.experiments["mnist"].arms}) == 10


def test_an_experiment_may_use_the_data_of_another(load):
    config = load({}, only=["warm-start"])
    assert set(config.experiments) == {"warm-start", "mnist"}
    assert config.data_set("warm-start") == config.data_set("mnist") == "mnist"
    assert config.data_of("warm-start").kind == arm_spec(config, "warm-start", "cold").kind == "mnist"
    assert load({}).data_set("mixture") is None


def test_a_broken_experiment_stops_neither_the_others_nor_what_is_about_it(load):
    broken = nested("experiments.mnist.arms.fno-fno.network.width", 0)
    config = load(broken)
    assert set(config.broken) == {"mnist", "warm-start"}
    assert "experiments.mnist.arms.fno-fno.network.width" in config.broken["mnist"]
    assert "data_set: 'mnist' is broken" in config.broken["warm-start"]
    assert {"mixture", "reaction-diffusion"} == set(config.experiments)
    assert "fig2" in config.figures
    assert set(load(broken, only=["mixture"]).experiments) == {"mixture"}
    for name in ("mnist", "warm-start"):
        with pytest.raises(UserError, match=r"experiments\.mnist\.arms\.fno-fno"):
            load(broken, only=[name])


def test_only_what_is_asked_for_is_validated(load):
    changes = {"figures": {"fig1": {"draw": "nothing"}}, "claims": {"seeds": 0}} | nested("experiments.mnist.seeds", [])
    config = load(changes, only=["mixture"])
    assert (config.figures, config.tables, config.claims) == ({}, {}, None)
    with pytest.raises(UserError, match=r"claims|figures"):
        load(changes)


def test_an_arm_that_is_null_goes_with_all_that_is_about_it(load):
    arms = dict.fromkeys(("unet-standard", "fno-fno"))
    config, before = (load({"preset": "paper", "experiments": {"mnist": {"arms": each}}}) for each in (arms, {}))
    assert set(before.experiments["mnist"].arms) - set(config.experiments["mnist"].arms) == set(arms)
    assert "fig2" in before.figures
    assert "fig2" not in config.figures  # it showed the U-Net alone
    assert set(before.figures["fig3"].arms) - set(config.figures["fig3"].arms) == {"fno-fno"}
    assert "u-net-degrades" not in config.claims.rows
    assert "fno-fno" not in config.claims.rows["digits-transfer"].each["arm"]
    assert "fno-fno" in config.claims.rows["fields-keep-their-law"].each["arm"]


def test_the_baseline_of_a_table_of_ladders_takes_the_table_with_it(load):
    config = load({"experiments": {"warm-start": {"arms": {"cold": None}}}})
    assert "ladders" not in config.tables
    assert "warm-start-is-faster" not in config.claims.rows


def test_an_experiment_that_is_null_goes_with_all_that_is_about_it(load):
    config = load({"preset": "paper", "experiments": {"mixture": None}})
    assert "mixture" not in config.experiments
    assert not {"fig1", "fig10", "samplers", "log_density"} & set(config.figures)
    assert "samplers" not in config.tables
    assert config.tables["transfer"].experiments == ("mnist", "reaction-diffusion")
    assert not any(claim.quantity.of["experiment"] == "mixture" for _, claim in config.claims.each)
    assert config.claims.rows["digits-transfer"]


def test_a_figure_a_table_and_a_claim_that_are_null_are_left_out(load):
    changes = {"figures": {"fig1": None}, "tables": {"table1": None}, "claims": {"rows": {"truncation-rate": None}}}
    config = load(changes)
    assert "fig1" not in config.figures
    assert "table1" not in config.tables
    assert "truncation-rate" not in config.claims.rows


def test_all_experiments_but_ones_own_may_go(load):
    """What a user's own configuration does to be rid of the paper's."""
    names = ("mnist", "warm-start", "reaction-diffusion", "reaction-diffusion-ladder")
    config = load({"experiments": dict.fromkeys(names)})
    assert set(config.experiments) == {"mixture"}
    assert {figure.experiment for figure in config.figures.values()} == {"mixture"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("figures.fig1.experiment", "mixtures", ["figures.fig1", "no experiment 'mixtures'", "mixture"]),
        ("figures.fig2.arms", ["unet"], ["figures.fig2", "no arm 'mnist/unet'", "unet-standard"]),
        ("figures.fig1.experiment", "mnist", ["figures.fig1", "needs experiments.mnist.score_error"]),
        ("figures.fig1.draw", "scores", ["figures.fig1.draw", "'score-error'", "'scores'"]),
        ("figures.fig1.count", 2, ["figures.fig1", "count: an option of figures of fields"]),
        ("figures.fig6.epochs", [5], ["figures.fig6", "no snapshot after epoch 5"]),
        ("figures.fig5.experiment", "mnist", ["figures.fig5", "no arm 'mnist/cold'"]),
        ("figures.fig5.arms", ["cold", "cold"], ["figures.fig5.arms", "twice"]),
        ("experiments.warm-start.validation.test", 0, ["ladders are compared by test losses"]),
        (
            "experiments.warm-start.arms.cold.training",
            {"ladder": [{"resolution": 32, "epochs": 8}]},
            ["must end on the same level", "[32, 64]"],
        ),
        ("tables.table1.experiments", ["digits"], ["tables.table1", "no experiment 'digits'"]),
        ("tables.ladders.baseline", "hot", ["tables.ladders", "no arm 'warm-start/hot'"]),
        ("tables.ladders.baseline", None, ["tables.ladders", "baseline: ladders need one"]),
        ("tables.ladders.experiments", None, ["tables.ladders", "is of one experiment"]),
        ("tables.table1.baseline", "cold", ["tables.table1", "and other tables none"]),
    ],
)
def test_a_figure_or_table_that_cannot_be_made_is_refused_in_one_line(load, path, value, words):
    validated = {"experiments": {"warm-start": {"validation": {"resolutions": [32, 64]}}}}
    with pytest.raises(UserError) as refused:
        load(merge(validated, nested(path, value)))
    line = str(refused.value)
    assert len(line.splitlines()) == 1
    for word in words:
        assert word in line


@pytest.mark.parametrize(("kind", "accepted"), [("laplacian", True), ("combined", True), ("bessel", False)])
def test_the_scale_of_a_prior_with_one_may_be_auto(kind, accepted):
    given = {"laplacian": {}, "combined": {"fno_scale": 1, "modes": [4, 4]}, "bessel": {"shift": 8, "power": 0.55}}
    settings = {"kind": kind, "scale": "auto"} | given[kind]
    if accepted:
        assert parse(PriorSettings, settings, "prior").scale == "auto"
        with pytest.raises(UserError, match="scale"):
            parse(PriorSettings, settings | {"scale": "automatic"}, "prior")
    else:
        with pytest.raises(UserError, match="unknown key 'scale'"):
            parse(PriorSettings, settings, "prior")


def test_gains_agree_where_a_network_was_trained():
    gains = ("values", "coefficients")
    assert distinct_gains(gains, 64, 32) == gains
    assert distinct_gains(gains, 32, 32) == ("values",)
    assert distinct_gains(("coefficients", "coefficients"), 64, 32) == ("coefficients",)


def test_a_figure_of_fields_of_a_mixture_is_of_one_prior(load):
    with pytest.raises(UserError, match=r"^config: figures.fig10: arms: they have several priors"):
        load(nested("experiments.mixture.arms.gaussian.prior.scale", 5))


def test_a_claim_stands_once_for_each_combination(load):
    claims = dict(load({}).claims.each)
    single = claims["fields-keep-their-law fno-laplacian values 64"]
    assert single.quantity.of == {
        "experiment": "reaction-diffusion",
        "metric": "sliced_wasserstein",
        "arm": "fno-laplacian",
        "gain": "values",
        "resolution": 64,
    }
    assert "fno-laplacian are about as far from the test set at 64 as at 32 (gain values)" in single.statement
    assert sum(name.startswith("fields-keep-their-law") for name in claims) == 4 * 2 * 3


def test_settings_import_no_torch():
    code = "import sys, multilevel_diffusion.settings; print(*sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_paths_may_hold_any_letter_and_home(load, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert load({"results": "~/a b+c=d's 100%"}).results == "/home/me/a b+c=d's 100%"
    assert load({"experiments": {"mnist": {"data": {"sources": ["my 'digits' + more"]}}}}).broken == {}
