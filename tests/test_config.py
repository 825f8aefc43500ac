import json
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from multilevel_diffusion.config import ArmSpec, UserError, arm_spec, load_config, merge, parse, parse_sampler

ARM = "mixture.arms.fno-combined"


def nested(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.fixture
def load(root):
    def read(overrides, file=root / "config.yaml"):
        return load_config([file], overrides, root / "workflow" / "presets")

    return read


@pytest.fixture
def refusal(load):
    """The one line with which settings are refused."""

    def read(overrides, **kwargs):
        with pytest.raises(UserError) as refused:
            load(overrides, **kwargs)
        line = str(refused.value)
        assert len(line.splitlines()) == 1
        return line

    return read


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
def test_a_preset_resolves_and_its_arms_survive_json(load, preset):
    config = load({"preset": preset})
    assert config.preset == preset
    for arm in config.mixture.arms:
        spec = arm_spec(config, "mixture", arm)
        assert parse(ArmSpec, json.loads(spec.model_dump_json()), source="spec.json") == spec


def test_the_paper_preset_changes_nothing_in_config_yaml(root):
    assert yaml.safe_load((root / "workflow" / "presets" / "paper.yaml").read_text()) == {"preset": "paper"}


def test_config_yaml_holds_the_papers_numbers(load):
    mixture = load({"preset": "paper"}).mixture
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
    }
    assert (prior.kind, prior.scale, prior.fno_scale, prior.modes) == ("combined", 10, 0.5, (14, 7))
    assert {32, 64} <= set(mixture.score_error.resolutions)
    assert (mixture.score_error.batches, mixture.score_error.batch_size) == (50, 300)
    assert mixture.sampling.steps == 1000
    assert mixture.sampling.resolutions == (32, 50, 64)


def test_the_paper_preset_has_the_settings_of_section_5_2(load):
    mnist = load({"preset": "paper"}).mnist
    training, priors = mnist.training, {name: arm.prior.model_dump() for name, arm in mnist.arms.items()}
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
        ("mixtures", "mixture"),
        ("mixture.trainig", "training"),
        ("mixture.training.learning_rat", "learning_rate"),
        ("mixture.score_error.batchsize", "batch_size"),
        (f"{ARM}.prior.fnoscale", "fno_scale"),
        (f"{ARM}.network.widht", "width"),
    ],
)
def test_a_misspelt_key_is_refused_by_name(refusal, path, known):
    parent, _, key = path.rpartition(".")
    line = refusal(nested(path, 1))
    assert parent in line
    assert f"'{key}'" in line
    assert f"did you mean '{known}'?" in line


