"""What a notebook does: a trained model opened, sampled and trained without the command line."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch

import multilevel_diffusion as md
from multilevel_diffusion.data.sets import FieldSets
from multilevel_diffusion.models import read_source
from multilevel_diffusion.settings import ArmSpec, parse
from multilevel_diffusion.stages.train import train
from multilevel_diffusion.storage import read_csv, read_tensors


def test_importing_the_package_imports_nothing_that_computes():
    code = (
        "import sys, multilevel_diffusion as md; dir(md); assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "gain", "sampler"),
    [
        ([], "values", "euler-maruyama"),
        (["--sampler", "{kind: heun, times: karras}"], "coefficients", {"kind": "heun", "times": "karras"}),
    ],
)
def test_a_loaded_model_samples_what_the_command_samples(mld, files, tmp_path, monkeypatch, options, gain, sampler):
    drawing = ["--resolution", 12, "--samples", 4, "--steps", 3, "--seed", 0, "--gain", gain]
    assert mld("sample", files.model, *drawing, *options, "-o", tmp_path).code == 0
    monkeypatch.chdir(tmp_path)
    fields = md.load(files.model).sample(4, resolution=12, steps=3, seed=0, gain=gain, sampler=sampler)
    assert (fields.shape, fields.dtype) == ((4, 12, 12), torch.float32)
    assert torch.equal(fields, read_tensors(tmp_path / f"{gain}-12.safetensors")[0]["samples"])


def test_an_exact_field_samples_what_the_command_samples(files):
    exact = read_source(files.spec, torch.device("cpu"))
    fields = exact.sample(4, resolution=12, steps=2, seed=1)
    assert torch.equal(fields, read_tensors(files.samples_12)[0]["samples"])


def test_a_mixture_is_drawn_from_a_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixture = md.GaussianMixture(md.Laplacian(64, scale=10.0))
    first, again, other = (mixture.sample(4, md.Torus(64), seed=seed) for seed in (0, 0, 1))
    assert first.shape == (4, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_resolution_that_a_network_does_not_take_is_refused(tiny):
    network = {"kind": "unet", "channels": [4, 8], "blocks": 1, "groups": 2}
    model, _ = train(parse(ArmSpec, tiny() | {"network": network}, "tiny"), seed=1)
    with pytest.raises(md.UserError, match="multiples of 2"):
        model.sample(2, resolution=9, steps=1, seed=0)


def test_training_in_a_notebook_gives_the_numbers_of_the_command_and_writes_nothing(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, history = train(parse(ArmSpec, json.loads(files.spec.read_text()), "spec"), seed=1)
    expected = md.load(files.model)
    assert model.epoch == expected.epoch
    for key, value in expected.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[key], value)
    history, written = (table.drop(columns="seconds") for table in (history, read_csv(files.history)))
    pd.testing.assert_frame_equal(history, written, check_exact=True, check_dtype=False)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own(tiny):
    """The settings of an arm on fields of one's own, and such fields."""
    fields = md.GaussianMixture(md.Laplacian(16, scale=10.0)).sample(24, md.Torus(16), seed=1)
    parts = dict(zip(("train", "validation", "reference", "floor"), fields.split([12, 4, 4, 4]), strict=True))
    changed = {"kind": "fields", "experiment": "bumps", "data_set": "bumps", "validation": {"resolutions": [8]}}

    def make(prior=None, grid=md.Torus, **target):
        spec = tiny(steps_per_epoch=None) | changed | ({"prior": prior} if prior else {})
        target = {"kind": "fields", "name": "bumps", "images": False} | target
        return parse(ArmSpec, spec, "own"), FieldSets(parts, grid(16), target)

    return make


def test_what_of_a_prior_does_not_fit_the_data_is_told(own):
    said = []
    train(*own(prior={"kind": "laplacian", "scale": "auto"})[:1], 1, own()[1], warn=said.append)
    assert said == []
    train(own(prior={"kind": "laplacian", "scale": 0.01})[0], 1, own()[1], warn=said.append)
    assert len(said) >= 1
    assert "bumps/tiny" in said[0]


def test_a_scale_from_the_data_is_a_number_in_the_model(own):
    spec, sets = own(prior={"kind": "laplacian", "scale": "auto"})
    model, _ = train(spec, 1, sets)
    assert isinstance(model.settings.prior.scale, float)
    assert model.target == sets.target


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"grid": md.CellCentred}, "grid"), ({"kind": "mnist"}, "kind"), ({"name": "ripples"}, "name")],
)
def test_data_of_another_geometry_or_kind_are_refused(own, changed, words):
    with pytest.raises(md.UserError, match=f"its {words} is"):
        train(own()[0], 1, own(**changed)[1])


def test_data_that_are_missing_or_too_many_are_refused(own, tiny):
    with pytest.raises(md.UserError, match="needs the data of bumps"):
        train(own()[0], 1)
    with pytest.raises(md.UserError, match="leave the data out"):
        train(parse(ArmSpec, tiny(), "tiny"), 1, own()[1])


NOT_ON_THE_PAGE = {
    "figures.curves": "figures has its functions",
    "figures.style": "figures has what others call",
    "figures.training": "figures has its functions",
}
"""Modules with public names that docs/api.md leaves out, and why."""


@pytest.fixture(scope="module")
def described(root):
    """The modules of docs/api.md, those below an entry with `show_submodules` among them."""
    entries = re.findall(
        r"^::: multilevel_diffusion\.?([\w.]*)$((?:\n .*)*)", (root / "docs/api.md").read_text(), re.MULTILINE
    )
    source, found = root / "src/multilevel_diffusion", set()
    for name, options in entries:
        found.add(name)
        if "show_submodules: true" in options:
            found |= {f"{name}.{path.stem}" for path in (source / name).glob("*.py")}
    return found


def test_every_module_with_public_names_is_on_the_page_of_the_api(root, described):
    source = root / "src/multilevel_diffusion"
    public = set()
    for path in source.rglob("*.py"):
        if re.search(r"^__all__\b", path.read_text(), re.MULTILINE):
            parts = path.relative_to(source).with_suffix("").parts
            public.add(".".join(part for part in parts if part != "__init__"))
    assert public - described == set(NOT_ON_THE_PAGE)


def test_every_module_that_a_page_imports_is_on_the_page_of_the_api(root, described):
    pages = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "docs").rglob("*.ipynb")]
    imported = {
        name for page in pages for name in re.findall(r"from multilevel_diffusion\.([\w.]+) import", page.read_text())
    }
    assert imported
    assert imported - described == set()
