"""Files of data, and the user's own fields: every format gives the same fields, and what will not do is refused in one line."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from multilevel_diffusion.data.fields import count_leaks, field_sets, summary
from multilevel_diffusion.data.sets import FieldSets, read_sets, restrict, write_sets
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.grids import CellCentred, Torus
from multilevel_diffusion.settings import Geometry
from multilevel_diffusion.storage import read_tensors, write_tensors

SETS = ("train", "validation", "reference")
SIZES = {"train": 17, "validation": 3, "test": 5}
N, COUNT = 8, 25
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, N, N))


def written(folder, kind, fields=PIXELS):
    """The fields in one of the formats, and the source that names them."""
    folder.mkdir(exist_ok=True)
    path = folder / f"fields.{kind}"
    match kind:
        case "npy":
            np.save(path, fields, allow_pickle=True)
        case "npz":
            np.savez_compressed(path, u=fields)
        case "h5" | "hdf5":
            with h5py.File(path, "w") as archive:
                archive.create_dataset("runs/u", data=fields, chunks=True, compression="gzip")
        case "png":
            for i, field in enumerate(fields):
                Image.fromarray(field.astype(np.uint8)).save(folder / f"{i:03d}.PNG")
            (folder / "README.txt").write_text("not a picture")
            return str(folder)
        case "16-bit png":
            for i, field in enumerate(fields):
                Image.fromarray(field.astype(np.uint16)).save(folder / f"{i:03d}.png")
            return str(folder)
    return str(path)


def read(source, grid=Geometry.TORUS, resolution=N, **sizes):
    return field_sets(source, grid, resolution, **SIZES | sizes)


def command(source, out, *options):
    sizes = [part for name, size in SIZES.items() for part in (f"--{name}", size)]
    return ["data", "fields", source, "--grid", "torus", "--resolution", N, *sizes, *options, "-o", out]


def together(sets):
    return torch.cat([sets.fields[name] for name in SETS])


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "hdf5", "png", "16-bit png"])
def test_every_format_gives_the_same_fields_and_no_field_is_lost_or_in_two_sets(tmp_path, kind):
    scale = {"png": 255, "16-bit png": 65535}.get(kind, 1)
    sets, available = read(written(tmp_path / "mine", kind))
    assert available == COUNT
    assert {name: len(fields) for name, fields in sets.fields.items()} == {
        "train": 17,
        "validation": 3,
        "reference": 5,
        "floor": 5,
    }
    assert all(fields.dtype == torch.float32 for fields in sets.fields.values())
    assert torch.equal(sets.fields["floor"], sets.fields["train"][:5])
    found = (together(sets) * scale).round().long().numpy()
    assert sorted(map(bytes, found)) == sorted(map(bytes, PIXELS))
    assert not np.array_equal(found, PIXELS)
    assert np.array_equal(found, together(read(written(tmp_path / "again", "npy"))[0]).long().numpy())
    assert sets.target["images"] == ("png" in kind)


def test_names_choose_among_arrays(tmp_path):
    expected, mine = together(read(written(tmp_path, "npy"))[0]), tmp_path / "several"
    np.savez(mine.with_suffix(".npz"), u=PIXELS, v=0 * PIXELS)
    with h5py.File(mine.with_suffix(".h5"), "w") as archive:
        archive["a/u"], archive["a/v"] = PIXELS, 0 * PIXELS
    for source, names in ((f"{mine}.npz", ("u", "v")), (f"{mine}.h5", ("a/u", "a/v"))):
        assert torch.equal(together(read(f"{source}:{names[0]}")[0]), expected)
        for wrong in ("", ":w"):
            with pytest.raises(UserError, match=f"{', '.join(names)}"):
                read(source + wrong)


@pytest.mark.parametrize("kind", ["npy", "h5", "png"])
def test_of_many_fields_only_those_that_are_used_are_read(tmp_path, kind):
    """The shuffled order goes through several blocks of the file; what is wrong with the pixels of the others is not seen."""
    many = np.arange(300)[:, None, None] + np.zeros((300, N, N))
    low, high = many % 256, many // 256 * 255
    many = low if kind == "png" else many
    if kind == "png":
        many[:, 0, 0] = high[:, 0, 0]
    source = written(tmp_path, kind, many)
    sets, available = read(source)
    fields = (together(sets) * (255 if kind == "png" else 1)).round().numpy()
    used = [int(np.flatnonzero((many == field).all(axis=(1, 2)))[0]) for field in fields]
    assert available == 300
    assert len(set(used)) == COUNT
    assert max(used) > 256 > 64 > min(used)
    if kind == "png":
        (tmp_path / f"{min(set(range(300)) - set(used)):03d}.PNG").write_bytes((tmp_path / "000.PNG").read_bytes()[:60])
    else:
        many[np.setdiff1d(np.arange(300), used)] = np.nan
        written(tmp_path, kind, many)
    assert torch.equal(together(read(source)[0]), together(sets))


def test_the_same_fields_are_split_alike_and_others_have_another_name(tmp_path):
    first, again = (read(written(tmp_path / name, "npy"))[0] for name in "ab")
    other, _ = read(written(tmp_path / "c", "npy", PIXELS + (np.arange(COUNT) == 7)[:, None, None]))
    assert first.target == again.target
    assert first.target | {"sha256": ""} == {
        "kind": "fields",
        "name": "fields",
        "images": False,
        "native_resolution": N,
        "sha256": "",
    }
    assert other.target["sha256"] != first.target["sha256"]


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4", "uint8", "int64"])
def test_numbers_of_any_type_become_float32(tmp_path, dtype):
    sets, _ = read(written(tmp_path, "npy", PIXELS.astype(dtype)))
    assert sorted(map(bytes, together(sets).long().numpy())) == sorted(map(bytes, PIXELS))


def test_an_offset_that_single_precision_cannot_carry_is_refused(tmp_path):
    fields = np.random.default_rng(2).normal(size=(COUNT, N, N))
    assert read(written(tmp_path, "npy", fields + 1e4))
    with pytest.raises(UserError, match="subtract the mean"):
        read(written(tmp_path, "npy", fields + 1e6))


def test_the_summary_is_that_of_all_fields(tmp_path):
    fields = np.random.default_rng(2).normal(3.0, 2.0, (COUNT, N, N)).astype(np.float32)
    line = summary(read(written(tmp_path, "npy", fields))[0])
    wanted = (fields.min(), fields.max(), fields.mean(), fields.var())
    assert line == "fields of 8 x 8, values in [{:.4g}, {:.4g}], mean {:.4g}, variance {:.4g}".format(*wanted)


def test_fields_in_the_training_and_a_test_set_are_counted(tmp_path):
    same = np.broadcast_to(PIXELS[0], PIXELS.shape)
    assert count_leaks(read(written(tmp_path / "a", "npy", same))[0]) == 5
    assert count_leaks(read(written(tmp_path / "b", "npy"))[0]) == 0


def test_the_command_writes_the_sets_and_says_what_it_read(mld, tmp_path):
    source, out = written(tmp_path / "mine", "png"), tmp_path / "bumps.safetensors"
    done = mld(*command(source, out, "--name", "bumps"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{source}: 25 fields of 8 x 8, values in [0, 1], mean ")
    sets, (expected, _) = read_sets(out, SETS), read(source)
    assert torch.equal(together(sets), together(expected))
    assert (sets.grid, sets.geometry) == (Torus(N), Geometry.TORUS)
    assert sets.target == expected.target | {"name": "bumps"}
    assert sets.provenance["command"].startswith("mld data fields")


def test_the_command_warns_of_a_leak(mld, tmp_path):
    done = mld(*command(written(tmp_path, "npy", 0 * PIXELS), tmp_path / "out"))
    assert done.code == 0
    assert "5 test fields are training fields too" in done.err


def strange(folder, kind):
    """A source of the user's that will not do."""
    folder.mkdir()
    path = folder / "fields"
    shapes = {
        "flat": (COUNT, N * N),
        "channels": (COUNT, 3, N, N),
        "channels-last": (COUNT, N, N, 3),
        "one-channel": (COUNT, 1, N, N),
        "rectangles": (COUNT, N, N + 1),
        "tiny": (COUNT, 2, 2),
        "finer": (COUNT, 2 * N, 2 * N),
        "few": (COUNT - 1, N, N),
        "none": (0, N, N),
    }
    if kind in shapes:
        return written(folder, "npy", np.zeros(shapes[kind]))
    if kind in ("complex", "bool", "object", "U3"):
        return written(folder, "npy", PIXELS.astype({"object": object}.get(kind, kind)))
    match kind:
        case "missing":
            return f"{path}.npy"
        case "suffix":
            path = path.with_suffix(".mat")
            path.write_bytes(b"MATLAB 5.0")
        case "nan" | "inf" | "large":
            fields = PIXELS.astype(float)
            fields[17, 1, 2] = {"nan": np.nan, "inf": np.inf, "large": 1e39}[kind]
            return written(folder, "npy", fields)
        case "named-npy":
            return f"{written(folder, 'npy')}:u"
        case "pickle":
            path = path.with_suffix(".npz")
            np.savez(path, u=PIXELS.astype(object))
        case "not-npy" | "not-npz" | "not-h5":
            path = path.with_suffix(f".{kind[4:]}")
            path.write_text("no")
        case "empty-npy":
            path = path.with_suffix(".npy")
            path.touch()
        case "cut-npy" | "cut-npz" | "cut-h5":
            path = folder / f"fields.{kind[4:]}"
            written(folder, kind[4:])
            path.write_bytes(path.read_bytes()[:500])
        case "strings-h5" | "group-h5" | "empty-h5":
            path = path.with_suffix(".h5")
            with h5py.File(path, "w") as archive:
                if kind == "strings-h5":
                    archive["u"] = ["a", "b"]
                archive.create_group("g")
            return f"{path}:g" if kind == "group-h5" else str(path)
        case "no-png":
            return str(folder)
        case "colour" | "palette" | "bits" | "size" | "not-png" | "cut-png":
            written(folder, "png")
            picture = Image.open(folder / "007.PNG")
            changed = {
                "colour": picture.convert("RGB"),
                "palette": picture.convert("P"),
                "bits": picture.convert("1"),
                "size": picture.resize((N, N + 1)),
            }
            if kind in changed:
                changed[kind].save(folder / "007.PNG")
            else:
                (folder / "007.PNG").write_bytes((folder / "007.PNG").read_bytes()[: 60 if kind == "cut-png" else 5])
            return str(folder)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file or folder"),
        ("suffix", "fields are read from .npy, .npz, .h5, .hdf5 or a folder of PNG"),
        ("complex", "values of type complex128"),
        ("bool", "values of type bool"),
        ("object", "Python objects are never unpickled"),
        ("U3", "values of type <U3"),
        ("pickle", "Python objects are never unpickled"),
        ("flat", "2 dimensions"),
        ("channels", "fields of several channels come later"),
        ("channels-last", "fields of several channels come later"),
        ("one-channel", "without the axis of length 1"),
        ("rectangles", "8 x 9 are rectangles"),
        ("tiny", "2 x 2 are too small"),
        ("finer", "fields of 16 x 16, but --resolution is 8"),
        ("few", "24 fields, but --train 17 + --validation 3 + --test 5 need 25"),
        ("none", "0 fields, but"),
        ("nan", "field 17 (counted from 0) is not finite"),
        ("inf", "field 17 (counted from 0) is not finite"),
        ("large", "field 17 (counted from 0) is not finite as float32"),
        ("named-npy", "one array without a name"),
        ("not-npy", "cannot be read"),
        ("not-npz", "cannot be read"),
        ("not-h5", "cannot be read"),
        ("empty-npy", "cannot be read"),
        ("cut-npy", "cannot be read"),
        ("cut-npz", "cannot be read"),
        ("cut-h5", "cannot be read"),
        ("strings-h5", "values of type object"),
        ("group-h5", "no such array"),
        ("empty-h5", "no such array (arrays in the file: none)"),
        ("no-png", "no PNG in this folder"),
        ("colour", "007.PNG is not greyscale of 8 or 16 bits but RGB; fields of several channels come later"),
        ("palette", "007.PNG is not greyscale of 8 or 16 bits but P"),
        ("bits", "007.PNG is not greyscale of 8 or 16 bits but 1"),
        ("size", "007.PNG is 9 x 8, but 000.PNG is 8 x 8"),
        ("not-png", "cannot be read: 007.PNG"),
        ("cut-png", "cannot be read: 007.PNG"),
    ],
)
def test_what_will_not_do_is_refused_in_one_line_and_nothing_is_written(mld, tmp_path, kind, words):
    source, out = strange(tmp_path / "mine", kind), tmp_path / "out"
    refused = mld(*command(source, out)).refusal
    assert refused.startswith(f"mld: {source}: ")
    assert words in refused
    assert not out.exists()


