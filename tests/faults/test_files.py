"""Every header key, tensor, column and text of every own file is changed, one at a time, and read by all commands that take it.

Of such a mutant a command must say in one line what is wrong with which file, and write nothing; or give the numbers of the
file as it was. Some mutants are sound files of something else, as samples of another seed: see `sound`.
"""

import copy
import json
import random
import re
from collections import Counter

import numpy as np
import pytest
import torch

from multilevel_diffusion.classifier import Classifier, DigitNetwork, write_classifier
from multilevel_diffusion.columns import LABELS, MAY_BE_EMPTY
from multilevel_diffusion.storage import read_csv, read_tensors, write_csv, write_tensors

FOUR = "--resolution 8 --samples 4"
DRAW = f"{FOUR} --steps 1 --seed 1"
SCORE = "--resolution 8 --gain values --batches 1 --batch-size 2"
ALONG = "--gain values --samples 4 --steps 1 --projections 2"
CONVERGE = (
    "--resolution 8 --sampler heun --evaluations 2 --reference-evaluations 2 --samples 4 --projections 2 --seed 1"
)
DENSITY = "--resolution 8 --drawn-on 9 --samples 2 --steps 1 --probes 1 --seed 1"
TRUNCATE = "--resolution 5 --resolution 7 --drawn-on 8 --samples 2 --steps 1 --seed 1"
SIZES = "--resolution 8 --train 48 --validation 8 --test 16 --name bumps"
COMBINED = {"kind": "combined", "scale": 2, "fno_scale": 0.5, "modes": [3, 2]}
NETWORK = {"kind": "fno", "width": 3, "layers": 1, "modes": 2, "head": 4, "preconditioning": "gaussian"}
BUMPS = {"kind": "fields", "experiment": "bumps", "data_set": "bumps", "native_resolution": 8, "network": NETWORK}
BUMPS |= {"validation": {"resolutions": [8], "test": 4}}
WAYS = {
    "torus": {"grid": "torus", "law": {"modes": 1}, "prior": COMBINED},
    "walls": {"grid": "cell-centred", "prior": {"kind": "bessel", "shift": 8, "power": 0.8}},
}


