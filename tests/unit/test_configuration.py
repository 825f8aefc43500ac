"""docs/configuration.md and its JSON schema say what the settings are."""

import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

from multilevel_diffusion.settings import Settings, merge

ARM = "experiments.mixture.arms.fno-combined"


def subclasses(model):
    return [member for each in model.__subclasses__() for member in (each, *subclasses(each))]


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "docs" / "configuration.schema.json").read_text())


@pytest.fixture(scope="module")
def settings(root):
    """config.yaml with a preset on top."""

    def read(preset):
        layers = (root / "config.yaml", root / "workflow" / "presets" / f"{preset}.yaml")
        return merge(*(yaml.safe_load(file.read_text()) for file in layers))

    return read


def test_the_page_and_the_schema_are_those_of_the_settings(root):
    done = subprocess.run([sys.executable, root / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", [each for each in subclasses(Settings) if ".settings." in each.__module__])
def test_every_key_and_every_section_is_described(model):
    assert model.__doc__ or model.__name__.startswith("_") or "kind" in model.model_fields
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}: Field(description=...)"
        assert field.description.endswith((".", ")"))


def test_the_schema_is_one(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
def test_the_schema_accepts_config_yaml_under_each_preset(schema, settings, preset):
    jsonschema.validate(settings(preset), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("experiment", {}),
        ("experiments.mixture.trainig", {}),
        ("experiments.Mixture", {}),
        ("experiments.mixture.training.learning_rat", 1.0e-3),
        ("experiments.mixture.training.ladder", []),
        ("experiments.mixture.seeds", [1, -1]),
        ("experiments.mixture.sampling.sampler", "leapfrog"),
        ("experiments.mixture.sampling.sampler", {"kind": "heun", "tmies": "karras"}),
        ("experiments.mnist.data.sorces", []),
        (f"{ARM}.prior.fnoscale", 1),
        (f"{ARM}.prior.scale", "automatic"),
        (f"{ARM}.network.widht", 8),
        (f"{ARM}.training", {"batchsize": 8}),
        ("figures.fig1.draw", "scores"),
        ("tables.table1.mak", "distances"),
        ("claims.rows.score-transfers.at_mos", 1.5),
    ],
)
def test_the_schema_refuses_a_typo(schema, settings, path, value):
    changed = json.loads(json.dumps(settings("paper")))
    *parents, key = path.split(".")
    at = changed
    for parent in parents:
        at = at[parent]
    at[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, schema)


@pytest.mark.parametrize(
    "overlay",
    [
        {"experiments": {"mnist": None}},
        {"experiments": {"mnist": {"arms": {"fno-fno": None}}}},
        {"figures": {"fig1": None}, "tables": {"table1": None}},
        {"claims": {"rows": {"score-transfers": None}}},
        {"experiments": {"mixture": {"sampling": {"sampler": {"kind": "ancestral", "stochasticity": 0}}}}},
        {"experiments": {"mnist": {"arms": {"fno-laplacian": {"prior": {"scale": "auto"}}}}}},
        {"experiments": {"mnist": {"arms": {"fno-fno": {"training": {"batch_size": 8}}}}}},
    ],
)
def test_the_schema_accepts_what_an_overlay_may_say(schema, settings, overlay):
    jsonschema.validate(merge(settings("paper"), overlay), schema)