@pytest.mark.parametrize("resolution", [0, 1, -32, 33.5, "32", "many", True, None])
@pytest.mark.parametrize("where", ["mixture.sampling.resolutions", "mixture.score_error.resolutions"])
def test_a_resolution_is_an_integer_of_at_least_two(refusal, where, resolution):
    line = refusal(nested(where, [32, resolution]))
    assert f"{where}.1" in line
    assert repr(resolution) in line


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("mixture.training.ladder", [{"resolution": 0, "epochs": 1}], ["ladder.0.resolution", "got 0"]),
        ("mixture.training.ladder", [{"resolution": 33.5, "epochs": 1}], ["ladder.0.resolution", "33.5"]),
        ("mixture.training.ladder", [], ["mixture.training.ladder"]),
        ("mixture.training.ladder", [{"resolution": 32, "epochs": 0}], ["ladder.0.epochs", "got 0"]),
        ("mixture.training.ladder", [{"resolution": 32}], ["level at 32 needs either epochs or steps"]),
        ("mixture.training.ladder", [{"resolution": 32, "epochs": 1, "steps": 1}], ["either epochs or steps"]),
        (
            "mixture.training.ladder",
            [{"resolution": 32, "steps": 1, "batch_size": 0}],
            ["ladder.0.batch_size", "got 0"],
        ),
        ("mixture.training.steps_per_epoch", None, ["training.steps_per_epoch", "give a number"]),
        (
            "mixture.training.ladder",
            [{"resolution": 32, "epochs": 1}, {"resolution": 16, "epochs": 1}],
            ["mixture.training", "ladder must increase", "[32, 16]"],
        ),
        (
            "mixture.training.ladder",
            [{"resolution": 16, "epochs": 1}, {"resolution": 16, "epochs": 1}],
            ["ladder must increase", "[16, 16]"],
        ),
        ("mixture.training.ladder", [{"resolution": 128, "epochs": 1}], ["ladder", "128", "native_resolution 64"]),
        ("mixture.training.learning_rate", -6e-4, ["mixture.training.learning_rate", "-0.0006"]),
        ("mixture.training.learning_rate", 0, ["mixture.training.learning_rate"]),
        ("mixture.training.learning_rate", float("nan"), ["mixture.training.learning_rate", "nan"]),
        ("mixture.training.learning_rate", float("inf"), ["mixture.training.learning_rate", "inf"]),
        ("mixture.training.weight_decay", float("nan"), ["mixture.training.weight_decay", "nan"]),
        ("mixture.training.averaging", 1.0, ["mixture.training.averaging", "1.0"]),
        ("mixture.training.averaging", float("nan"), ["mixture.training.averaging", "nan"]),
        ("mixture.training.schedule", "cosine", ["mixture.training.schedule", "one-cycle", "'cosine'"]),
        ("mixture.training.batch_size", 0, ["mixture.training.batch_size", "got 0"]),
        ("mixture.sampling.sampler", "leapfrog", ["mixture.sampling.sampler", "'leapfrog'", "'heun'"]),
        (
            "mixture.sampling.sampler",
            {"kind": "ancestral", "stochasticity": 1.1},
            ["mixture.sampling.sampler.ancestral.stochasticity", "1.1"],
        ),
        ("mixture.sampling.sampler", {"kind": "heun", "tmies": "karras"}, ["tmies", "did you mean 'times'?"]),
        ("mixture.sampling.steps", 0, ["mixture.sampling.steps", "got 0"]),
        ("mixture.convergence.samplers", ["heun", "heun"], ["mixture.convergence.samplers", "twice"]),
        ("mixture.convergence.evaluations", [0], ["mixture.convergence.evaluations.0", "got 0"]),
        ("mixture.log_density.drawn_on", 128, ["mixture.log_density", "128", "drawn_on 128"]),
        ("mixture.truncation.drawn_on", 128, ["mixture.truncation", "drawn_on 128 must be finer than resolution 128"]),
        ("mixture.truncation.resolutions", [16], ["mixture.truncation.resolutions", "at least 2"]),
        ("mixture.convergence.networks", 5, ["mixture: convergence.networks", "5 asked for", "3 seeds"]),
        ("mixture.sampling.sampler", {"kind": "ancestral", "stochasticity": "1"}, ["stochasticity", "'1'"]),
        ("mixture.seeds", [], ["mixture.seeds", "got []"]),
        ("mixture.seeds", [1, -1], ["mixture.seeds.1", "-1"]),
        ("mixture.seeds", [1, 1], ["mixture.seeds", "1"]),
        ("mixture.sampling.resolutions", [32, 32], ["mixture.sampling.resolutions", "32"]),
        ("mixture.gains", ["nonsense"], ["mixture.gains.0", "coefficients", "'nonsense'"]),
        ("mixture.arms", {"Not_A_Name": None}, ["mixture.arms.Not_A_Name"]),
        (f"{ARM}.prior.kind", "fractal", [f"{ARM}.prior", "fractal", "combined"]),
        (f"{ARM}.prior.modes", [14], [f"{ARM}.prior", "modes"]),
        ("mixture.training", 3, ["mixture.training", "got 3"]),
        ("mixture.grid", "cell-centred", ["mixture.grid", "torus"]),
        ("reaction_diffusion.grid", "torus", ["reaction_diffusion.grid", "cell-centred"]),
        ("reaction_diffusion.data.train", 99_991, ["train + validation", "test trajectories"]),
        (
            "reaction_diffusion.data",
            {"file": "published.h5", "laplacian": "spectral"},
            ["laplacian", "published file is of the finite-volume one"],
        ),
        ("reaction_diffusion.sampling.samples", 991, ["sampling.samples: 991", "data.test has only"]),
        ("mnist.data.test", 2, ["sampling.samples", "data.test has only 2"]),
        ("mnist.along_training.samples", 10_001, ["along_training.samples: more than"]),
        ("mnist.training.snapshot_every", None, ["training.snapshot_every", "figure 4"]),
        ("mnist.validation.resolutions", [64], ["validation.resolutions: 32, where the ladder of unet-standard ends"]),
        ("mnist.validation.resolutions", [32, 128], ["validation.resolutions: above native_resolution 64"]),
        ("mnist.sampling.resolutions", [32, 51], ["the network of unet-standard needs multiples of 2"]),
        ("mnist.arms.unet-standard.ladder", [{"resolution": 31, "epochs": 1}], ["unet-standard", "31"]),
        ("mnist.arms.unet-standard.network.channels", [32, 12], ["unet-standard.network", "12 channels do not fall"]),
        ("mnist.arms.unet-standard.network.channels", [2, 64], ["unet-standard.network", "channels.0"]),
        (
            "mnist.arms.fno-fno.ladder",
            [{"resolution": 65, "epochs": 1}],
            ["fno-fno ends at 65", "native_resolution 64"],
        ),
        ("mnist.data.sources", [], ["mnist.data.sources"]),
        ("warm_start.data_set", "mixture", ["warm-start: data_set: 'mixture' is not an experiment with data"]),
        ("warm_start.native_resolution", 128, ["warm-start: grid and native_resolution must be those of mnist"]),
        ("warm_start.validation.test", 10_001, ["warm-start: validation.test: 10001"]),
        ("warm_start.validation.test", 0, ["validation.test: the ladders are compared"]),
        ("warm_start.baseline", "hot", ["there is no arm 'hot'", "cold"]),
        ("warm_start.warm", "cold", ["warm: 'cold' has a single level"]),
        ("warm_start.baseline", "warm", ["baseline: 'warm' has several levels"]),
        ("warm_start.training.ladder", [{"resolution": 64, "epochs": 4}], ["'cold' ends before epoch 4"]),
        ("warm_start.tradeoff", ["cold"], ["warm_start.tradeoff"]),
        ("warm_start.tradeoff", ["cold", "cold"], ["warm_start.tradeoff", "twice"]),
        ("mnist.along_training.resolution", 51, ["along_training.resolution: the network of unet-standard"]),
        ("mnist.validation.test", 10_001, ["validation.test: 10001"]),
        ("mnist.data.sha256", {"train-images-idx3": "0" * 64}, ["sha256.train-images-idx3"]),
        ("warm_start.training.snapshot_every", 3, ["snapshot_every: figure 6 needs a snapshot after epoch 4"]),
        ("warm_start.arms.warm.ladder", [{"resolution": 32, "epochs": 1}], ["32, where the ladder of warm ends"]),
        ("warm_start.arms.warm.gain", "none", ["warm_start.arms.warm.gain", "'none'"]),
        ("mnist.data.sources", ["a b"], ["mnist.data.sources.0"]),
        ("mnist.data.sha256", {"train-images-idx3-ubyte": "abc"}, ["train-images-idx3-ubyte", "abc"]),
        ("claims.seeds", 1, ["claims.seeds"]),
        ("claims.rows.u-net-degrades.quantity.of.arm", "unet", ["u-net-degrades", "there is no arm 'mnist/unet'"]),
        (
            "claims.rows.digits-transfer.each.arm",
            ["fno"],
            ["digits-transfer fno values", "there is no arm 'mnist/fno'"],
        ),
        ("claims.rows.digits-transfer.statement", "it {does}", ["digits-transfer", "statement", "'does'"]),
        ("claims.confidence", 1.0, ["claims.confidence"]),
        ("claims.rows.score-transfers.at_least", 1.0, ["score-transfers", "either at_most or at_least"]),
        ("claims.rows.score-transfers.quantity.table", "fig1", ["quantity.table", "'fig1'"]),
        ("results", "", ["results"]),
        ("max_threads", 0, ["max_threads"]),
    ],
)
def test_a_senseless_value_is_refused_in_one_line(refusal, path, value, words):
    line = refusal(nested(path, value))
    for word in words:
        assert word in line


