"""Malformed settings, made of the sound ones by one change each: refused in one line that names the key, or as good as sound."""

import copy
import inspect
import itertools
import json
import random
import re
import shlex
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from snakemake.cli import parse_config
from snakemake.sourcecache import LocalSourceFile
from snakemake.utils import format as snakemake_format

from multilevel_diffusion import settings
from multilevel_diffusion.builders import build_grid, build_prior
from multilevel_diffusion.cli import app
from multilevel_diffusion.columns import METRICS
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.storage import read_csv

ROOT = Path(__file__).parents[2]
WORDS = ("", " ", "nothing-there", "a\nb", "{x}", "Ünï", "-x", "x" * 300, "5e-1", "007")
NUMBERS = (0, -1, 1, 2, 33, 4096, 10**30, 0.0, -0.5, 0.5, 1e-300, 1e300, float("nan"), float("inf"))
OTHERS = (None, True, [], {}, [None], [[]], {"kind": "nothing-there"}, {"kind": None})
NAMES = ("Bad Name", "", 32, None, True, "x" * 300, "all", "data_mnist", "mnist-metrics")
REMOVED = object()
MIXTURE, MNIST, PDE = (("experiments", name) for name in ("mixture", "mnist", "reaction-diffusion"))


def changes(node, path=()):
    """Every single change of settings: a path and the value to be there, or REMOVED; a last entry that is new is added."""
    for value in (*WORDS, *NUMBERS, *OTHERS, REMOVED) if path else ():
        yield path, value
    if isinstance(node, dict):
        for name in ("nothing-there", *NAMES):
            yield (*path, name), copy.deepcopy(next(iter(node.values()), 1))
        for key, inner in node.items():
            yield from changes(inner, (*path, key))
    if isinstance(node, list):
        yield path, [*node, *node[:1]]
        yield path, node[::-1]
        yield path, node[:1]
        yield path, tuple(node)
        for i, inner in enumerate(node):
            yield from changes(inner, (*path, i))


def changed(sound, path, value):
    mutant = copy.deepcopy(sound)
    *parents, key = path
    node = mutant
    for parent in parents:
        node = node[parent]
    if value is REMOVED:
        del node[key]
    else:
        node[key] = value
    return mutant


@pytest.fixture(scope="module")
def sound():
    layers = (ROOT / "config.yaml", ROOT / "workflow" / "presets" / "smoke.yaml")
    read = (settings.read_yaml(path.read_bytes(), str(path)) for path in layers)
    return json.loads(json.dumps(settings.merge(*read)))  # without aliases: a change is in one place


@pytest.fixture
def load(monkeypatch):
    def read(mutant):
        given = {"config.yaml": mutant}
        monkeypatch.setattr(settings.load, "_read_settings", lambda path: given.get(path.name, {}))
        return settings.load_config([ROOT / "config.yaml"], {}, ROOT / "workflow" / "presets")

    return read


def takes(function):
    """The names of its arguments that Snakemake gives a function."""
    return {name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty}


class Wildcards(dict):
    def __getattr__(self, name):
        return self[name]

    def __iter__(self):
        return iter(self.values())


