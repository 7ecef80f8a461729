"""``python -m studies``: measure, store numbers under docs/data, write the results from them.

The pages are made from the stored files alone, so a section can be measured again by itself:
docs/results.md answers the reader's questions, docs/results/ has a page for every study.
"""

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from genogate.experiment import record_in_docs, recorded
from genogate.model.errors import InputError
from genogate.model.files import read_json, write_json, write_text

from .headline import headline

Say = Callable[[str], None]
#: Sections that a module of their own measures and renders: its name, and those of the functions.
STUDIES = {
    "ptq": ("studies.network", "measure_ptq", "render_ptq"),
    "activation": ("studies.network", "measure_activation", "render_activation"),
    "core": ("studies.network", "measure_core", "render_core"),
    "utilisation": ("studies.network", "measure_utilisation", "render_utilisation"),
    "bench": ("studies.network", "measure_bench", "render_bench"),
    "campaign": ("studies.network", "measure_campaign", "render_campaign"),
    "tables": ("studies.tables", "measure", "render"),
    "tables_holdout": ("studies.tables_holdout", "measure", "render"),
    "tables_speed": ("studies.tables", "measure_speed", "render_speed"),
    "tables_cost": ("studies.cost", "measure", "render"),
    "structures": ("studies.structures", "measure", "render"),
    "silicon": ("studies.silicon", "measure", "render"),
    "targets": ("studies.targets", "measure", "render"),
    "lut_exactness": ("studies.lut_exactness", "measure", "render"),
    "composites": ("studies.composites", "measure", "render"),
    "verification": ("studies.verification", "measure", "render"),
    "tinytapeout": ("studies.tinytapeout", "measure", "render"),
    "transformer": ("studies.transformer", "measure", "render"),
    "sharing": ("studies.sharing", "measure", "render"),
    "constants": ("studies.constants", "measure", "render"),
    "search_fidelity": ("studies.fidelity", "measure_fidelity", "render_fidelity"),
    "search_throughput": ("studies.throughput", "measure_throughput", "render_throughput"),
    "search_baselines": ("studies.search_baselines", "measure_baselines", "render_baselines"),
    "search_reduction": ("studies.search_reduction", "measure_reduction", "render_reduction"),
    "search_objectives": ("studies.search_objectives", "measure_objectives", "render_objectives"),
    "search_kill": ("studies.kill", "measure_kill", "render_kill"),
    "qat": ("studies.qat", "measure_qat", "render_qat"),
    "proxies": ("studies.proxies", "measure", "render"),
    "proxy_evolution": ("studies.proxy_evolution", "measure", "render"),
    "proxy_prescreen": ("studies.proxy_prescreen", "measure", "render"),
    "house": ("studies.house", "measure", "render"),
    "wheels": ("studies.wheels", "measure", "render"),
    "baselines": ("studies.baselines", "measure", "render"),
    "rungs": ("studies.rungs", "measure", "render"),
    "race": ("studies.race", "measure", "render"),
    "race_folds": ("studies.race_folds", "measure", "render"),
    "race_again": ("studies.race_again", "measure", "render"),
    "race_raw": ("studies.race_raw", "measure", "render"),
    "hgq2": ("studies.hgq2", "measure", "render"),
    "questions": ("studies.questions", "measure", "render"),
    "few_bits": ("studies.few_bits", "measure", "render"),
    "pressure": ("studies.pressure", "measure", "render"),
    "patterns": ("studies.patterns", "measure", "render"),
    "denoise": ("studies.denoise", "measure", "render"),
    "denoise_distil": ("studies.denoise_distil", "measure", "render"),
    "denoise_hardware": ("studies.denoise_hardware", "measure", "render"),
    "import_matrix": ("studies.import_matrix", "measure", "render"),
    "nsnet2": ("studies.nsnet2", "measure", "render"),
    "experiments": ("studies.experiments", "measure", "render"),
    "pixel_seeds": ("studies.pixel_seeds", "measure", "render"),
    "inherited": ("studies.inherited", "measure", "render"),
    "experiment_transfer": ("studies.transfer", "measure", "render"),
}
#: Sections that are measured only when asked for: about runs that are made by a command of their
#: own, or of many trainings, which a budget ends and the next call goes on with.
OF_RUNS = (
    "wheels",
    "experiments",
    "pixel_seeds",
    "inherited",
    "experiment_transfer",
    "baselines",
    "rungs",
    "race",
    "race_folds",
    "race_again",
    "race_raw",
    "hgq2",
    "few_bits",
    "pressure",
    "patterns",
    "denoise",
    "denoise_distil",
    "denoise_hardware",
    "import_matrix",
    "nsnet2",
)


