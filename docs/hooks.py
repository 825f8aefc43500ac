"""What mkdocs does beyond its plugins: formulas as MathML, which browsers draw by themselves, and files from outside docs/.

Links to ../results/reference work in the repository; on the site their targets lie below `reference/`. Links of a notebook to
pages (.md) work on GitHub; on the site they lead to the page that is made of the file.
"""

import logging
import posixpath
import re
from functools import partial
from pathlib import Path, PurePosixPath

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
OUTSIDE = re.compile(r"(\]\()((?:\.\./)+)([\w./-]+)")
TO_PAGE = re.compile(r'href="(?!\w+:)([\w./-]+\.md)(#[^"]*)?"')
LOG = logging.getLogger("mkdocs.hooks")
"""Whose warnings end a strict build."""


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


def on_page_content(html, page, files, **_):
    """Formulas become MathML, in notebooks what is between dollars, and links of notebooks lead to pages."""
    if page.file.src_uri.endswith(".ipynb"):
        html = re.sub(r"\$([^$<]+)\$", r'<span class="arithmatex">\\(\1\\)</span>', html)
        html = TO_PAGE.sub(partial(_page, page.file, files), html)
    return FORMULA.sub(_mathml, html)


def _page(notebook, files, link):
    """The link to the page that is made of a file."""
    path, anchor = link.groups()
    target = files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(notebook.src_uri), path)))
    if target is None:
        LOG.warning(f"{notebook.src_uri}: there is no page {path}")
        return link[0]
    return f'href="{target.url_relative_to(notebook)}{anchor or ""}"'


def _mathml(formula):
    _, kind, latex = formula.groups()
    plain = latex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return convert(plain, display="block" if kind == "[" else "inline")
