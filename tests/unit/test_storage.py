import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import multilevel_diffusion
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.provenance import provenance
from multilevel_diffusion.storage import (
    WEIGHTS,
    generator,
    model_file,
    read_arrays,
    read_csv,
    read_facts,
    read_json,
    read_tensors,
    write_atomically,
    write_csv,
    write_json,
    write_tensors,
)

BIG = {"tensors": {"u": torch.zeros(100_000)}, "csv": {"u": np.arange(50_000)}, "json": {"u": [0] * 50_000}}


def write(kind, path, content):
    if kind == "tensors":
        write_tensors(path, content, {"kind": kind})
    elif kind == "csv":
        write_csv(path, pd.DataFrame(content), {"kind": kind})
    else:
        write_json(path, content)


READ = {"tensors": read_tensors, "csv": read_csv, "json": read_json}
KINDS = pytest.mark.parametrize("kind", list(READ))


@contextmanager
def no_file_above(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensors_that_pytorch_conjugates_or_negates_lazily_are_written_as_they_look(tmp_path):
    values = torch.randn(3, dtype=torch.complex64, generator=generator(1))
    lazy = {"conjugate": values.conj(), "negative": values.conj().imag}
    assert lazy["conjugate"].is_conj()
    assert lazy["negative"].is_neg()
    write_tensors(tmp_path / "t.safetensors", lazy, {})
    for name, found in read_tensors(tmp_path / "t.safetensors")[0].items():
        assert torch.equal(found, lazy[name])


def test_tensors_and_header_survive_the_file(tmp_path):
    g = torch.Generator().manual_seed(0)
    tensors = {
        "single": torch.randn(3, 5, generator=g),
        "double": torch.randn(2, 2, 2, generator=g, dtype=torch.float64),
        "complex": torch.randn(7, generator=g, dtype=torch.complex64),
        "bytes": torch.arange(13, dtype=torch.uint8),
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "transposed": torch.randn(3, 4, generator=g).T,
    }
    header = {"spec": {"a": [1, 2.5, None]}, "umlaut": "ü", "small": 6e-4}
    write_tensors(tmp_path / "deep" / "x.safetensors", tensors, header)
    found, found_header = read_tensors(tmp_path / "deep" / "x.safetensors")
    assert found_header == header
    assert found.keys() == tensors.keys()
    for key, value in tensors.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


@pytest.mark.parametrize("read", [read_tensors, read_arrays])
def test_a_file_that_was_changed_since_it_was_written_is_refused(tmp_path, read):
    """Wherever it is, and however sound what it says now; a file of before has no checksums, and is read."""
    path, changed = tmp_path / "x.safetensors", tmp_path / "changed.safetensors"
    write_tensors(path, {"u": torch.ones(2, 3), "v": torch.tensor(1.0)}, {"seed": 1})
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, changed, metadata)
    assert read(changed)[1] == {"seed": 1}
    for other in ({"u": torch.eye(2, 3)}, {"v": torch.ones(2)}, {"w": torch.ones(1)}):
        save_file(tensors | other, changed, metadata)
        with pytest.raises(UserError, match=f"{changed}: changed since it was written"):
            read(changed)
    save_file(tensors, changed, metadata | {"header": json.dumps({"seed": 2})})
    with pytest.raises(UserError, match=f"{changed}: changed since it was written"):
        read(changed)
    save_file({"u": tensors["u"]}, changed, {"header": metadata["header"]})
    assert read(changed)[1] == {"seed": 1}


def test_what_is_read_is_aligned_for_complex_views_whatever_the_header(tmp_path):
    pairs = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    for length in range(16):
        path = tmp_path / f"{length}.safetensors"
        write_tensors(path, {"pairs": pairs}, {"filling": "x" * length})
        found = read_tensors(path)[0]["pairs"]
        assert found.data_ptr() % 16 == 0
        assert torch.equal(torch.view_as_complex(found), torch.view_as_complex(pairs))


def test_a_table_survives_the_file_to_the_last_bit(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": [0.1, 1e-300], "c": ["x", None], "d": [1 / 3, np.nan]})
    write_csv(tmp_path / "x.csv", table, {"version": "1", "commit": "abc"})
    pd.testing.assert_frame_equal(read_csv(tmp_path / "x.csv"), table, check_exact=True, check_dtype=False)
    first = (tmp_path / "x.csv").read_text().splitlines()[0]
    assert json.loads(first.removeprefix("# ")).items() >= {"version": "1", "commit": "abc"}.items()


def test_json_survives_the_file(tmp_path):
    data = {"a": [1, 2.5], "b": {"c": "ü"}, "d": None}
    write_json(tmp_path / "x.json", data)
    assert read_json(tmp_path / "x.json") == data


@KINDS
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused_with_path_and_mend_in_one_line(tmp_path, kind, kept):
    path = tmp_path / "x"
    write(kind, path, BIG[kind])
    os.truncate(path, int(kept * path.stat().st_size))
    with pytest.raises(UserError, match=re.escape(f"{path}: ")) as refused:
        READ[kind](path)
    assert "make it again" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@KINDS
def test_a_garbage_file_is_refused_with_path_and_mend_in_one_line(tmp_path, kind):
    path = tmp_path / "x"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(UserError, match=re.escape(f"{path}: ")) as refused:
        READ[kind](path)
    assert "make it again" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["[1]", "5", "null", '"x"', "[" * 100_000, '{"a":' * 100_000], ids=len)