def _study(name: str, part: int) -> Callable[..., Any]:
    """A function of a study, whose module is imported when it is called."""

    def call(*arguments: Any, budget: str | None = None) -> Any:
        function = getattr(import_module(STUDIES[name][0]), STUDIES[name][part])
        if budget is None:
            return function(*arguments)
        if "budget" not in signature(function).parameters:
            raise InputError(f"results: section {name} takes no budget")
        return function(*arguments, budget=budget)

    return call


SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {name: _study(name, 1) for name in STUDIES}


RENDERERS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    name: _study(name, 2) for name in STUDIES
}


def _quick(name: str, say: Say) -> dict[str, Any]:
    """The small version of a section. Raises :class:`InputError` where there is none."""
    module = import_module(STUDIES[name][0])
    if not hasattr(module, "QUICK"):
        raise InputError(f"results: section {name} has no quick version")
    run = getattr(module, STUDIES[name][1])
    with tempfile.TemporaryDirectory() as folder:
        # Nothing of what they leave is of use to the whole study.
        apart = {"folder": Path(folder)} if "folder" in signature(run).parameters else {}
        return run(say, module.QUICK, **apart)


def results(
    only: Sequence[str],
    docs: str | Path,
    say: Say,
    quick: bool = False,
    budget: str | None = None,
) -> list[str]:
    """Measure the sections `only` (all when empty, none for ``("none",)``), then write the pages.

    quick : small versions, which say nothing, of the sections that have one
    budget : text of the time that a section may take (:mod:`genogate.search.budget`); what is
        missing then is measured by the next call

    Writes ``results.md``, the front page, and one page a section in ``results/``. Returns the
    sections. Raises :class:`InputError` for an unknown section or
    a folder that is not the repository's ``docs``.
    """
    docs = Path(docs)
    everything = [name for name in SECTIONS if name not in OF_RUNS]
    chosen = [] if tuple(only) == ("none",) else list(only or everything)
    for name in chosen:
        if name not in SECTIONS:
            raise InputError(f"results: section {name!r} is none of {', '.join(SECTIONS)}")
    if not docs.is_dir():
        raise InputError(f"results: {docs} is no folder; run it at the top of the repository")
    for name in chosen:
        given = {} if budget is None else {"budget": budget}
        found = _quick(name, say) if quick else SECTIONS[name](say, **given)
        for document in found.pop("documents", ()):
            record_in_docs(document, docs)
        write_json(docs / "data" / f"{name}.json", found)
    present = [name for name in SECTIONS if (docs / "data" / f"{name}.json").exists()]
    documents = [read_json(path) for path in recorded(docs)]
    (docs / "results").mkdir(exist_ok=True)
    titles: dict[str, str] = {}
    for name in present:
        data = read_json(docs / "data" / f"{name}.json")
        if name == "experiments":
            data["tasks"] = documents
        title, *body = RENDERERS[name](data)
        titles[name] = title.removeprefix("## ")
        lines = [f"# {titles[name]}", "", f"`make results ARGS='--only {name}'`", *body]
        write_text(docs / "results" / f"{name}.md", "\n".join(lines).rstrip() + "\n")
    write_text(docs / "results.md", "\n".join(headline(docs, documents, titles)))
    return present
