"""What the documentation points at is there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("hpa_jax/*/README.md")]
PAGES += [*ROOT.glob("docs/*.md"), *ROOT.glob("configs/*.py"), *ROOT.glob("examples/*.py")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_it_names_exists(page):
    text = page.read_text(encoding="utf-8")
    paths = [page.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    folders = "benchmarks|configs|docs|examples|hpa_jax|launch|tests"
    paths += [ROOT / name for name in re.findall(rf"\b(?:{folders})/[\w/]+\.\w+", text)]
    modules = re.findall(rf"python -m ((?:{folders})\.\w+)", text)
    paths += [ROOT / f"{module.replace('.', '/')}.py" for module in modules]
    assert [path for path in paths if not path.exists()] == []