def test_json_that_is_no_mapping_or_nested_without_end_is_refused_wherever_it_stands(tmp_path, text):
    table, tensors = tmp_path / "x.csv", tmp_path / "x.safetensors"
    (tmp_path / "x.json").write_text(text)
    table.write_text(f"# {text}\na\n1\n")
    save_file({"u": torch.zeros(3)}, tensors, {"header": text})
    for read, path in (
        (read_json, tmp_path / "x.json"),
        (read_csv, table),
        (read_facts, table),
        (read_tensors, tensors),
    ):
        with pytest.raises(UserError, match=re.escape(f"{path}: truncated or not a file of ours")) as refused:
            read(path)
        assert len(str(refused.value).splitlines()) == 1


@KINDS
def test_a_missing_file_is_refused_with_path_and_mend_in_one_line(tmp_path, kind):
    path = tmp_path / "x"
    with pytest.raises(UserError, match=re.escape(f"{path}: no such file; run")) as refused:
        READ[kind](path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"header": "not json"}])
def test_a_foreign_safetensors_file_is_refused(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    save_file({"u": torch.zeros(3)}, path, metadata)
    with pytest.raises(UserError, match=re.escape(f"{path}: ")) as refused:
        read_tensors(path)
    assert len(str(refused.value).splitlines()) == 1


def fail_while_writing(path):
    with write_atomically(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError


def test_a_failure_while_writing_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_keeps_the_file_that_was_there(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_nothing_is_seen_at_the_target_before_the_end(tmp_path):
    with write_atomically(tmp_path / "x") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "x").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "whole"


@KINDS
def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path, kind):
    path = tmp_path / "x"
    with no_file_above(20_000), pytest.raises(UserError, match=re.escape(f"{path}: no space left")) as refused:
        write(kind, path, BIG[kind])
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_a_full_disk_keeps_the_file_that_was_there(tmp_path, kind):
    path = tmp_path / "x"
    path.write_text("old")
    with no_file_above(20_000), pytest.raises(UserError):
        write(kind, path, BIG[kind])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "old")]


def draw(stream):
    return torch.randn(8, generator=stream)


def test_a_stream_depends_on_its_key_alone():
    torch.manual_seed(0)
    first = draw(generator(1, "sample", "arm", 0))
    torch.manual_seed(1)
    assert torch.equal(draw(generator(1, "sample", "arm", 0)), first)


def test_another_seed_stage_arm_or_block_is_another_stream():
    keys = [
        (1, "sample", "arm", 0),
        (2, "sample", "arm", 0),
        (1, "train", "arm", 0),
        (1, "sample", "other", 0),
        (1, "sample", "arm", 1),
        (1, "sample", "arm"),
        (1, "sample", "arm", "0"),
        (1, "samplearm", 0),
    ]
    assert len({tuple(draw(generator(seed, *key)).tolist()) for seed, *key in keys}) == len(keys)


def test_a_stream_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    draw(generator(3, "stage"))
    assert torch.equal(torch.get_rng_state(), before)


def test_provenance_says_what_ran_and_from_which_commit(root):
    facts = provenance(seed=7)
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert facts["version"] == multilevel_diffusion.__version__
    assert facts["python"] == platform.python_version()
    assert facts["torch"] == torch.__version__
    assert facts["seed"] == 7
    assert facts["command"].startswith(Path(sys.argv[0]).name)
    assert facts["commit"].removesuffix("-dirty") == (head.stdout.strip() if head.returncode == 0 else "unknown")


def commit_of(folder):
    """The commit that provenance names where the package lies in a folder."""
    shutil.copytree(Path(multilevel_diffusion.__file__).parent, folder / "multilevel_diffusion")
    command = [sys.executable, "-c", "from multilevel_diffusion.provenance import _commit; print(_commit())"]
    found = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    return found.stdout.strip()


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("noted", [True, False])
def test_the_commit_of_a_repository_that_does_not_track_the_package_is_not_named(tmp_path, tracked, noted):
    """As of an installation into a virtual environment that lies in the checkout of something else."""
    git = ["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    site = tmp_path / "venv"
    (site / "multilevel_diffusion-9.dist-info").mkdir(parents=True)
    (site / "multilevel_diffusion-9.dist-info/METADATA").write_text("Name: multilevel-diffusion\nVersion: 9\n")
    if noted:
        said = {"url": "https://example.org", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
        (site / "multilevel_diffusion-9.dist-info/direct_url.json").write_text(json.dumps(said))
    (tmp_path / "theirs").touch()
    subprocess.run([*git, "add", "theirs"], check=True)
    if tracked:
        (site / "multilevel_diffusion").mkdir()
        (site / "multilevel_diffusion/provenance.py").write_bytes(Path(provenance.__code__.co_filename).read_bytes())
        subprocess.run([*git, "add", "venv/multilevel_diffusion"], check=True)
        shutil.rmtree(site / "multilevel_diffusion")
    subprocess.run([*git, "commit", "--quiet", "-m", "theirs"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(site) == (head if tracked else "c0ffee" if noted else "unknown")


def test_the_name_of_a_model_of_the_package_is_no_folder_and_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert model_file(Path("digits")) == WEIGHTS / "digits.safetensors"
    for other in (Path("./sub/digits"), tmp_path / "digits"):
        assert model_file(other) == other
    (tmp_path / "digits").rmdir()
    (tmp_path / "digits").write_bytes(b"")
    assert model_file(Path("digits")) == Path("digits")


def test_only_what_is_needed_is_read(tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, {"a": torch.ones(2), "b": torch.zeros(3)}, {})
    assert set(read_tensors(path, need=("b",))[0]) == {"b"}
    assert set(read_tensors(path)[0]) == {"a", "b"}
    with pytest.raises(UserError, match="it has no c"):
        read_tensors(path, need=("b", "c"))
