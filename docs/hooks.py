"""What mkdocs does beyond its plugins: formulas as MathML, which browsers draw by themselves, and files from outside docs/.

Links to ../results/reference work in the repository; on the site their targets lie below `reference/`.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
OUTSIDE = re.compile(r"(\]\()((?:\.\./)+)([\w./-]+)")


def on_files(files, config):
    """Pictures and tables of the reference results are part of the site."""
    for path in sorted((ROOT / "results/reference").rglob("*")):
        if path.suffix in (".png", ".csv"):
            found = str(path.relative_to(ROOT / "results"))
            files.append(File(found, str(ROOT / "results"), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, **_):
    """Links that leave docs/ for results/reference go to where the site has it."""
    return OUTSIDE.sub(partial(_inside, PurePosixPath(page.file.src_uri).parent), markdown)


def _inside(folder, link):
    opening, up, target = link.groups()
    if len(folder.parts) + 1 != up.count("../") or not target.startswith("results/"):
        return link[0]
    return opening + "../" * len(folder.parts) + target.removeprefix("results/")


def on_page_content(html, page, **_):
    """Formulas that arithmatex has marked become MathML, and those of notebooks, between dollars."""
    if page.file.src_uri.endswith(".ipynb"):
        html = re.sub(r"\$([^$<]+)\$", r'<span class="arithmatex">\\(\1\\)</span>', html)
    return FORMULA.sub(_mathml, html)


def _mathml(formula):
    _, kind, latex = formula.groups()
    plain = latex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return convert(plain, display="block" if kind == "[" else "inline")
