"""README and the pages: short sentences, plain words, tables that are in the files; a wheel that needs no repository."""

import importlib
import json
import os
import re
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import yaml

NOUNS = "row|column|panel|line|curve|file|figure|number|value|run|folder|mode|evaluation|second|step|seed|sample|point"
TWO_ARTICLES = re.compile(rf"\b(?:an?|one) (?:{NOUNS})s? an? [a-z]+", re.IGNORECASE)
CODE = re.compile(r"^```.*?^```$|`[^`]*`|<!--.*?-->|\$\$.*?\$\$", re.MULTILINE | re.DOTALL)


def pages(root):
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]


def prose(text):
    """Without code, tables, pictures, headings and the targets of links."""
    lines = [
        line for line in CODE.sub("x", text).splitlines() if not line.lstrip().startswith(("|", "#", "![", "<img"))
    ]
    return re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))


def test_readme_is_short_and_so_are_its_sentences(root):
    text = (root / "README.md").read_text()
    assert text.count("\n") <= 130
    sentences = [part.split() for part in re.split(r"[.!?]\s|\n\n|\n- ", prose(text))]
    lengths = [len(words) for words in sentences if len(words) > 1]
    assert sum(lengths) / len(lengths) <= 15


def test_the_first_screen_of_readme_has_installation_a_picture_own_data_and_python(root):
    screen = "\n".join((root / "README.md").read_text().splitlines()[:60])
    for part in (
        '<img src="results/',
        "pip install",
        "https://download.pytorch.org/whl/cpu",
        "mld figure",
        "```python",
        "```yaml",
    ):
        assert part in screen, part


def test_nothing_is_one_thing_another_thing(root):
    """One row per metric: the same with two articles is hard to read for most."""
    files = [*pages(root), *(root / "src").rglob("*.py"), *(root / "workflow").rglob("*.smk"), root / "config.yaml"]
    found = [f"{file.relative_to(root)}: {words}" for file in files for words in TWO_ARTICLES.findall(file.read_text())]
    assert found == []


ELLIPTIC = re.compile(r"(?<!\bso )\b(?:that|those) (?:of|at|from|before)\b", re.IGNORECASE)
"""Where the noun itself should stand. "So that at 64 …" is another that."""
MADE = re.compile(r"<!-- \w+(?: \{.*?\})? -->\n.*?<!-- end -->", re.DOTALL)


def test_no_page_and_no_claim_says_that_of_where_it_means_a_noun(root):
    """Blocks that are made from results have their words from the run, so they are left out."""
    texts = {
        str(file.relative_to(root)): MADE.sub("", file.read_text()) for file in (*pages(root), root / "CHANGELOG.md")
    }
    notebook = json.loads((root / "docs/tutorial.ipynb").read_text())
    texts["docs/tutorial.ipynb"] = "".join(
        line for cell in notebook["cells"] if cell["cell_type"] == "markdown" for line in cell["source"]
    )
    claims = yaml.safe_load((root / "config.yaml").read_text())["claims"]["rows"]
    texts |= {f"config.yaml: claims.rows.{name}": claim["statement"] for name, claim in claims.items()}
    found = [f"{name}: {words}" for name, text in texts.items() for words in ELLIPTIC.findall(CODE.sub("x", text))]
    assert found == []


def test_the_site_is_built_so_that_a_dead_link_ends_the_build(root):
    """mkdocs counts warnings only where it prints them."""
    (words,) = [line.split() for line in (root / "Makefile").read_text().splitlines() if line.startswith("SITE ")]
    assert "--strict" in words
    assert not {"--quiet", "-q"} & {*words}


def test_every_page_is_in_the_navigation(root):
    class Loader(yaml.SafeLoader):
        pass

    def leaves(entry):
        inner = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else None
        return [entry] if inner is None else [leaf for each in inner for leaf in leaves(each)]

    named = leaves(yaml.load((root / "mkdocs.yml").read_text(), Loader)["nav"])
    files = (root / "docs").rglob("*")
    there = [str(each.relative_to(root / "docs")) for each in files if each.suffix in (".md", ".ipynb")]
    assert sorted(named) == sorted(there)


