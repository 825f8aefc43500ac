"""The worked examples of docs/extending: their commands do what the pages say, and their plugins obey their laws.

Plugins change what settings know for the rest of a process, so each page has a process of its own.
"""

import contextlib
import io
import math
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

import multilevel_diffusion as md
from multilevel_diffusion.builders import BUILDERS, build
from multilevel_diffusion.cli import main
from multilevel_diffusion.data.sets import read_sets
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import (
    DataBase,
    NetworkBase,
    PriorBase,
    SamplerBase,
    kinds_of,
    load_config,
    load_plugins,
    parse,
)
from multilevel_diffusion.storage import generator, read_csv, read_tensors

PAGES = {"prior": "matern", "network": "periodic_cnn", "sampler": "adams_bashforth", "data": "media"}
PLACES = ("config.yaml", "envs", "workflow", "docs/extending")


@pytest.fixture(scope="module")
def blocks(root):
    """Page to its blocks, (language, text)."""
    folder = root / "docs" / "extending"
    return {
        page: re.findall(r"^```(\w+)\n(.*?)^```$", (folder / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
        for page in PAGES
    }


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """Where the commands are typed: as the root of the repository."""
    copy = tmp_path_factory.mktemp("repository")
    for name in PLACES:
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def apart(folder):
    """Call a function in the process of a page, there with the plugin of the page loaded if it has been."""
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        processes = {page: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for page in PAGES}
        yield lambda page, law, *args: processes[page].submit(law, *args).result()


def follow(folder, page, blocks):
    """A page from top to bottom: its YAML goes into the file that it names, and its commands run."""
    os.chdir(folder)
    text = (folder / "docs" / "extending" / f"{page}.md").read_text()
    (name,) = re.findall(r"[Aa]s `(\w+\.yaml)`", text)
    (settings,) = (text for language, text in blocks if language == "yaml")
    Path(name).write_text(settings)
    for language, text in blocks[1:]:
        if language == "python":
            exec(text, {})
        for line in text.replace("\\\n", " ").splitlines() if language == "sh" else ():
            words = shlex.split(line)
            if words[0] == "export":
                os.environ.update([words[1].split("=")])
                continue
            said = io.StringIO()
            sys.argv = words
            with pytest.raises(SystemExit) as stop, contextlib.redirect_stderr(said):
                main()
            assert not stop.value.code, f"{page}.md: {line}\n{said.getvalue()}"
    for preset in ("smoke", "laptop", "paper"):
        assert not load_config([Path("config.yaml"), Path(name)], {"preset": preset}, Path("workflow/presets")).broken


def loaded(folder, page):
    """The plugin of a page as a module."""
    load_plugins([folder / "docs" / "extending" / f"{PAGES[page]}.py"])
    return sys.modules[f"multilevel_diffusion_plugin_{PAGES[page]}"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_plugin_as_it_is(root, blocks, page):
    language, code = blocks[page][0]
    assert language == "python"
    assert code == (root / "docs" / "extending" / f"{PAGES[page]}.py").read_text()


def test_the_new_prior_is_sampled(apart, folder, blocks):
    """Without the means of the components, which depend on x₁ or on x₂ alone: Σ λ_k over k₁, k₂ ≠ 0, Nyquist included."""
    apart("prior", follow, folder, "prior", blocks["prior"])
    k = [k for k in range(-16, 16) if k]
    mu = (2 * np.pi) ** 2 * np.array([a**2 + b**2 for a, b in product(k, k)])
    expected = np.sum(2 * np.pi * 0.1**2 * 0.5**2 * (1 + 0.1**2 * mu / 3) ** -2.5)
    for file, name in (("exact-32", "samples"), ("data", "reference")):
        u = read_tensors(folder / f"matern/{file}.safetensors")[0][name].double().numpy()
        centred = u - u.mean(1, keepdims=True) - u.mean(2, keepdims=True) + u.mean((1, 2), keepdims=True)
        variances = (centred**2).mean((1, 2))
        assert abs(variances.mean() - expected) < 4.5 * variances.std() / len(variances) ** 0.5
    assert set(read_csv(folder / "matern/metrics.csv").prior) == {"matern"}


def test_the_covariance_of_the_new_prior_is_the_closed_form(apart, folder):
    apart("prior", covariance_law, folder)


def covariance_law(folder):
    """σ² (1 + r) exp(−r) with r = 3^½ |x| / ℓ for ν = 3/2, summed over the periods."""
    prior = loaded(folder, "prior").Matern(24, std=2.0, length=0.1, smoothness=1.5)
    grid, periods = md.Torus(128), product((-2, -1, 0, 1), repeat=2)
    covariance = torch.fft.irfft2(prior.spectrum(grid), s=(128, 128), norm="forward")
    x = grid.points()
    distances = [math.sqrt(3) * torch.hypot(x[:, None] + i, x + j) / 0.1 for i, j in periods]
    expected = sum(2.0**2 * (1 + r) * torch.exp(-r) for r in distances)
    torch.testing.assert_close(covariance, expected, rtol=0, atol=5e-4)


def test_the_new_network_learns_the_score_on_its_grid_and_beyond(apart, folder, blocks):
    apart("network", follow, folder, "network", blocks["network"])
    scores = read_csv(folder / "cnn/scores.csv")
    scores = scores[scores.drawn_on == scores.resolution]
    assert set(scores.network) == {"cnn"}
    assert set(scores.resolution) == {32, 64}
    assert (scores.relative + 5 * scores.stderr < 1).all()  # 1 is the error of no score at all


@pytest.mark.parametrize("n", [16, 17])
def test_the_new_network_commutes_with_shifts_and_reaches_a_pixel_a_layer(apart, folder, n):
    apart("network", network_laws, folder, n)


def network_laws(folder, n):
    loaded(folder, "network")
    settings = parse(kinds_of(NetworkBase)["cnn"], {"kind": "cnn", "width": 8, "layers": 3}, "cnn")
    before = torch.get_rng_state()
    network, again = (build(settings, generator(1)).double() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    t = torch.tensor([0.3, 0.7], dtype=torch.float64)
    u, point = torch.randn(2, n, n, generator=generator(2), dtype=torch.float64), torch.zeros(2, n, n)
    point[:, 1, 6] = 1
    with torch.no_grad():
        out = network(u, t, md.Torus(n))
        assert torch.equal(again(u, t, md.Torus(n)), out)
        alone = network(u[1:], t[1:], md.Torus(n))
        shifted = network(u.roll((3, -2), (1, 2)), t, md.Torus(n))
        changed = (network(u + point, t, md.Torus(n)) - out)[0].abs() > 1e-9
    torch.testing.assert_close(alone, out[1:])
    torch.testing.assert_close(shifted, out.roll((3, -2), (1, 2)))
    assert changed.any(1).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, n - 2, n - 1]
    assert changed.any(0).nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_the_new_sampler_comes_nearer_the_truth_than_one_of_first_order(apart, folder, blocks):
    apart("sampler", follow, folder, "sampler", blocks["sampler"])
    rows = read_csv(folder / "ab/convergence.csv")
    rows = rows[(rows.metric == "spectrum_distance") & (rows.evaluations == 20)].set_index("sampler")
    assert rows.value["adams-bashforth"] + 5 * rows.stderr["adams-bashforth"] < rows.value["ancestral(stochasticity=0)"]
    assert "adams-bashforth" in (folder / "ab/samplers.md").read_text()


def test_the_new_sampler_is_of_order_two_and_ends_at_the_data(apart, folder):
    apart("sampler", sampler_laws, folder)


class GaussianDenoiser:
    """Of data N(0, ρ² Q): X_t ~ N(0, v_t Q) with v_t = ρ² a_t² + b_t², and the flow takes u_1 to (v_t / v_1)^½ u_1."""

    sde, prior, rho = ForwardSDE(), md.Bessel(8, 8.0, 0.55), 0.6

    def variance(self, t):
        return self.rho**2 * self.sde.mean_scale(t) ** 2 + self.sde.noise_scale(t) ** 2

    def predict_noise(self, u_t, t, grid):
        return u_t * (self.sde.noise_scale(t) / self.variance(t))[:, None, None]


def sampler_laws(folder):
    loaded(folder, "sampler")
    denoiser, grid = GaussianDenoiser(), md.Torus(8)
    sampler = build(parse(kinds_of(SamplerBase)["adams-bashforth"], {"kind": "adams-bashforth"}, "x"), denoiser)
    errors = []
    for steps in (20, 40, 80, 160):
        times = torch.linspace(1, 0.2, steps + 1, dtype=torch.float64)
        u, before = torch.ones(1, 8, 8, dtype=torch.float64), None
        for t, s in pairwise(times):
            now = sampler.state(u, t, grid)
            u, before = sampler.step(now, s, before, grid, lambda: None), now
        flow = (denoiser.variance(times[-1]) / denoiser.variance(times[0])).sqrt()
        errors.append((u / flow - 1).abs().max().item())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders[-1] == pytest.approx(2, abs=0.1), orders
    last = sampler.state(u, times[-1], grid)
    torch.testing.assert_close(
        sampler.step(last, torch.zeros(()).double(), before, grid, lambda: None), sampler.data(last)
    )
    assert sampler.evaluations(7) == 7


def test_the_new_data_go_through_every_stage(apart, folder, blocks):
    apart("data", follow, folder, "data", blocks["data"])
    sets = read_sets(folder / "media/data.safetensors", native=True)
    assert (sets.target["kind"], sets.target["name"], sets.target["shift"]) == ("two-phase-media", "media", 9.0)
    rows = read_csv(folder / "media/metrics.csv").set_index("metric")
    assert set(rows.experiment) == {"media"}
    assert rows.value["sliced_wasserstein"] < 6 * rows.floor["sliced_wasserstein"]
    assert (folder / "media/fields.png").stat().st_size > 10_000


def test_the_sets_of_the_new_data_are_disjoint_and_depend_on_the_settings_alone(apart, folder):
    apart("data", data_laws, folder)


def data_laws(folder):
    loaded(folder, "data")
    kind = kinds_of(DataBase)["two-phase-media"]
    given = {"kind": "two-phase-media", "train": 30, "validation": 5, "test": 10}
    sets, again, other = (build(parse(kind, given | {"seed": seed}, "x"), md.Torus(16)) for seed in (0, 0, 1))
    assert {name: fields.shape for name, fields in sets.items()} == {
        "train": (30, 16, 16),
        "validation": (5, 16, 16),
        "reference": (10, 16, 16),
        "floor": (10, 16, 16),
    }
    fields = torch.cat(list(sets.values()))
    assert torch.equal(fields, torch.cat(list(again.values())))
    everything = torch.cat([fields, *other.values()]).flatten(1)
    assert len(everything.unique(dim=0)) == len(everything)
    assert fields.abs().eq(1).all()
    assert fields.mean().abs() < 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["two-phase-median"], "no data of kind 'two-phase-median'"),
        (["two-phase-media", "--set", "trian=3"], "unknown key 'trian'; did you mean 'train'?"),
        (["two-phase-media", "--set", "train"], "'train' is not KEY=VALUE"),
        (["two-phase-media", "--set", "{train: 3"], "is not KEY=VALUE"),
        (["mnist"], "no data of kind 'mnist' here"),
    ],
)
def test_data_that_cannot_be_made_are_refused_in_one_line(mld_process, folder, tmp_path, words, said):
    plugin, output = folder / "docs/extending/media.py", tmp_path / "data.safetensors"
    sizes = [word for size in ("train=3", "validation=2", "test=4") for word in ("--set", size)]
    grid = ["--grid", "torus", "--resolution", 8, "-o", output]
    refused = mld_process("--plugin", plugin, "data", "build", words[0], *sizes, *words[1:], *grid)
    assert said in refused.refusal
    assert not output.exists()