def test_a_sampler_is_its_kind_or_a_mapping_with_its_options(load):
    for written, kind in (("heun", "heun"), ({"kind": "ancestral", "stochasticity": 0}, "ancestral")):
        assert load({"mixture": {"sampling": {"sampler": written}}}).mixture.sampling.sampler.kind == kind


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
def test_a_sampler_survives_the_command_line(load, preset):
    for sampler in load({"preset": preset}).mixture.convergence.samplers:
        assert parse_sampler(sampler.model_dump_json(exclude_defaults=True), "--sampler") == sampler


def test_the_paper_samples_by_euler_maruyama_and_the_laptop_within_twenty_evaluations(load):
    paper, laptop = (load({"preset": preset}).mixture.sampling for preset in ("paper", "laptop"))
    assert (str(paper.sampler), paper.steps) == ("euler-maruyama", 1000)
    assert laptop.steps <= 20


def test_several_mistakes_are_counted(refusal):
    assert "(and 1 more)" in refusal({"mixture": {"seeds": [], "gains": []}})


def test_a_missing_key_is_named(load, tmp_path, root):
    settings = yaml.safe_load((root / "config.yaml").read_text())
    del settings["mixture"]["prior_seed"]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"mixture\.prior_seed: .*required"):
        load({}, file=file)


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
    assert load({"preset": "paper"}).mixture.sampling.steps == 1000
    assert load({"preset": "smoke"}).mixture.sampling.steps == 4
    assert load({"preset": "smoke"} | nested("mixture.sampling.steps", 5)).mixture.sampling.steps == 5