@pytest.fixture
def sets(tmp_path):
    """The four sets in a file on the torus, and a way to write others."""
    path, made = tmp_path / "data.safetensors", read(written(tmp_path / "mine", "npy"))[0]
    write_sets(path, made, {"seconds": 1.0})
    return path, made


def test_a_file_holds_what_was_written(sets):
    path, made = sets
    again = read_sets(path, SETS)
    assert torch.equal(together(again), together(made))
    assert (again.grid, again.target, again.provenance) == (made.grid, made.target, {"seconds": 1.0})
    assert set(read_sets(path).fields) == {"reference", "floor"}
    header = read_tensors(path)[1]
    assert (header["grid"], header["resolution"]) == ("torus", N)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"grid": None}, "header: grid: Input should be"),
        ({"grid": "sphere"}, "header: grid: Input should be"),
        ({"resolution": "8"}, "header: resolution: Input should be"),
        ({"resolution": True}, "header: resolution: Input should be"),
        ({"target": None}, "header: target.sampled: Input should be"),
        ({"target": {"experiment": "mnist"}}, "header: target.sampled.kind: Field required"),
        ({"provenance": 1}, "header: provenance: Input should be"),
        ({"resolution": 9}, "has shape (5, 8, 8), not (n, 9, 9)"),
    ],
)
def test_a_header_of_another_version_is_refused(sets, changed, words):
    path, made = sets
    write_tensors(path, made.fields, read_tensors(path)[1] | changed)
    with pytest.raises(UserError, match=r"data\.safetensors: ") as refused:
        read_sets(path)
    assert words in str(refused.value)
    assert "mld data" in str(refused.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda u: u[:, :, :7], "has shape (5, 8, 7)"),
        (lambda u: u[:, None], "has shape (5, 1, 8, 8)"),
        (lambda u: u[0], "has shape (8, 8)"),
        (lambda u: u[:0], "has shape (0, 8, 8)"),
        (lambda u: u.double(), "is float64, not float32"),
        (lambda u: u.int(), "is int32, not float32"),
        (lambda u: torch.where(u == u.max(), torch.nan, u), "not finite"),
        (lambda u: torch.where(u == u.max(), torch.inf, u), "not finite"),
        (lambda u: torch.where(u == u.min(), -torch.inf, u), "not finite"),
    ],
)
@pytest.mark.parametrize("name", ["reference", "floor"])
def test_sets_that_are_not_finite_float32_fields_are_neither_read_nor_written(sets, name, spoil, words):
    path, made = sets
    spoilt = made.fields | {name: spoil(made.fields[name])}
    with pytest.raises(UserError) as refused:
        write_sets(path.with_name("other"), FieldSets(spoilt, made.grid, made.target), {})
    assert words in str(refused.value)
    assert not path.with_name("other").exists()
    write_tensors(path, spoilt, read_tensors(path)[1])
    with pytest.raises(UserError, match=rf"data\.safetensors: {name} ") as refused:
        read_sets(path)
    assert words in str(refused.value)


