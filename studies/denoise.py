"""Speech enhancement, the open question of arXiv 2402.12263: what few bits do to a denoiser.

Float, INT8 and INT4 after training, and networks trained for their genomes, on noisy speech of the
test part: SI-SDR gain, STOI, PESQ, bits, silicon and the clock that real time needs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.listen import enhance, float_gains, integer_gains
from genogate.listen import measure as measures_of
from genogate.model import zoo
from genogate.model.denoise.bands import HOP, RATE
from genogate.model.denoise.task import NAME, ideal_sound, speech_part
from genogate.model.files import read_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.network import Network, build_network
from genogate.search.experiment.jobs import Float, train_float

from .kept import Case, rows_of

Say = Callable[[str], None]
FOLDER = Path("runs/denoise")
KNOBS = Knobs(activation="table")
LAYERS = 2
#: Names and genes of a layer: weights, sums, complement and state, products, activations.
GENOMES: dict[str, tuple[int, ...]] = {
    "INT8": (8,) * 17,
    "INT4": (4,) * 17,
    "weights 4, rest 8": (*(4,) * 6, *(8,) * 11),
    "weights 3, state 6, rest 5": (*(3,) * 6, 5, 5, 5, 5, 6, 5, 5, 5, 5, 5, 5),
    "weights 2, rest 8": (*(2,) * 6, *(8,) * 11),
}
#: Trained for their bits as well as quantised after training.
TRAINED = ("INT4", "weights 3, state 6, rest 5", "weights 2, rest 8")
#: The network that the study's own search ends with (:mod:`.denoise_search`).
NARROWED = "narrowed"
SEEDS = (0, 1, 2)
EPOCHS = 12
HARDWARE = Path("docs/data/denoise_hardware.json")
#: What is aimed at: fewer bits than INT8 by this share, decibels and STOI below it at most.
FEWER, DECIBELS, STOI = 0.6, 0.1, 0.01
#: The search within a budget that the page tells of, into this study's folder.
SEARCH = "genogate search --task denoise --budget 25m --max-drop 0.1 --out runs/denoise/search"
#: A few sequences, a training of one epoch.
QUICK: dict[str, Any] = {"seeds": (0,), "epochs": 1, "genomes": ("INT8", "INT4"), "sequences": 8}


def float_network(seed: int, folder: Path, epochs: int | None = None) -> str:
    """The float network of a seed: the shipped one, or a file that is trained where it is not."""
    name = f"{NAME}-seed{seed}" if seed else NAME
    if epochs is None and name in zoo.names():
        return name
    file = folder / f"float-seed{seed}.safetensors"
    if not file.exists():
        train_float(Float(NAME, seed, 64, epochs, str(file)))
    return str(file)


def _tuned(source: str, genes: Sequence[int], seed: int, epochs: int, folder: Path) -> str:
    """The network trained for a genome."""
    from genogate.model.data.tasks import load_task
    from genogate.model.qat.recipe import Tuning
    from genogate.model.qat.tune import tune

    genome = Genome((tuple(genes),) * LAYERS)
    file = folder / f"tuned-seed{seed}-{genome.id}.safetensors"
    if not file.exists():
        floating = zoo.load(source)
        task = load_task(NAME, floating.info.get("split_seed", 0))
        tuning = Tuning(epochs=epochs, seed=seed, keep="last")
        state = file.with_suffix(".state")
        tune(task, floating, genome, KNOBS, tuning, state=state).checkpoint.save(file)
        state.unlink(missing_ok=True)
    return str(file)


def trained_network(name: str, seed: int, folder: Path) -> str:
    """The file of a network of the table, trained for its bits where it is not there."""
    return _tuned(float_network(seed, folder), GENOMES[name], seed, EPOCHS, folder)


def network_of(
    name: str,
    trained: bool,
    seed: int = 0,
    folder: Path = FOLDER,
    epochs: int | None = None,
    tuning: int = EPOCHS,
) -> Network:
    """A network of the table, trained (and searched) where its file is not there.

    epochs, tuning : of the float training (None: as the task has it), and for the genome
    """
    if name == NARROWED:
        from .denoise_search import narrowed_network

        return narrowed_network(seed, folder)
    source = float_network(seed, folder, epochs)
    genes = GENOMES.get(name, GENOMES["INT8"])
    if trained:
        source = _tuned(source, genes, seed, tuning, folder)
    text = ",".join(str(gene) for _ in range(LAYERS) for gene in genes)
    return build_network(
        genome=text, task=NAME, checkpoint=source, knobs=KNOBS, say=lambda text: None
    )


def _figures(network: Network) -> dict[str, Any]:
    """Bits, and the clock that real time needs."""
    design = network.design
    frames = RATE / HOP
    return {
        "size": network.model.size_bits,
        "cycles": design.cycles_per_step,
        "clock_mhz": design.cycles_per_step * frames / 1e6,
    }


def silicon(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Area and energy for a second of speech by today's models, by name of a network: of the
    shipped float network quantised by its genome, which training for few bits hardly changes. The
    narrowed one is that of :mod:`.denoise_hardware`, trained."""
    from genogate.synth.targets.prices import figures

    found = {}
    for name in dict.fromkeys(row["name"] for row in rows if "size" in row):
        if name in GENOMES:
            genome = str(Genome.from_genes([*GENOMES[name]] * LAYERS))
            network = build_network(
                genome=genome, task=NAME, checkpoint=None, knobs=KNOBS, say=lambda text: None
            )
            told = figures("sky130", network.design)
            um2, energy = told["um2"], told["energy"]
        else:
            kept = read_json(HARDWARE)["rows"]
            (row,) = (row for row in kept if row["name"] == f"{name}, trained")
            um2, energy = row["model_um2"], row["model_nj"]
        found[name] = {"um2": um2, "uj_per_second": energy * RATE / HOP / 1000}
    return found


