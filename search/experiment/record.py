"""The record of an experiment: every number, what it depends on, and what may be added later."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ...model.errors import InputError, shown
from ...model.files import write_json
from ...model.knobs import Knobs
from ...model.qat.any_precision import AnyTuning
from ...model.qat.recipe import Tuning
from ..genomes.folder import parsed
from ..genomes.remedies import SAME, Resume
from .plan import Plan

VERSION = 1
#: What brings a damaged record back: what was trained and searched is beside it.
AGAIN = Resume(
    "remove it", "which makes it from what is beside it, or use another folder", command=SAME
)
#: What helps where the folder holds something else.
ELSEWHERE = "use another folder"

#: Numbers, and lists of mappings, that a row of a stage holds.
NUMBERS = {
    "float training": ("seconds",),
    "training for all": ("seconds",),
    "float": ("judged", "val", "seconds"),
    "quantised": ("judged", "val", "size", "weights", "cycles", "seconds"),
    "trained": ("judged", "val", "size", "weights", "cycles", "best_epoch", "seconds"),
    "search": ("evaluations", "wall_seconds"),
    "hardware": ("cells", "memory"),
    "test": ("test", "seconds"),
}
LISTS = {"search": ("front",), "round": ("chosen",)}


def changed(recipe: Tuning) -> dict[str, Any]:
    """The kind of a recipe, and what of it is not as its kind has it by default; scales where they
    are learned, whatever the default."""
    default = type(recipe)()
    differences = {
        f.name: getattr(recipe, f.name)
        for f in fields(recipe)
        if getattr(recipe, f.name) != getattr(default, f.name)
    }
    differences.pop("scales", None)
    if recipe.scales == "learned":
        differences["scales"] = recipe.scales
    return {"kind": type(recipe).__name__, "epochs": recipe.epochs, **differences}


def continues(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], seeds: Mapping[str, int]
) -> bool:
    """Whether an experiment may go on with `name` of its plan or data as it is now: what it had
    done stays what it was, and more follows.

    seeds : of the checkpoints of the new plan
    """
    if name == "rounds":
        return bool(old.get(name, 0) <= new[name])
    if name == "splits":
        return bool(old.get(name, {}).items() <= new[name].items())
    if name == "checkpoints" and not new["every_seed"]:
        # Rounds look at the first seed only, so further ones change nothing of what was chosen.
        before = old.get(name, [])
        added = {seeds[one] for one in new[name] if one not in before}
        return (
            before[:1] == new[name][:1]
            and set(before) <= set(new[name])
            and not added & {seeds[one] for one in before}
        )
    return bool(name in old and old[name] == new[name])


class Record:
    """Numbers by what they are of: a file that is whole at any time.

    seeds : of the checkpoints of the plan
    """

    def __init__(self, path: Path, head: dict[str, Any], seeds: Mapping[str, int]) -> None:
        self.path, self.head, self.seeds = path, head, seeds
        self.numbers: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.more: dict[str, Any] = {}

    @staticmethod
    def key(stage: str, what: Any) -> str:
        text = json.dumps([stage, what], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def load(self) -> None:
        """What an earlier process left. Raises :class:`InputError` where that is another
        experiment's, or no experiment's at all."""
        before = _read(self.path)
        if before is None:
            return
        where = self.path.parent
        if not isinstance(before, dict) or not isinstance(before.get("numbers"), list):
            raise InputError(f"{self.path}: not that of an experiment", AGAIN)
        if before.get("version") != VERSION:
            raise InputError(
                f"{where}: an experiment of version {shown(before.get('version'))}, "
                f"this program makes {VERSION}",
                ELSEWHERE,
            )
        mine = json.loads(json.dumps(self.head))
        if isinstance(before.get("plan"), dict):
            # What a plan did not know when that was made, it had as it is by default.
            before["plan"] = {
                "any_sequences": Plan.any_sequences,
                "teacher": Plan.teacher,
                # Before there was a choice, they were always there.
                "seed_patterns": True,
                **before["plan"],
            }
            _recipes_as_made(before)
            knobs = before["plan"].get("knobs")
            if isinstance(knobs, dict):
                before["plan"]["knobs"] = Knobs().to_json() | knobs
        for part in ("plan", "data"):
            old = before.get(part)
            try:
                names = [
                    n
                    for n in mine[part]
                    if not isinstance(old, dict) or not continues(n, old, mine[part], self.seeds)
                ]
            except (TypeError, AttributeError):
                raise InputError(f"{self.path}: damaged", AGAIN) from None
            if names:
                raise InputError(
                    f"{where}: its experiment differs in {', '.join(names)}; use the "
                    "same options, or another folder (--out)"
                )
        # The only number that is not made here. One that is not whole is made again.
        if _simulated(before.get("simulation")):
            self.more = {"simulation": before["simulation"]}
        for row in before["numbers"]:
            try:
                if row["stage"] == "search":
                    # Its configuration, which follows from the plan, has got new fields since.
                    row["about"].pop("config", None)
                if not _whole(row["stage"], row["found"]):
                    raise TypeError
                self.numbers[self.key(row["stage"], row["about"])] = row
            except (KeyError, TypeError, AttributeError):
                raise InputError(f"{self.path}: damaged", AGAIN) from None

    def get(self, stage: str, what: Any) -> dict[str, Any] | None:
        key = self.key(stage, what)
        if key in self.numbers and key not in self.order:
            self.order.append(key)
        row = self.numbers.get(key)
        return None if row is None else row["found"]

    def put(self, stage: str, what: Any, numbers: dict[str, Any]) -> None:
        key = self.key(stage, what)
        self.numbers[key] = {
            "stage": stage,
            "about": what,
            "found": json.loads(json.dumps(numbers)),
        }
        if key not in self.order:
            self.order.append(key)
        self.save()

    def save(self, done: bool = False) -> None:
        """In the order of the plan once all is there, whatever was ready first."""
        keys = (
            self.order if done else [*self.order, *(k for k in self.numbers if k not in self.order)]
        )
        write_json(
            self.path,
            {
                **self.head,
                "done": done,
                **self.more,
                "numbers": [self.numbers[key] for key in keys],
            },
        )

    def of(self, stage: str) -> list[dict[str, Any]]:
        return [self.numbers[key] for key in self.order if self.numbers[key]["stage"] == stage]


def _whole(stage: str, found: Any) -> bool:
    """Whether a row has what is made of those of its stage."""
    named = found.get("model_hash") if stage in ("quantised", "trained") else ""
    parts = [found.get(name) for name in LISTS.get(stage, ())]
    return (
        all(
            isinstance(value := found.get(name), int | float) and math.isfinite(value)
            for name in NUMBERS.get(stage, ())
        )
        and isinstance(named, str)
        and all(isinstance(p, list) and all(isinstance(e, dict) for e in p) for p in parts)
    )


def _simulated(value: Any) -> bool:
    """Whether a record's simulation is whole."""
    names = ("hidden", "genes", "knobs", "count", "steps_run", "mismatches")
    return isinstance(value, dict) and (
        isinstance(value.get("skipped"), str) or all(name in value for name in names)
    )


def _read(path: Path) -> Any:
    """What is in a record; None where there is none. Raises :class:`InputError`."""
    before = parsed(path, AGAIN) if path.exists() else None
    if isinstance(before, dict) and "budget_seconds" in before:
        raise InputError(f"{path}: that of an experiment with a budget of time", ELSEWHERE)
    return before


def _recipes_as_made(before: Mapping[str, Any]) -> None:
    """Give recipes of an older record what they did not say: it was as it is by default."""
    recipes = before["data"].get("recipes") if isinstance(before.get("data"), dict) else None
    if (
        isinstance(recipes, list)
        and len(recipes) == 2
        and all(isinstance(r, dict) for r in recipes)
    ):
        for recipe, kind in zip(recipes, (Tuning, AnyTuning), strict=True):
            for f in fields(kind):
                recipe.setdefault(f.name, f.default)


def as_begun(folder: Path, plan: Plan) -> Plan:
    """`plan` with patterns by hand where the experiment in `folder` was begun with them, before
    there was a choice."""
    before = _read(folder / "experiment.json")
    begun = before.get("plan") if isinstance(before, dict) else None
    if isinstance(begun, dict) and "seed_patterns" not in begun:
        return replace(plan, seed_patterns=True)
    return plan