def test_a_file_without_the_sets_or_with_too_few_fields_is_refused(sets):
    path, made = sets
    with pytest.raises(UserError, match="reference has 5 fields, but 6 are needed"):
        read_sets(path, {"reference": 6})
    assert set(read_sets(path, {"reference": 5}).fields) == {"reference"}
    write_sets(path, restrict(made, N), {})
    with pytest.raises(UserError, match="has no train"):
        read_sets(path, ("train", "floor"))
    with pytest.raises(UserError, match="native grid"):
        read_sets(path, native=True)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"grid": Geometry.CELL_CENTRED}, "its grid is torus, but spec.json asks for cell-centred"),
        ({"resolution": 16}, "its resolution is 8, but spec.json asks for 16"),
        ({"kind": "mnist"}, "its kind is fields, but spec.json asks for mnist"),
        ({"name": "bumps"}, "its name is fields, but spec.json asks for bumps"),
    ],
)
def test_data_that_disagree_with_the_settings_are_refused(sets, wanted, words):
    path, made = sets
    fitting = {"grid": Geometry.TORUS, "resolution": N, "kind": "fields", "name": "fields"}
    made.demand(path, "spec.json", **fitting)
    with pytest.raises(UserError, match=r"data\.safetensors") as refused:
        made.demand(path, "spec.json", **fitting | wanted)
    assert words in str(refused.value)