class Workflow:
    """The rules that the workflow makes of a configuration, and its jobs, without Snakemake."""

    def __init__(self):
        folder, names = (
            ROOT / "workflow" / "rules",
            ("common", "resources", "stages", "conditioning", "report", "catalogue"),
        )
        texts = [(folder / f"{name}.smk").read_text().partition("wildcard_constraints:")[0] for name in names]
        self.first, *self.rest = (compile(text, name, "exec") for name, text in zip(names, texts, strict=True))
        self.mld = typer.main.get_command(app)

    def demand_sound(self, config):
        """Every file of a run of everything has one rule that makes it, of inputs that have one too, by a command that parses.

        Returns, by file, the command, the params that Snakemake records of it, without their names and order, and the inputs.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "load_config", lambda *args: config)
            rules = self._rules({})
        rules["code"] = lambda *modules: "0"
        for part in self.rest:
            exec(part, rules)
        self.settings = config
        self.outputs = [(self._pattern(path), job) for job in rules["JOBS"].values() for path in job.output.values()]
        left, made = [path for job in rules["MADE"].values() for path in job.output.values()], {}
        while left:
            if (path := left.pop()) not in made:
                made[path] = self._made(path)
                left += made[path][-1]
        return made

    def refusal(self, *given):
        """What a run with `--config` says before any job."""
        with pytest.raises(SystemExit) as stop:
            self._rules(parse_config(given))
        return stop.value.code

    def _rules(self, given):
        main = SimpleNamespace(is_main_snakefile=lambda: True, modify_rulename=str)
        about = {"current_basedir": LocalSourceFile(str(ROOT / "workflow/rules")), "modifier": main}
        about |= {"config_settings": SimpleNamespace(config=given, configfiles=[]), "executor_plugin": None}
        about |= {"resource_settings": SimpleNamespace(cores=2), "local_exec": True, "remote_exec": False}
        rules = {"workflow": SimpleNamespace(**about), "directory": str, "report": lambda path, **kwargs: path}
        rules |= {"shell": SimpleNamespace(prefix=str), "config": {}}
        exec(self.first, rules)
        return rules

    def _pattern(self, path):
        arms = {arm for each in self.settings.experiments.values() for arm in each.arms}
        forms = {"experiment": "|".join(self.settings.experiments), "arm": "|".join(arms)}
        parts, seen = re.split(r"{(\w+)}", path), set()
        for i in range(1, len(parts), 2):
            name = parts[i]
            parts[i] = f"(?P={name})" if name in seen else f"(?P<{name}>{forms.get(name, '[0-9]+')})"
            seen.add(name)
        return re.compile("".join(part if i % 2 else re.escape(part) for i, part in enumerate(parts)))

    def _made(self, path):
        made_by = [(job, found) for pattern, job in self.outputs if (found := pattern.fullmatch(path))]
        if not made_by and (ROOT / path).exists():
            return "", set(), set()
        assert len({id(job) for job, _ in made_by}) == 1, f"{path}: {[job.place for job, _ in made_by]}"
        job, wildcards = made_by[0][0], Wildcards(made_by[0][1].groupdict())
        known = {"wildcards": wildcards, "log": "log"}
        for part in ("input", "output", "params"):
            found = {name: self._value(value, known) for name, value in getattr(job, part).items()}
            known[part] = Wildcards(found)
        derived = {name for name, value in job.params.items() if callable(value) and not takes(value) <= {"wildcards"}}
        recorded = {repr(value) for name, value in known["params"].items() if name not in derived}
        line = snakemake_format(job.shell, **known)
        self._parse(self.mld, shlex.split(line.partition(" > ")[0])[1:])
        flat = [each if isinstance(each, list) else [each] for each in known["input"].values()]
        return line, recorded, {str(path) for path in itertools.chain(*flat) if path}

    def _value(self, value, known):
        if callable(value):
            return value(**{name: known[name] for name in takes(value) & known.keys()})
        return (
            re.sub(r"{(\w+)}", lambda found: known["wildcards"][found[1]], value) if isinstance(value, str) else value
        )

    def _parse(self, command, words):
        with command.make_context(command.name, words) as context:
            if hasattr(command, "resolve_command"):
                _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
                self._parse(inner, rest)


@pytest.fixture(scope="module")
def workflow():
    return Workflow()


def demand_sound(config, workflow):
    """Specs survive JSON, priors are finite and not zero on every grid, and the workflow can be formed, which is returned."""
    for name, each in config.experiments.items():
        for arm in each.arms:
            spec = settings.arm_spec(config, name, arm)
            written = json.loads(spec.model_dump_json())
            assert settings.parse(settings.ArmSpec, written, "spec.json") == spec
            sampler = each.sampling_of(arm).sampler
            assert settings.parse_sampler(settings.flow(sampler.model_dump(mode="json")), "") == sampler
            if max(getattr(spec.prior, "modes", (1,))) < 100 and getattr(spec.prior, "scale", 1) != "auto":
                prior = build_prior(spec)
                for n in {*each.sampling.resolutions, *(level.resolution for level in spec.training.ladder)}:
                    if n < 100:
                        roots = prior.spectrum(build_grid(spec, n)).sqrt().float()
                        assert roots.isfinite().all()
                        assert roots.square().max() > 0
    return workflow.demand_sound(config)


def demand_noticed(made, before):
    """What is made by another command has other params or inputs too, so that Snakemake makes it anew."""
    for path in made.keys() & before.keys():
        assert made[path][0] == before[path][0] or made[path][1:] != before[path][1:], path


def test_the_sound_settings_are_sound(sound, load, workflow):
    config = load(sound)
    assert not config.broken
    demand_sound(config, workflow)


def one_line(text):
    return len(text.splitlines()) == 1 and len(text) < 600


def test_a_changed_setting_is_refused_in_one_line_that_names_it_or_is_as_good_as_sound(sound, load, workflow, request):
    every, faults, outcomes = list(changes(sound)), [], Counter()
    before = workflow.demand_sound(load(sound))
    count = request.config.getoption("--faults-count") or 120
    for path, value in random.Random(request.config.getoption("--faults-seed")).sample(every, min(count, len(every))):
        refusals = []
        try:
            config = load(changed(sound, path, value))
            refusals += config.broken.values()
            if not refusals:
                demand_noticed(demand_sound(config, workflow), before)
        except (UserError, SystemExit) as error:
            refusals.append(str(error))
        except Exception as error:
            faults.append(f"{path}: {value!r:.60}: {type(error).__name__}: {error}")
            continue
        names = [str(part)[:50] for part in path if type(part) is not int][-3:]  # longer ones are shortened
        faults += [
            f"{path}: {line}" for line in refusals if not one_line(line) or not any(name in line for name in names)
        ]
        outcomes["refused" if refusals else "sound"] += 1
    print(f"{len(every)} changes, of which drawn: {dict(outcomes)}, faults: {len(faults)}")
    assert not faults, "\n".join(faults)


def test_two_numbers_that_are_swapped_are_noticed(sound, load, workflow):
    path, before = (*MIXTURE, "score_error"), workflow.demand_sound(load(sound))
    section = sound["experiments"]["mixture"]["score_error"]
    for batches, batch_size in ((4, 8), (8, 4)):
        made = workflow.demand_sound(
            load(changed(sound, path, section | {"batches": batches, "batch_size": batch_size}))
        )
        demand_noticed(made, before)
        before = made


def test_arms_in_another_order_are_noticed(sound, load, workflow):
    arms = dict(reversed(sound["experiments"]["mnist"]["arms"].items()))
    made = workflow.demand_sound(load(changed(sound, (*MNIST, "arms"), arms)))
    before = workflow.demand_sound(load(sound))
    demand_noticed(made, before)
    moved = {Path(path).name for path in made if path in before and made[path][0] != before[path][0]}
    assert {"fig4.svg", "metrics.csv"} <= moved


def test_another_stamp_is_noticed(sound, load, workflow):
    made, before = (workflow.demand_sound(load(changed(sound, ("stamp",), stamp))) for stamp in ("draft", None))
    demand_noticed(made, before)
    assert made["results/smoke/figures/fig1.svg"][0] != before["results/smoke/figures/fig1.svg"][0]


@pytest.mark.parametrize("path", [(*PDE, "data", "file"), (*MNIST, "data", "sources", 0)])
def test_a_path_that_no_file_system_can_have_is_refused(sound, load, path):
    line = load(changed(sound, path, "x" * 300)).broken[path[1]]
    assert f"{'.'.join(map(str, path[2:]))}: no file system has paths as long as this" in line
    assert one_line(line)
    with pytest.raises(UserError, match=r"plugins\.0: no file system has paths as long as this"):
        load(changed(sound, ("plugins",), ["x" * 300]))


def test_the_address_of_a_mirror_may_be_as_long_as_it_likes(sound, load, workflow):
    workflow.demand_sound(load(changed(sound, (*MNIST, "data", "sources", 0), f"https://mirror.org/{'x' * 300}")))


NO_YAML = {
    "brace": ("{", "line 1: while parsing a flow node, expected the node content"),
    "at": ("@", "line 1: while scanning for the next token, found character '@'"),
    "directive": ("%x", "line 1: expected '<document start>'"),
    "alias": ("*x", "line 1: found undefined alias 'x'"),
    "circle": ("&x [*x]", "an alias within its own anchor"),
    "laughs": (
        "[&a0 [1, 1], " + ", ".join(f"&a{i + 1} [*a{i}, *a{i}]" for i in range(20)) + "]",
        "more than 100000 entries",
    ),
    "digits": ("9" * 5000, "Exceeds the limit (4300 digits)"),
    "brackets": ("[" * 3000, "nested more than 50 levels deep"),
    "levels": ("[" * 60 + "]" * 60, "50 levels"),
    "tag": ("!!python/object:x", "could not determine a constructor"),
    "date-tag": ("!!timestamp 2020-99-99", "could not determine a constructor"),
    "int-tag": ("!!int x", "invalid literal"),
    "bool-tag": ("!!bool x", "'x'"),
    "twice": ("{a: 1, b: 2, a: 1}", "line 1: 'a' is there twice, first in line 1; remove one"),
    "null-byte": ("\0", "#x0000"),
    "two": ("a\n---\nb", "line 2: expected a single document in the stream, but found another document"),
    "key": ("? [1]\n: 2", "found unhashable key"),
}


@pytest.mark.parametrize(("text", "words"), NO_YAML.values(), ids=NO_YAML)
@pytest.mark.parametrize("where", ["set", "sampler", "file"])
def test_what_is_no_yaml_is_refused_in_one_line_wherever_it_is_read(mld, tmp_path, where, text, words):
    config, out = tmp_path / "own.yaml", tmp_path / "out"
    config.write_text(text)
    resolve = ["resolve", ROOT / "config.yaml", "--arm", "mixture/fno-combined", "-o", out]
    sample = ["sample", "spec.json", "--resolution", 8, "--samples", 2, "--steps", 1, "--seed", 1, "-o", out]
    args = {"set": [*resolve, "--set", f"results={text}"], "sampler": [*sample, "--sampler", text]}
    args["file"] = [resolve[0], resolve[1], config, *resolve[2:]]
    line = mld(*args[where]).refusal
    assert len(line) < 600
    assert words in line
    assert {"set": "--set: 'results=", "sampler": "--sampler: '", "file": f"{config}: "}[where] in line
    assert not out.exists()


def test_a_key_that_is_there_twice_is_refused_with_both_lines(mld, tmp_path):
    text = (ROOT / "config.yaml").read_text()
    again = text.replace("    seeds: [1, 2, 3]\n", "    seeds: [1, 2, 3]\n    seeds: [1]\n", 1)
    first = again[: again.index("    seeds:")].count("\n") + 1
    config = tmp_path / "config.yaml"
    config.write_text(again)
    line = mld("resolve", config, "--arm", "mixture/fno-combined", "-o", tmp_path / "spec.json").refusal
    assert (
        f"{config}: not valid YAML: line {first + 1}: 'seeds' is there twice, first in line {first}; remove one" in line
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_in_an_encoding_of_yaml_is_read(encoding):
    assert settings.read_yaml("title: Reaction–diffusion".encode(encoding), "") == {"title": "Reaction–diffusion"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-32"])
def test_a_file_in_another_encoding_is_refused_by_name(mld, tmp_path, encoding):
    config = tmp_path / "config.yaml"
    config.write_bytes("title: ä".encode(encoding))
    line = mld("resolve", config, "--arm", "mixture/fno-combined", "-o", tmp_path / "spec.json").refusal
    assert f"{config}: not valid YAML" in line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("5e-1", 0.5), ("1e-05", 1e-5), ("1.0e-4", 1e-4), (".5", 0.5), ("-2.", -2.0), (".inf", float("inf"))),
        *(("010", 10), ("1_000", 1000), ("-3", -3), ("1e5", 1e5)),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None)),
        *(("2020-99-99", "2020-99-99"), ("2020-01-01", "2020-01-01"), ("1:30", "1:30"), ("0x10", "0x10")),
        *(("yes", "yes"), ("'5e-1'", "5e-1"), ('"007"', "007")),
    ],
)
def test_a_scalar_is_that_of_yaml_1_2(text, value):
    assert repr(settings.read_yaml(text, "")) == repr(value)
    if text[:1] not in ("'", '"'):
        assert repr(settings.plain({"a": [text]})) == repr({"a": [value]})


@pytest.mark.parametrize(
    "text", ["", "a b", "5e-1", "1e-05", "007", "yes", "null", "~", "<<", "a: b", "a\nb", "é", "{x}", "#"]
)
def test_what_is_written_on_one_line_is_read_as_it_was(text):
    value = {"a": text, text: [1e-5, 5, True, None, text, float("inf"), {"b": text}]}
    assert "\n" not in settings.flow(value)
    assert settings.read_yaml(settings.flow(value), "") == value


REFUSED_BY_SNAKEMAKE_TOO = [
    *("results={", "results=-n", "results=README.md", "results=README.md/x"),
    *("results=2024", f"results={'9' * 5000}", f"results={'[' * 3000}", "results=", "results=~nobody-here/x"),
    *("experiments={mixture: {", "claims=x", "preset=nothing-there"),
]


@pytest.mark.parametrize("given", REFUSED_BY_SNAKEMAKE_TOO, ids=lambda given: given[:30])
def test_what_config_gives_is_refused_in_one_line(workflow, monkeypatch, given):
    monkeypatch.chdir(ROOT)
    said = workflow.refusal(given)
    assert one_line(said)
    assert given.partition("=")[0] in said


@pytest.mark.parametrize(
    "results", ["my results", "a+b=c", "@", "%x", "*x", "~/x", "../x", "2020-99-99", "./2024", "Ünï", "a,b"]
)
def test_a_folder_may_have_spaces_and_signs_and_is_expanded(sound, load, monkeypatch, tmp_path, results):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert load(changed(sound, ("results",), results)).results == str(Path(results.replace("~", "/home/me")))


def test_a_folder_that_is_text_of_digits_is_that_folder(sound, load):
    assert load(changed(sound, ("results",), "2024")).results == "2024"


def test_an_option_of_a_sampler_may_be_an_exponent(mld, load, sound):
    given = settings.read_yaml("{kind: ancestral, stochasticity: 5e-1}", "")
    config = load(changed(sound, ("experiments", "mixture", "sampling", "sampler"), given))
    assert config.experiments["mixture"].sampling.sampler.stochasticity == 0.5
    assert settings.parse_sampler("{kind: predictor-corrector, snr: 1e-1}", "").snr == 0.1


def test_a_digest_in_upper_case_is_the_same(sound, load):
    lower = load(sound)
    upper = {name: digest.upper() for name, digest in sound["experiments"]["mnist"]["data"]["sha256"].items()}
    assert load(changed(sound, ("experiments", "mnist", "data", "sha256"), upper)) == lower


FNO_ARM = (*MIXTURE, "arms", "fno-combined")
PUBLISHED = {"kind": "reaction-diffusion", "train": 8, "validation": 2, "test": 32, "steps": 8, "file": "x.h5"}
PUBLISHED |= {"laplacian": "finite-volume"}
CLAIM = ("claims", "rows", "digits-transfer")
FAILS_LATER = [
    ((*MIXTURE, "training", "snapshot_every"), None, "training.snapshot_every: score_error needs snapshots"),
    ((*MIXTURE, "law"), {"modes": 32}, "law.modes: 32"),
    ((*MIXTURE, "truncation", "resolutions"), [8, 8], "truncation.resolutions"),
    ((*FNO_ARM, "prior", "scale"), "auto", "prior.scale: auto is by the data"),
    ((*FNO_ARM, "prior"), {"kind": "fno", "modes": [3, 3]}, "truncation.resolutions: the finest has all modes"),
    ((*FNO_ARM, "prior"), {"kind": "bessel", "shift": 1e6, "power": 4}, "shift, power: amplitudes 1e-24"),
    ((*FNO_ARM, "network"), {"kind": "unet", "channels": [8, 8], "blocks": 1, "groups": 2}, "score_error.resolutions"),
    ((*MNIST, "data", "train"), 1, "data.train"),
    ((*MNIST, "law"), {"modes": 2}, "law.modes: 2, but 16 fields"),
    ((*MNIST, "law"), {"resolution": 33}, "law.resolution: the network of unet-standard needs multiples of 2"),
    ((*MNIST, "arms", "unet-standard", "network", "channels"), [32] * 6, "more than a single point"),
    ((*MNIST, "arms", "unet-standard", "network", "channels"), [32, 2 * 10**9], "channels.1"),
    ((*PDE, "law"), {"modes": 1}, "cell-centred, have 0"),
    ((*PDE, "data"), PUBLISHED | {"end_time": 2.51}, "end_time: the published file has fields every 0.05, not at 2.51"),
    (("figures", "samplers_digits", "arms"), ["fno-combined"], "convergence.start: gaussian, but fno-combined has no"),
    (("figures", "samplers_digits", "arms"), [], "figures.samplers_digits: arms: give one"),
    (("figures", "fig1", "arms"), [], "figures.fig1: arms: give one"),
    (("figures", "fig1", "title"), "{x}", "figures.fig1.title: one line of text without braces"),
    (("tables", "metrics", "make"), "priors", "tables.metrics.make"),
    (("tables", "metrics", "experiments"), ["mixture"], "mnist is not in the table metrics"),
    (("tables", "priors", "experiments"), ["mixture"], "tables.priors: mixture: no data of their own"),
    (("tables", "transfer", "experiments"), [], "tables.transfer.experiments"),
    (("tables", "ladders", "baseline"), "gaussian", "tables.ladders: baseline: gaussian is not trained"),
    (("tables", "ladders", "arms"), ["warm"], "tables.ladders: arms: cold, the baseline"),
    ((*CLAIM, "quantity", "of", "colour"), "red", "quantity: table metrics has no column colour"),
    ((*CLAIM, "quantity", "of", "resolution"), "64", "resolution: '64' is text in a column of numbers"),
    ((*CLAIM, "quantity", "of", "metric"), "sliced_waserstein", "metric: there is no 'sliced_waserstein'"),
    ((*CLAIM, "quantity", "of", "metric"), "legible_share", "debiased: only one metric, a distance"),
    ((*CLAIM, "quantity", "of", "metric"), REMOVED, "must say which metric"),
    ((*CLAIM, "quantity", "less"), {"column": "gain"}, "less: a debiased distance is without its floor already"),
    ((*CLAIM, "quantity", "table"), "priors", "table priors has no values per seed"),
    (
        (*CLAIM, "first_written", "quantity", "of", "colour"),
        "red",
        "first_written.quantity: table metrics has no column",
    ),
    ((*CLAIM, "first_written", "quantity", "over"), {"column": "gain"}, "column: gain is a column of text"),
    ((*CLAIM, "each", "gain"), [], "digits-transfer.each.gain"),
    ((*CLAIM, "each", "gain"), ["vlaues"], "gain: there is no 'vlaues'"),
    ((*CLAIM, "statement"), "{arm.x}", "statement: {column} must be one of each"),
    ((*CLAIM, "at_most"), float("nan"), "digits-transfer.at_most"),
    ((*CLAIM, "at_most"), float("inf"), "digits-transfer.at_most"),
    (("claims", "power"), float("inf"), "claims.power"),
]


@pytest.mark.parametrize(("path", "value", "words"), FAILS_LATER, ids=[words for _, _, words in FAILS_LATER])
def test_what_would_fail_in_a_stage_is_refused_before_any(sound, load, path, value, words):
    try:
        (line, *_) = load(changed(sound, path, value)).broken.values()
    except UserError as error:
        line = str(error)
    assert one_line(line)
    assert words in line


def test_data_that_are_broken_stop_those_who_use_them_wherever_they_stand(sound, load):
    experiments = dict(reversed(sound["experiments"].items()))
    mutant = sound | {"experiments": settings.merge(experiments, {"mnist": {"sampling": {"samples": 33}}})}
    broken = load(mutant).broken
    assert "sampling.samples: 33, but data.test has only 32" in broken["mnist"]
    assert f"data_set: 'mnist' is broken: {broken['mnist']}" in broken["warm-start"]


def test_tables_without_what_they_are_made_of_are_not_made(sound, load):
    only = dict.fromkeys(name for name in sound["experiments"] if name != "mixture")
    config = load(settings.merge(sound, {"experiments": only}))
    assert {"priors", "power"}.isdisjoint(config.made)
    assert {"metrics", "samplers", "claims"} <= {*config.made}


def test_every_metric_that_was_measured_is_known():
    for path in (ROOT / "results" / "reference").glob("*/tables/metrics.csv"):
        assert {*read_csv(path).metric} <= {*METRICS}