def test_the_tutorial_runs_and_says_what_stands_in_it(root):
    """The words are those that are kept in it; digits that only rounding decides may differ."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    kept = nbformat.read(root / "docs/tutorial.ipynb", 4)
    made = nbclient.NotebookClient(
        nbformat.from_dict(kept), timeout=120, resources={"metadata": {"path": str(root / "docs")}}
    ).execute()

    def said(notebook):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        return re.sub(r"[-+]?\d[\d.e-]*", "0", "".join(output.get("text", "") for output in outputs))

    assert said(made) == said(kept)
    assert "relative squared error" in said(made)
    pictures = [
        output for cell in made.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2


ROWS = """# {"commit": "0123456789abcdef"}
arm,gain,seed,resolution,metric,value,stderr,floor
a,values,1,32,d,0.10,0.01,0.05
a,values,2,32,d,0.12,0.01,0.05
a,values,1,64,d,0.20,0.003,0.05
b,,1,64,d,1234.5,,0.05
b,,1,64,e,-0.00123,0.0001,0.05
"""


@pytest.fixture
def included(root, tmp_path, monkeypatch):
    """docs/included.py, with one file of results."""
    monkeypatch.syspath_prepend(str(root / "docs"))
    module = importlib.import_module("included")
    monkeypatch.setattr(module, "REFERENCE", tmp_path)
    (tmp_path / "t.csv").write_text(ROWS)
    return module


def test_a_table_has_means_and_spreads_over_seeds_or_the_error_of_a_single_one(included):
    made = included.table("t.csv", ["arm", "gain"], "resolution", where={"metric": "d"}).splitlines()
    assert made[0] == "| arm | gain | 32 | 64 |"
    assert made[2] == "| a | values | 0.110 ± 0.014 | 0.200 ± 0.003 |"  # the standard deviation of 0.10 and 0.12
    assert made[3] == "| b | – | – | 1,230 |"
    assert made[-1] == "*[`t.csv`](results/reference/t.csv), commit 0123456.*"
    below = included.table("t.csv", ["arm"], where={"metric": "e"}, floor=True, times=100).splitlines()
    assert below[2] == "| b | −0.123 ± 0.010 (5.00) |"


def test_a_table_of_two_values_of_a_seed_or_of_rows_that_are_not_there_is_refused(included):
    with pytest.raises(ValueError, match="several values of a seed"):
        included.table("t.csv", ["arm"])
    with pytest.raises(ValueError, match="no row with arm c"):
        included.table("t.csv", ["arm"], where={"arm": ["a", "c"]})


def test_a_page_shows_every_claim_once_with_its_verdict(included):
    kept = "fields-keep-their-law"
    found = pd.DataFrame(
        {
            "claim": [
                *(f"{kept} a values 64", f"{kept} a values 128", f"{kept} b values 64"),
                *("digits-are-learned a", "warm-start-is-faster"),
            ],
            "figure": "f",
            "settings": "tuned",
            "statement": "it is so",
            "value": [1.0, 2.0, 3.0, 4.0, 5.0],
            "low": [0.5, *[float("nan")] * 4],
            "high": [1.5, *[float("nan")] * 4],
            "criterion": "≤ 2",
            "verdict": ["reproduced", "undecided", "cannot be told by this metric", "undecided", "not reproduced"],
            "seeds": [3, 5, 3, 3, 3],
        }
    )
    path = included.REFERENCE / "c.csv"
    path.write_text('# {"commit": "0123456789"}\n' + found.to_csv(index=False))
    made = included.claims("c.csv", figures=["f"]).splitlines()
    assert "| It is so | 4.00 | ≤ 2 | **undecided**, tuned | 3 |" in made
    assert "| It is so | 5.00 | ≤ 2 | **not reproduced**, tuned | 3 |" in made
    said = "Samples of *arm* are about as far from the test set at *resolution* as at 32 (gain *gain*)"
    assert f"{said} (≤ 2; 3 to 5 seeds; tuned; resolution across):" in made
    assert "| arm | gain | 64 | 128 |" in made
    assert "| a | values | 1.00 (0.500 to 1.50) **reproduced** | 2.00 **undecided** |" in made
    assert "| b | values | 3.00 **cannot be told** | – |" in made
    named = included.claims("c.csv", claims=["warm-start-is-faster"]).splitlines()
    assert sum(line.startswith("| It is so") for line in named) == 1


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The unpacked wheel."""
    pytest.importorskip("hatchling")
    pytest.importorskip("hatch_fancy_pypi_readme")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_resolves_the_papers_settings_without_the_repository(root, wheel, tmp_path):
    env = os.environ | {"PYTHONPATH": str(wheel)}
    for place, config in (("wheel", []), ("repository", [str(root / "config.yaml")])):
        command = [sys.executable, "-m", "multilevel_diffusion", "resolve", *config, "--set", "preset=smoke"]
        command += ["--arm", "mixture/fno-combined", "--output", str(tmp_path / place)]
        subprocess.run(command, cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "wheel").read_bytes() == (tmp_path / "repository").read_bytes()
    own = "multilevel_diffusion/weights/mixture.safetensors"
    assert (wheel / own).read_bytes() == (root / "src" / own).read_bytes()


def test_the_page_of_a_package_index_shows_no_picture_and_no_link_that_leads_nowhere(wheel):
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    text = metadata.read_text().partition("\n\n")[2]
    assert "pip install" in text
    assert "![" not in text
    assert "<img" not in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []


def test_one_version_everywhere(root, wheel):
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    version = re.search(r"^Version: (.*)$", metadata.read_text(), re.MULTILINE)[1]
    assert f"## {version}" in (root / "CHANGELOG.md").read_text()
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == version