@pytest.fixture(scope="module")
def own(mld, root, tiny, tmp_path_factory):
    """The files by kind: a path, and the commands that read it, in which MUTANT stands for it, or FOLDER for where it is."""
    folder = tmp_path_factory.mktemp("own")

    def run(command, name):
        done = mld(*command.split(), "-o", folder / name)
        assert done.code == 0, done.err
        return folder / name

    def spec_of(name, arm):
        (folder / name).write_text(json.dumps(arm))
        return folder / name

    spec = spec_of("spec.json", tiny())
    config = f"{root / 'config.yaml'} --set preset=smoke"
    target = run(f"resolve {config} --arm mixture/fno-combined --target", "target.json")
    trained, law = run(f"train {spec} --seed 1", "mixture"), run(f"gaussian {spec}", "law")
    data, model, snapshots = (
        run(f"data mixture {spec} {FOUR}", "data"),
        trained / "model.safetensors",
        trained / "snapshots",
    )
    samples = run(f"sample {model} {DRAW}", "samples") / "values-8.safetensors"
    exact = run(f"sample {spec} {DRAW}", "exact") / "exact-8.safetensors"
    metrics = run(f"evaluate {samples} {exact} --data {data} --projections 2", "metrics.csv")
    scores = run(f"score-error {snapshots} {SCORE} --resolution 16", "scores.csv")
    curve, density = (
        run(f"convergence {model} {CONVERGE}", "curve.csv"),
        run(f"log-density {spec} {DENSITY}", "density.csv"),
    )
    judge = f"evaluate MUTANT --data {data} --projections 2"
    on_field = [f"sample MUTANT {DRAW}", f"convergence MUTANT {CONVERGE}", f"log-density MUTANT {DENSITY}"]
    on_law = [
        "train MUTANT --seed 1",
        "gaussian MUTANT",
        f"truncation MUTANT {TRUNCATE}",
        f"data mixture MUTANT {FOUR}",
    ]
    found = {
        "spec.json": (spec, on_field + on_law),
        "target.json": (target, [on_field[0], on_law[-1]]),
        "mixture data": (data, [f"evaluate {samples} --data MUTANT --projections 2", "figure fields MUTANT"]),
        "model": (model, on_field),
        "snapshot": (snapshots / "epoch_0002.safetensors", [f"score-error FOLDER {SCORE}"]),
        "samples": (samples, [judge, "figure fields MUTANT"]),
        "exact samples": (exact, [judge, "figure fields MUTANT"]),
        "mixture law": (law, [f"score-error {snapshots} {SCORE} --gaussian MUTANT"]),
        "metrics.csv": (
            metrics,
            [
                *("table metrics MUTANT", "table distances MUTANT --experiment mixture", f"compare MUTANT {metrics}"),
                f"table claims {config} --table metrics=MUTANT",
            ],
        ),
        "scores.csv": (scores, ["figure score-error MUTANT", f"table metrics {metrics} --scores MUTANT"]),
        "convergence.csv": (curve, ["figure samplers MUTANT", "table samplers MUTANT"]),
        "density.csv": (density, ["figure log-density MUTANT"]),
    }
    for way, changes in WAYS.items():
        fields = np.random.default_rng(0).normal(size=(72, 5, 5)).repeat(2, 1).repeat(2, 2)[:, 1:-1, 1:-1]
        np.save(folder / "fields.npy", fields)
        spec = spec_of(f"{way}.json", tiny(steps_per_epoch=None) | BUMPS | changes)
        data = run(f"data fields {folder / 'fields.npy'} --grid {changes['grid']} {SIZES}", f"{way}-data")
        law = run(f"gaussian {spec} --data {data}", f"{way}-law")
        trained = run(f"train {spec} --data {data} --gaussian {law} --seed 1", way)
        model, snapshots, history = (trained / name for name in ("model.safetensors", "snapshots", "history.csv"))
        samples = run(f"sample {model} {DRAW}", f"{way}-samples") / "values-8.safetensors"
        on_data = [f"train {spec} --data MUTANT --seed 1", f"gaussian {spec} --data MUTANT", "figure fields MUTANT"]
        on_data += ["data restrict MUTANT --resolution 6", f"evaluate {samples} --data MUTANT --projections 2"]
        on_data += [f"along-training {snapshots} --data MUTANT {ALONG}", f"table priors {spec} --data MUTANT"]
        on_data += [f"convergence {model} {CONVERGE} --data MUTANT"]
        on_spec = [f"train MUTANT --data {data} --seed 1", f"gaussian MUTANT --data {data}"]
        on_model = [f"sample MUTANT {DRAW}", f"convergence MUTANT {CONVERGE} --data {data}"]
        found |= {
            f"{way} spec.json": (spec, on_spec),
            f"{way} data": (data, on_data),
            f"{way} law": (law, [f"train {spec} --data {data} --seed 1 --gaussian MUTANT"]),
            f"{way} model": (model, on_model),
            f"{way} snapshot": (snapshots / "epoch_0002.safetensors", [f"along-training FOLDER --data {data} {ALONG}"]),
            f"{way} samples": (samples, [f"evaluate MUTANT --data {data} --projections 2", "figure fields MUTANT"]),
        }
    on_history = ["figure losses MUTANT", "figure skill MUTANT", "figure ladders MUTANT"]
    on_history += [f"table metrics {metrics} --history MUTANT", "table ladders MUTANT --baseline tiny"]
    along = run(f"along-training {snapshots} --data {data} {ALONG}", "along.csv")
    found |= {"history.csv": (history, on_history), "along.csv": (along, ["figure along-training MUTANT"])}

    digits = {"kind": "mnist", "name": "mnist", "images": True, "native_resolution": 8, "sha256": {"a": "0" * 64}}
    header = read_tensors(data)[1] | {"grid": "torus", "target": digits}
    write_tensors(folder / "digits", read_tensors(data)[0], header)
    drawn, header = read_tensors(found["torus samples"][0])
    header["spec"] |= {"kind": "mnist", "experiment": "mnist", "data_set": "mnist"}
    write_tensors(folder / "drawn", drawn, header | {"target": digits})
    torch.manual_seed(0)
    learned = {key: digits[key] for key in ("kind", "native_resolution", "sha256")}
    write_classifier(folder / "classifier", Classifier(DigitNetwork(), 0.5, learned, {"seed": 0}), {})
    command = f"evaluate {folder / 'drawn'} --data {folder / 'digits'} --projections 2 --classifier MUTANT"
    return found | {"classifier": (folder / "classifier", [command])}


OTHERS = {
    "torus": "cell-centred",
    "cell-centred": "torus",
    "values": "coefficients",
    "learned": "exact",
    "exact": "learned",
}
OTHERS |= {"mixture": "fields", "fields": "mnist", "combined": "laplacian", "fno": "unet", "gaussian": "none"}