@pytest.mark.parametrize("grid", [Torus, CellCentred])
@pytest.mark.parametrize("resolution", [7, 8])
@pytest.mark.parametrize("finer", [15, 16])
def test_on_a_finer_grid_and_back_the_test_sets_are_the_same(mld, tmp_path, grid, resolution, finer):
    """All but the Nyquist modes of an even torus, which restriction takes away."""
    native, mine = grid(resolution), tmp_path / "fields.npy"
    fields = grid(64).resample(torch.randn(COUNT, 64, 64, dtype=torch.float64), native)
    np.save(mine, fields.numpy())
    geometry = FieldSets({}, native, {}).geometry
    data, fine = tmp_path / "data", tmp_path / "fine"
    sizes = [part for name, size in SIZES.items() for part in (f"--{name}", size)]
    made = mld("data", "fields", mine, "--grid", geometry, "--resolution", resolution, *sizes, "-o", data)
    assert made.code == 0, made.err
    assert mld("data", "restrict", data, "--resolution", finer, "-o", fine).code == 0
    before, after = read_sets(data), read_sets(fine)
    assert after.grid == grid(finer)
    assert after.target == before.target
    assert after.provenance["data"] == before.provenance
    back = restrict(after, resolution)
    for name in ("reference", "floor"):
        torch.testing.assert_close(back.fields[name], before.fields[name], rtol=0, atol=1e-5)


def test_data_on_one_grid_or_spoilt_data_are_not_restricted(mld, sets, tmp_path):
    path, made = sets
    again = ["data", "restrict", path, "--resolution", 4, "-o", tmp_path / "out"]
    spoilt = made.fields["floor"].clone()
    spoilt[2, 3, 4] = torch.nan
    write_tensors(path, made.fields | {"floor": spoilt}, read_tensors(path)[1])
    assert "floor has values that are not finite" in mld(*again).refusal
    write_sets(path, restrict(made, 8), {})
    assert "native grid" in mld(*again).refusal
    assert not (tmp_path / "out").exists()