def test_later_files_lie_on_earlier_ones(root, tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("preset: paper\nmixture: {sampling: {steps: 7}}\n")
    config = load_config([root / "config.yaml", overlay], {}, root / "workflow" / "presets")
    assert config.mixture.sampling.steps == 7
    assert config.mixture.sampling.samples == 1000


def test_merge_replaces_leaves_and_whole_lists_and_leaves_its_arguments_alone():
    base = {"a": {"b": 1, "c": [1, 2, 3]}, "d": 4, "e": {"f": 5}}
    overlay = {"a": {"c": [9]}, "d": {"g": 6}, "e": None, "h": 7}
    assert merge(base, overlay) == {"a": {"b": 1, "c": [9]}, "d": {"g": 6}, "e": None, "h": 7}
    assert base == {"a": {"b": 1, "c": [1, 2, 3]}, "d": 4, "e": {"f": 5}}
    assert overlay == {"a": {"c": [9]}, "d": {"g": 6}, "e": None, "h": 7}


def test_settings_are_frozen(load):
    with pytest.raises(ValidationError, match="frozen"):
        load({}).mixture.training.batch_size = 1


@pytest.mark.parametrize(("experiment", "arm"), [("mixture", "unet"), ("preset", "fno-combined"), ("nothing", "")])
def test_an_unknown_arm_is_refused_with_the_known_ones(load, experiment, arm):
    with pytest.raises(UserError, match=f"'{experiment}/{arm}'.*mixture/fno-combined"):
        arm_spec(load({}), experiment, arm)


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_constraints_pin_every_dependency_within_its_bounds(root, project):
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().split())
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_conda_file_asks_for_what_pyproject_asks_for(root, project):
    environments = list((root / "envs").glob("*.yaml"))
    assert environments
    for file in environments:
        *conda, pip = yaml.safe_load(file.read_text())["dependencies"]
        assert conda == [f"python {project['requires-python']}", "pip"]
        assert pip == {"pip": project["dependencies"]}


def test_a_level_in_steps_takes_the_epochs_that_begin(load):
    ladder = [{"resolution": 32, "steps": 61}, {"resolution": 64, "epochs": 4}]
    warm_start = load({"warm_start": {"arms": {"warm": {"ladder": ladder}}}}).warm_start
    assert warm_start.training.steps_per_epoch == 20
    assert (warm_start.change, warm_start.epochs_of("warm"), warm_start.epochs_of("cold")) == (4, 8, 8)


def test_arms_that_compare_ladders_share_their_random_streams_and_others_do_not(load):
    config = load({})
    streams = {
        (name, arm): arm_spec(config, name, arm).stream for name, e in config.experiments.items() for arm in e.arms
    }
    assert {streams["warm-start", arm] for arm in config.warm_start.arms} == {("warm-start",)}
    assert len({streams["mnist", arm] for arm in config.mnist.arms}) == 6