@pytest.mark.parametrize(
    ("makes", "said"),
    [
        (
            "{'train': torch.zeros(3, 8, 8)}",
            "its builder makes train 3, not train 3, validation 2, reference 4, floor 4",
        ),
        ("dict(zip(NAMES, torch.zeros(13, 8, 9).split([3, 2, 4, 4])))", "has shape (3, 8, 9), not (n, 8, 8)"),
        ("dict(zip(NAMES, torch.full((13, 8, 8), torch.nan).split([3, 2, 4, 4])))", "not finite"),
    ],
)
def test_data_that_a_builder_makes_wrongly_are_refused_in_one_line(mld_process, tmp_path, makes, said):
    plugin, output = tmp_path / "wrong.py", tmp_path / "data.safetensors"
    plugin.write_text(
        "from typing import Literal\nimport torch\nfrom multilevel_diffusion import builds\n"
        "from multilevel_diffusion.settings import SampledDataSettings\n"
        "NAMES = ('train', 'validation', 'reference', 'floor')\n"
        "class Wrong(SampledDataSettings):\n    kind: Literal['wrong']\n"
        f"@builds(Wrong)\ndef wrong(settings, grid):\n    return {makes}\n"
    )
    sizes = [word for size in ("train=3", "validation=2", "test=4") for word in ("--set", size)]
    command = ["data", "build", "wrong", *sizes, "--grid", "torus", "--resolution", 8, "-o", output]
    assert said in mld_process("--plugin", plugin, *command).refusal
    assert not output.exists()


