"""The documentation builds as a site, without a broken link and without the network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_command_has_its_options_on_the_site(site):
    import click
    from genogate.cli import app

    page = (site / "commands.html").read_text()
    context = click.Context(app)
    for name in app.list_commands(context):
        assert f'id="genogate-{name}"' in page, name
    assert "--genome" in page
    assert "[default: int8]" in page
    assert "UNSET" not in page


def test_the_site_fetches_nothing(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', text)
        assert not fetched, f"{page.name}: {fetched}"


def test_every_results_page_is_led_to(site):
    front = (site / "results.html").read_text()
    navigation = (site / "index.html").read_text()
    for page in (ROOT / "docs" / "results").glob("*.md"):
        assert f"results/{page.stem}.html" in front, page.name
        assert f'href="results/{page.stem}.html"' in navigation, page.name


def test_the_readme_has_the_table_of_the_results():
    """What the README says it reaches is what `make results` writes."""

    def table(path):
        text = path.read_text()
        return text[text.index("| task | test accuracy of INT8") :].split("\n\n")[0]

    assert table(ROOT / "README.md") == table(ROOT / "docs" / "results.md")


ROOMS = "model|sim|hdl|synth|search|genogate|studies|tools|tests"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs"])
def test_places_in_the_code_that_pages_name_exist(page):
    pages = sorted((ROOT / page).glob("*.md")) if page == "docs" else [ROOT / page]
    for path in pages:
        for place in re.findall(rf"`((?:{ROOMS})/[\w/]+(?:\.py)?)`", path.read_text()):
            there = (ROOT / place).exists() or (ROOT / f"{place}.py").exists()
            assert there, f"{path.name}: `{place}`"