def other(value):
    """Another value that might be sound in its place."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return OTHERS.get(value, f"{value}x")
        case list():
            return value[:-1]
        case dict():
            return {}
    return "x"


def keys(data, path=()):
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key), value
        if key != "provenance":
            yield from keys(value, (*path, key))


def of_mapping(data):
    """(what is changed, changed) for every key of a mapping and of those inside."""
    for path, value in keys(data):
        changes = {"missing": None, "null": None, "of another type": 5 if isinstance(value, str | list | dict) else "x"}
        if value not in ({}, []):
            changes["other"] = other(value)
        for what, new in changes.items():
            mutant = copy.deepcopy(data)
            *above, last = path
            inside = mutant
            for key in above:
                inside = inside[key]
            inside[last] = new
            if what == "missing":
                del inside[last]
            yield f"{'.'.join(map(str, path))} {what}", mutant
    yield "an extra key", data | {"extra": 1}


def of_tensor(name, tensor):
    if tensor.dtype in (torch.float32, torch.float64):
        yield "of another precision", tensor.double() if tensor.dtype == torch.float32 else tensor.float()
    yield "of another type", (torch.view_as_real(tensor) if tensor.is_complex() else tensor).to(torch.int32)
    if tensor.ndim:
        yield "smaller by one", tensor[..., :-1].clone()
        yield "larger by one", torch.cat([tensor, tensor[..., :1]], -1)
        yield "without rows", tensor[:0].clone()
    if tensor.ndim > 1 and tensor.shape[-1] != tensor.shape[-2]:
        yield "transposed", tensor.mT.contiguous()
    for value in (torch.nan, torch.inf, -torch.inf) if tensor.dtype.is_floating_point or tensor.is_complex() else ():
        spoilt = tensor.clone()
        spoilt.view(-1)[-1] = value
        yield f"with {value}", spoilt
    last = re.split(r"[/.]", name)[-1]
    if last in ("variances", "low", "cosines", "running_var"):
        yield "negative", -tensor - 1e-3
    if last == "low":
        yield "not symmetric", tensor + torch.eye(len(tensor)).roll(1, 0)
    if name == "prior/weights":
        yield "of another draw", tensor.flip(0).contiguous()


def of_table(table):
    for name in table:
        yield f"{name} missing", table.drop(columns=name)
        yield f"{name} all empty", table.assign(**{name: None})
        for what, value in {"empty": None, "text": "x", "infinite": np.inf}.items():
            mutant = table.astype({name: object})
            mutant.loc[len(table) - 1, name] = value
            yield f"{name} {what}", mutant
    yield "no rows", table.iloc[:0]
    yield "rows twice", table.loc[[*table.index, 0]]


def mutants(path):
    """(what is changed, how the mutant is written to a path) of a file."""
    texts = {}
    if path.suffix == ".json":
        data = json.loads(path.read_text())
        for what, value in of_mapping(data):
            yield what, lambda to, value=value: to.write_text(json.dumps(value))
        texts = {"a list": "[1]", "a number": "5", "a text": '"x"', "deep": "[" * 100_000, "deeper": '{"a":' * 100_000}
        texts["a deep prior"] = json.dumps(data | {"prior": "DEEP"}).replace('"DEEP"', "[" * 900 + "]" * 900)
    elif path.suffix == ".csv":
        first, _, rest = path.read_text().partition("\n")
        for what, value in of_table(read_csv(path)):
            yield what, lambda to, value=value: write_csv(to, value, json.loads(first.removeprefix("# ")))
        texts = {"no provenance": rest, "half of the provenance": f"{first[: len(first) // 2]}\n{rest}"}
        texts |= {"provenance a list": f"# [1]\n{rest}", "deep": f"# {'[' * 100_000}\n{rest}"}
        texts |= {"a cell too many": f"{first}\n{rest.rstrip()},1\n", "an open quote": f'{first}\n{rest.rstrip()}"\n'}
    else:
        tensors, header = read_tensors(path)
        headers = {"a list": [1], "a number": 5, "null": None} | dict(of_mapping(header))
        for what, value in headers.items():
            yield f"header: {what}", lambda to, value=value: write_tensors(to, tensors, value)
        sets = {"an extra tensor": tensors | {"extra": torch.ones(2)}}
        for name, tensor in tensors.items():
            sets[f"{name} missing"] = {key: value for key, value in tensors.items() if key != name}
            sets |= {f"{name} {what}": tensors | {name: value} for what, value in of_tensor(name, tensor)}
        for what, values in sets.items():
            yield what, lambda to, values=values: write_tensors(to, values, header)
    data = path.read_bytes()
    texts |= {"nothing": b"", "half": data[: len(data) // 2], "all but a byte": data[:-1], "noise": bytes(range(256))}
    for what, text in texts.items():
        yield f"text: {what}", lambda to, text=text: to.write_bytes(text.encode() if isinstance(text, str) else text)


def numbers(out):
    """What a command wrote, without provenance and times."""
    if out.is_dir():
        return {str(path.relative_to(out)): numbers(path) for path in sorted(out.rglob("*")) if path.is_file()}
    if out.suffix == ".csv":
        table = read_csv(out)
        return table.drop(columns=[name for name in table if "seconds" in name]).to_csv()
    if out.suffix in (".md", ".html"):
        return None  # the same numbers as beside
    if out.suffix == ".png":
        return out.read_bytes()
    return {name: (value.dtype, value.numpy().tobytes()) for name, value in read_tensors(out)[0].items()}


def outcome(mld, command, write, file, expected=None):
    """Whether a command refused in one line what is written to `file`, or gave what is expected; and what it said or wrote."""
    out = file.parent.with_name("out")
    for folder in (file.parent, out):
        folder.mkdir(parents=True)
    write(file)
    given = [word.replace("MUTANT", str(file)).replace("FOLDER", str(file.parent)) for word in command.split()]
    suffix = ".png" if given[0] == "figure" else "" if given[0] in ("train", "sample", "data", "gaussian") else ".csv"
    try:
        done = mld(*given, "-o", out / f"out{suffix}")
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    if done.code == 0:
        found = numbers(out)
        return "same numbers" if expected in (None, found) else "other numbers", found
    names = ["TABLES: ", "METRICS: ", "claim "]
    names += [word.rpartition("=")[2] for word in given if "/" in word or word.startswith("--")]
    clear = done.err.startswith("mld: ") and done.err.count("\n") == 1 and any(name in done.err for name in names)
    return "one line" if clear and not any(out.rglob("*")) else "no clear line", done.err


def sound(kind, what, command):
    """Whether a mutant is a sound file of something else: what nothing in it contradicts, so that its numbers may be others."""
    if kind.endswith("spec.json") or kind == "target.json":
        return what.endswith((" other", " missing", " null"))  # settings, of which many have a default
    if kind.endswith(".csv"):
        column, _, change = what.removesuffix(" all empty").partition(" ")
        if re.fullmatch(r"(validation|test|skill)_\d+|learning_rate", column) and change == "missing":
            return True  # trainings need not have them
        optional = {name for names in MAY_BE_EMPTY.values() for name in names}
        return column in (LABELS if change in ("text", "infinite") else optional if change in ("", "empty") else ())
    contradicted = r"resolution|tail|modes|of\.|field|target|spec\.(grid|kind|network|prior\.modes)"
    contradicted += "" if command.startswith("data restrict") else "|grid"
    if what == "header: target.images other" and command.startswith("figure"):
        return True  # the same fields, upside down
    return what.endswith(" other") and not re.match(rf"header: ({contradicted})", what)


def test_a_file_with_a_wrong_header_tensor_or_text_is_refused_in_one_line_or_gives_the_same_numbers(
    mld, own, request, tmp_path
):
    """Of --faults-count mutants, drawn by --faults-seed."""
    count, seed = request.config.getoption("--faults-count") or 25, request.config.getoption("--faults-seed")
    every = [(kind, what, write) for kind, (path, _) in own.items() for what, write in mutants(path)]
    expected, found, wrong = {}, Counter(), []
    for number, (kind, what, write) in enumerate(random.Random(seed).sample(every, min(count, len(every)))):
        path, commands = own[kind]
        for i, command in enumerate(commands):
            files = [tmp_path / f"{number}-{i}" / name / "in" / path.name for name in ("before", "mutant")]
            if (kind, command) not in expected:
                as_it_was = path.read_bytes()
                result, before = outcome(mld, command, lambda to, data=as_it_was: to.write_bytes(data), files[0])
                assert result == "same numbers", (command, before)
                expected[kind, command] = before
            result, said = outcome(mld, command, write, files[1], expected[kind, command])
            result = "another sound file" if result == "other numbers" and sound(kind, what, command) else result
            found[result] += 1
            if result not in ("one line", "same numbers", "another sound file"):
                wrong.append(f"{kind} | {what} | {command} | {result} | {str(said)[:300].strip()}")
    print(f"\n{min(count, len(every))} of {len(every)} mutants: {dict(found)}", *wrong, sep="\n")
    assert not wrong