class TestPart:
    """Noisy speech of the test part, mixed once."""

    def __init__(self, sequences: int | None) -> None:
        self.speech = speech_part("test")
        self.clean = self.speech.mixed.clean[:sequences]
        self.noisy = self.speech.mixed.noisy[:sequences]

    def measures(self, network: Network | None, floating: bool = False) -> dict[str, Any]:
        """Of the sound behind a network; of noisy speech itself without one."""
        if network is None:
            return measures_of(self.clean, self.noisy, self.noisy)
        gains = float_gains(network) if floating else integer_gains(network.model)
        sound = enhance(self.noisy, gains, network.task.notes)
        return measures_of(self.clean, self.noisy, sound)

    def ideal(self) -> dict[str, Any]:
        """Of the sound behind ideal gains: what no network of these bands can better."""
        sound = ideal_sound(self.speech, len(self.noisy))
        return measures_of(self.clean, self.noisy, sound)


def measure(
    say: Say,
    quick: Mapping[str, Any] | None = None,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """All networks of all seeds: ``{"rows": [...], "missing": n}``.

    Goes on where it was stopped; what does not begin within `budget` is counted as missing.
    """
    given = quick or {}
    epochs, tuning = given.get("epochs"), given.get("epochs", EPOCHS)
    test = cache(partial(TestPart, given.get("sequences")))

    def row(seed: int, name: str, trained: bool) -> dict[str, Any]:
        figures: dict[str, Any]
        if name == "noisy":
            figures = test().measures(None)
        elif name == "ideal gains":
            figures = test().ideal()
        else:
            network = network_of(name, trained, seed, folder, epochs, tuning)
            figures = test().measures(network, name == "float")
            figures |= {} if name == "float" else _figures(network)
        return {"seed": seed, "name": name, "trained": trained, **figures}

    cases = (
        Case(
            folder / f"{seed}-{name.replace(' ', '-')}-{trained}.json",
            f"denoise, seed {seed}: {name}{', trained for its bits' if trained else ''}",
            partial(row, seed, name, trained),
        )
        for seed in given.get("seeds", SEEDS)
        for name, trained in _cases(given.get("genomes", tuple(GENOMES)))
    )
    rows, missing = rows_of(cases, say, budget)
    data = {"rows": rows, "missing": missing, "epochs": tuning}
    if (search := folder / "narrowed.json").exists():
        data["narrowed"] = read_json(search)
    if (search := folder / "search" / "ladder.json").exists():
        data["searched"] = searched(read_json(search))
    data["silicon"] = silicon(rows)
    return data


def searched(document: Mapping[str, Any]) -> dict[str, Any]:
    """What :data:`SEARCH` ended with, of its ``ladder.json``."""
    names = ("genes", "input_bits", "classifier_bits", "lost", "error", "test", "size", "um2")
    entries = {which: {name: document[which][name] for name in names} for which in ("int8", "best")}
    return {**entries, **{name: document[name] for name in ("spent_seconds", "trainings")}}


def _about_search(search: Mapping[str, Any]) -> list[str]:
    """What the network that was narrowed is, and what was tried for it."""
    *genes, input_bits, classifier_bits, _ = search["row"]
    layers = [genes[k : k + 17] for k in range(0, len(genes), 17)]
    texts = [
        "".join(map(str, d[:6]))
        + " "
        + "".join(map(str, d[6:11]))
        + " "
        + "".join(map(str, d[11:14]))
        + " "
        + "".join(map(str, d[14:]))
        for d in layers
    ]
    tried = "; ".join(
        f"step {one['place']}, {one['um2']:,.0f} um^2, {one['lost']:+.3f} dB"
        for one in search["tried"]
    )
    return [
        f"Narrowed: begun with the trained network of 2-bit weights, whose {search['chain'] - 1} "
        "steps to narrower operators are ordered by what quantising its weights for each alone "
        "loses of validation, for the area that it saves; the last step that "
        f"{search['epochs']} more epochs keep within {search['drop']:g} dB of float on validation "
        f"(seed 0) was looked for by bisection ({tried}; {search['seconds'] / 60:.1f} CPU "
        "minutes). Further seeds train the same genome. Weights, sums, products and activations "
        f"of its layers: `{'`, `'.join(texts)}`; input {input_bits} bits, classifier "
        f"{classifier_bits}. Its start was chosen by hand, from this table.",
    ]


def _about_searched(data: Mapping[str, Any]) -> list[str]:
    """What the search within a budget found, whose starts are all computed."""
    best, int8 = data["best"], data["int8"]
    count = data["trainings"]
    return [
        f"A search whose starts are all computed (`{SEARCH} --test`; one seed, "
        f"{data['spent_seconds'] / 60:.0f} CPU minutes, {count['full']} full trainings of 4 epochs "
        f"and {count['short']} short ones of 1, the limit with a standard error to spare) found "
        f"{best['um2']:,.0f} um^2 by estimate, {100 * (1 - best['um2'] / int8['um2']):.1f} % less "
        f"than INT8 trained as long, with {best['size']:,} bits "
        f"({100 * (1 - best['size'] / int8['size']):.1f} % less): {best['lost']:+.2f} ± "
        f"{best['error']:.2f} dB lost on validation, {100 * (int8['test'] - best['test']):+.2f} on "
        f"test. Genes: `{_digits(best['genes'])}`; input {best['input_bits']} bits, classifier "
        f"{best['classifier_bits']}. 2-bit weights by hand are smaller, and the narrowed network, "
        "which had longer trainings, takes less area too.",
    ]


def _digits(genes: Sequence[int]) -> str:
    return ", ".join("".join(map(str, genes[k : k + 17])) for k in range(0, len(genes), 17))


def _about_aim(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which trained networks reach the aim in the mean of their seeds; none without INT8."""
    int8 = {row["seed"]: row for row in rows if (row["name"], row["trained"]) == ("INT8", False)}
    told: dict[bool, list[str]] = {True: [], False: []}
    for name in dict.fromkeys(row["name"] for row in rows if row["trained"]):
        pairs = [
            (row, int8[row["seed"]])
            for row in rows
            if row["name"] == name and row["trained"] and row["seed"] in int8
        ]
        if not pairs:
            continue
        fewer = 1 - sum(row["size"] for row, _ in pairs) / sum(full["size"] for _, full in pairs)
        gain, stoi = (
            float(np.mean([row[key] - full[key] for row, full in pairs]))
            for key in ("si_sdr_gain", "stoi")
        )
        reached = fewer >= FEWER and gain >= -DECIBELS and stoi >= -STOI
        told[reached].append(
            f"{name} ({100 * fewer:.1f} % fewer bits, {gain:+.3f} dB, {stoi:+.3f} STOI)"
        )
    if not any(told.values()):
        return []
    return [
        f"Aim: {100 * FEWER:.0f} % fewer bits than INT8 at most {DECIBELS:g} dB and {STOI:g} STOI "
        "below it, in the mean of the seeds. Trained networks that reach it: "
        f"{'; '.join(told[True]) or 'none'}. That do not: {'; '.join(told[False]) or 'none'}.",
    ]


def _cases(genomes: Sequence[str]) -> list[tuple[str, bool]]:
    plain = [(name, False) for name in ("noisy", "ideal gains", "float", *genomes)]
    trained = [(name, True) for name in genomes if name in TRAINED]
    return [*plain, *trained, *([(NARROWED, True)] if len(trained) == len(TRAINED) else [])]


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        "## Speech enhancement: few bits in a denoiser",
        "",
        "The task `denoise`: words of Speech Commands at 8 kHz with white, pink, babble or "
        "background noise at -5 to 15 dB; energies of 24 bands in, 24 gains out at every frame of "
        "16 ms, by two GRU layers of 64 units (`genogate train --task denoise`). Speakers and "
        "noises of the test part are in no other. Means over its 300 sequences of 2 s and over "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, ± one standard error over the seeds of the "
        "difference to float where there are several. Trained: "
        f"{data['epochs']} further epochs, quantised (`genogate qat`), the last epoch kept. "
        "Area, and energy of a second of speech, are estimates of the target sky130 for the "
        "network of seed 0, before training but for the narrowed one; synthesis, energy by "
        "netlist, and Verilog against golden: [denoisers in hardware](denoise_hardware.md). The "
        "clock is that of real time; at 12 MHz "
        "the real-time factor is 12 over it.",
        "",
    ]
    if data["missing"]:
        lines += [f"{data['missing']} networks are not trained yet.", ""]
    lines += [
        "| network | SI-SDR gain, dB | to float, dB | STOI | to float | PESQ | bits | um^2 "
        "| uJ a second | clock, MHz |",
        "|---" + "|---:" * 9 + "|",
    ]
    cases = list(dict.fromkeys((row["name"], row["trained"]) for row in rows))
    floating = {row["seed"]: row for row in rows if row["name"] == "float"}
    for name, trained in cases:
        mine = [row for row in rows if (row["name"], row["trained"]) == (name, trained)]
        paired = [row for row in mine if row["seed"] in floating]

        def mean(key: str, mine: Sequence[Mapping[str, Any]] = mine) -> float:
            return float(np.mean([row[key] for row in mine]))

        def change(key: str, digits: int, paired: Sequence[Mapping[str, Any]] = paired) -> str:
            values = [row[key] - floating[row["seed"]][key] for row in paired]
            text = f"{np.mean(values):+.{digits}f}"
            if len(values) > 1:
                text += f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"
            return text

        hardware = [""] * 4
        if "size" in mine[0]:
            part = data["silicon"][name]
            hardware = [
                f"{mean('size'):,.0f}",
                f"{part['um2']:,.0f}",
                f"{part['uj_per_second']:.1f}",
                f"{mean('clock_mhz'):.2f}",
            ]
        of_network = name not in ("noisy", "ideal gains")
        quality = "-" if mine[0]["pesq"] is None else f"{mean('pesq'):.2f}"
        cells = [
            f"{name}, trained" if trained else name,
            f"{mean('si_sdr_gain'):.2f}",
            change("si_sdr_gain", 2) if of_network and name != "float" else "",
            f"{mean('stoi'):.3f}",
            change("stoi", 3) if of_network and name != "float" else "",
            quality,
            *hardware,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if aim := _about_aim(rows):
        lines += ["", *aim]
    if "narrowed" in data:
        lines += ["", *_about_search(data["narrowed"])]
    if "searched" in data:
        lines += ["", *_about_searched(data["searched"])]
    return [*lines, ""]