def test_the_workflow_makes_the_new_data_with_their_plugin(folder, blocks):
    (settings,) = (text for language, text in blocks["data"] if language == "yaml")
    (folder / "plan.yaml").write_text(settings)
    output = "results/smoke/media/data.safetensors"
    words = f"snakemake {output} --configfile plan.yaml --config preset=smoke --cores 1"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(words.split(), cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_sets(folder / output, native=True).target["name"] == "media"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such plugin"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
    ],
)
def test_a_plugin_that_does_not_load_is_refused_by_name(tmp_path, text, said):
    file = tmp_path / "plugin.py"
    if text:
        file.write_text(text)
    with pytest.raises(UserError, match=rf"plugin\.py: {said}"):
        load_plugins([file])


def test_a_kind_that_is_there_already_is_refused(apart, tmp_path):
    apart("prior", taken_kind, tmp_path)


def taken_kind(folder):
    file = folder / "again.py"
    file.write_text(
        "from typing import Literal\nfrom multilevel_diffusion.settings import PriorBase\n"
        "class Again(PriorBase):\n    kind: Literal['bessel']\n"
    )
    with pytest.raises(UserError, match="PriorBase of kind 'bessel' already"):
        load_plugins([file])


def test_this_process_knows_none_of_the_kinds(apart):
    assert "matern" not in kinds_of(PriorBase)
    assert all(settings.__module__.startswith("multilevel_diffusion.") for settings in BUILDERS)
