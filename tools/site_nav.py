"""A hook of mkdocs: the page of every study stands in the navigation, under Results."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Add docs/results/*.md, by the titles of the pages, to the last section."""
    pages = sorted(Path(config.docs_dir, "results").glob("*.md"))
    config.nav[-1]["Results"] += [f"results/{page.name}" for page in pages]
    return config
