"""Comparing the transfers of a simulation with the golden model, operator by operator."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ....model.integer import IntModel
from ...golden import dense_accumulate, dense_layers, output_stage, run
from .harness import (
    HOLD_EVENT,
    RESET,
    UNKNOWN,
    UNKNOWN_EVENT,
    Watched,
    answers,
    flagged,
    transfers,
    watched_streams,
)

#: Mismatches listed per segment; the first one is what matters.
MAX_MESSAGES = 20


@dataclass(frozen=True)
class Segment:
    """What happens between two resets.

    sequences : (index into the codes, number of steps) in the order in which they go in.
    interrupted : a reset cut it short, so only a prefix of each stream must be there.
    """

    sequences: tuple[tuple[int, int], ...]
    interrupted: bool = False


@dataclass
class Comparison:
    """What :meth:`Expectation.compare` returns: ``transfers[label]`` are the codes found equal."""

    transfers: dict[str, int] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)


class Expectation:
    """The golden results of all sequences, and where they must appear.

    Parameters
    ----------
    model : IntModel
    codes : int [batch, steps, features]; a segment may use a prefix of a sequence's steps.
    note : str
        Ends every message: genome and seed.
    """

    def __init__(self, model: IntModel, codes: np.ndarray, note: str) -> None:
        self.model, self.note = model, note
        self.streams = watched_streams(model)
        result = run(model, codes, trace=True)
        self.trace = dict(result.trace)
        batch, steps, _ = result.hidden.shape
        # A sequence may end after any of its steps, so what answers is evaluated after each.
        seen = dense_layers(model.back, "back", result.hidden, self.trace)
        flat = dense_accumulate(model.classifier, seen.reshape(-1, seen.shape[-1]))
        logits = flat.reshape(batch, steps, model.classes)
        self.answers = {"o_logits": logits, "o_class": logits.argmax(-1)[..., None]}
        if model.stage is not None:
            self.answers["o_codes"] = output_stage(model.stage, logits)

    def expected(self, number: int, segment: Segment) -> np.ndarray:
        """All values of stream `number` in `segment`, int64, as the harness logs them."""
        stream, top = self.streams[number], len(self.model.layers) - 1
        parts = []
        for sequence, steps in segment.sequences:
            if stream.layer >= 0 or stream.place:
                key = stream.place or stream.layer
                first = steps - self._steps(stream, steps)
                parts.append(self.trace[key, stream.name][sequence, first:steps].ravel())
                continue
            if stream.name == "o_h":
                values = self.trace[top, "s_h"][sequence, :steps].ravel()
            else:
                first = steps - answers(self.model, steps)
                values = self.answers[stream.name][sequence, first:steps].ravel()
            if flagged(self.model, stream.name):
                values = 2 * values
                values[-1] += 1
            parts.append(values)
        return np.concatenate(parts)

    def _steps(self, stream: Watched, steps: int) -> int:
        """Steps of a sequence of `steps` after which stream `stream` has something."""
        answer = stream.layer < 0 and stream.name != "o_h"
        return answers(self.model, steps) if answer and stream.place[:5] != "front" else steps

    def place(self, number: int, index: int, segment: Segment) -> tuple[tuple[int, ...], str, int]:
        """Where value `index` of stream `number` belongs.

        Returns a key that sorts in dataflow order, ``layer 0 step 41: s_h[3]``, and the position
        of the sequence.
        """
        stream, before, position = self.streams[number], 0, 0
        answer = stream.layer < 0 and stream.name != "o_h" and not stream.place
        units = self.model.layers[stream.layer].hidden_size
        if answer:
            units = transfers(self.model, stream.name, 1)
        elif stream.place:
            units = self.trace[stream.place, stream.name].shape[-1]
        for position, (_, steps) in enumerate(segment.sequences):
            size = units * self._steps(stream, steps)
            if index < size or position == len(segment.sequences) - 1:
                break
            index, before = index - size, before + steps
        step, unit = divmod(index, units)
        if stream.place:
            step += steps - self._steps(stream, steps)
            # In front of the first layer, or behind the last.
            depth = -1 if stream.place.startswith("front") else len(self.model.layers)
            where = f"{stream.place} step {step}: {stream.name}[{unit}]"
            return (before + step, depth, number, unit), where, position
        if answer:
            label = stream.name + (f"[{unit}]" if units > 1 else "")
            if self.model.head.every:
                return (
                    (before + step, len(self.streams), unit, number),
                    (f"step {step}: {label}"),
                    position,
                )
            key = (before + steps - 1, len(self.streams), index, number)
            return key, label, position
        layer = stream.layer if stream.layer >= 0 else len(self.model.layers) + 1
        where = f"layer {layer} " if stream.layer >= 0 else ""
        return (
            (before + step, layer, unit, number),
            (f"{where}step {step}: {stream.name}[{unit}]"),
            position,
        )

    def compare(self, log: np.ndarray, segment: Segment, scenario: str) -> Comparison:
        """Compare the log rows int64 [n, 3] of one segment with what it must hold."""
        differences: list[tuple[tuple[int, ...], str]] = []
        outcome = Comparison()
        for number, stream in enumerate(self.streams):
            got = log[log[:, 0] == number, 2]
            want = self.expected(number, segment)
            common = min(len(got), len(want))
            different = np.flatnonzero(got[:common] != want[:common])
            outcome.transfers[stream.label] = int(common - len(different))
            if different.size:
                index = int(different[0])
                rtl, golden = self._texts(stream.name, int(got[index]), int(want[index]))
                what = f"rtl {rtl} != golden {golden}"
            elif len(got) > len(want):
                index, what = len(want) - 1, f"is followed by {len(got) - len(want)} codes too many"
            elif len(got) < len(want) and not segment.interrupted:
                index = len(got)
                _, golden = self._texts(stream.name, 0, int(want[index]))
                what = f"rtl nothing != golden {golden}"
            else:
                continue
            key, where, position = self.place(number, index, segment)
            note = f"(sequence {position}, {scenario}, {self.note})"
            differences.append((key, f"{where} {what} {note}"))
        outcome.mismatches = [message for _, message in sorted(differences)]
        events = log[log[:, 0] >= HOLD_EVENT]
        for event in dict.fromkeys(events[:, 0].tolist()):
            cycle = int(events[events[:, 0] == event][0, 1])
            broken = (
                "valid is unknown"
                if event >= UNKNOWN_EVENT
                else "valid or payload changed before it was taken"
            )
            label = self.streams[event % HOLD_EVENT].label
            outcome.mismatches.append(
                f"{label}: {broken} in cycle {cycle} ({scenario}, {self.note})"
            )
        del outcome.mismatches[MAX_MESSAGES:]
        return outcome

    def _texts(self, name: str, rtl: int, golden: int) -> tuple[str, str]:
        """Both values as a reader wants them: the `last` flag named where it differs."""
        last = name in ("o_h", "o_logits", "o_codes", "o_class") and flagged(self.model, name)
        if rtl == UNKNOWN:
            return "x", str(golden >> 1 if last else golden)
        if not last:
            return str(rtl), str(golden)
        if rtl >> 1 != golden >> 1:
            return str(rtl >> 1), str(golden >> 1)
        return (f"{rtl >> 1} (last {rtl & 1})", f"{golden >> 1} (last {golden & 1})")

    def cycles_per_step(self, log: np.ndarray, segment: Segment) -> tuple[float, float]:
        """Mean cycles from step to step of one sequence, and from sequence to sequence.

        Taken at the last unit of the last layer's ``s_h``. Steps are those of the first sequence
        but its first one, which fills the pipeline: in later ones the second step may wait until
        the classifier has read the state of the sequence before. NaN where there is nothing to
        average.
        """
        top = len(self.model.layers) - 1
        labels = [(stream.layer, stream.name) for stream in self.streams]
        number = labels.index((top, "s_h"))
        hidden = self.model.layers[-1].hidden_size
        ends = log[log[:, 0] == number, 1][hidden - 1 :: hidden].astype(np.float64)
        lengths = [length for _, length in segment.sequences]
        steps = np.diff(ends[1 : lengths[0]]) if lengths else np.empty(0)
        finals = ends[np.cumsum(lengths)[: len(ends)] - 1] if lengths else np.empty(0)
        return (
            float(np.mean(steps)) if len(steps) else float("nan"),
            float(np.mean(np.diff(finals))) if len(finals) > 1 else float("nan"),
        )


def read_log(path: Path, offset: int) -> tuple[np.ndarray, int]:
    """Transfers and events in the harness' log from byte `offset` on, and the next offset.

    Rows are (stream or event, cycle, value), int64; resets and a half-written line are left out.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        text = file.read()
    text = text[: text.rfind(b"\n") + 1]
    rows = np.fromstring(text, np.int64, sep=" ").reshape(-1, 3)
    return rows[rows[:, 0] != RESET], offset + len(text)
