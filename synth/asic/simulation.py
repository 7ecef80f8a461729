"""Running whole sequences through a netlist, 64 at a time, and counting what toggles.

A bit of a net is a machine word with one binary digit per sequence. The netlist becomes C, which
the system's compiler builds; where there is none it runs in Python, some hundred times slower.
Delays are zero, so glitches are not seen; two states, registers start at 0.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...model.errors import InputError
from ...model.leftovers import scratch
from ..cells.gates import Netlist

#: Sequences side by side.
LANES = 64
_ONES = (1 << LANES) - 1
#: Assignments in a function of C; longer ones take the compiler disproportionately long.
_CHUNK = 1500
#: Outcomes of a run.
_DONE, _STUCK, _APART = 0, 1, 2

_RUN = """
long run(long limit, long idle_limit, long length, const W *words, const long *counts, W *out,
         W *toggles, W *ones, long *cycles, long loads, const W *load) {{
  long at = 0, idle = 0, seen[{outputs}] = {{0}}, base[{outputs}], width[{outputs}] = {{{widths}}};
  long total = 0;
  for (int k = 0; k < {outputs}; k++) {{ base[k] = total; total += counts[k] * width[k]; }}
  for (int n = 0; n < {flops}; n++) s[n] = 0;
  for (int n = 0; n < {nets}; n++) v[n] = 0;
  v[1] = ~0ULL;
  v[{reset}] = ~0ULL;
  for (int k = 0; k < 3; k++) {{ settle(); following(); }}
  v[{reset}] = 0;
  {ready}
  {load}settle();
  for (int n = 0; n < {nets}; n++) p[n] = v[n];
  for (long cycle = 0; cycle < limit; cycle++) {{
    int moved = 0, complete = 1;
    for (int k = 0; k < {in_width}; k++)
      v[payload[k]] = at < length ? words[at * {in_width} + k] : 0;
    v[{valid}] = at < length ? ~0ULL : 0;
    settle();
    for (int n = 0; n < {nets}; n++) {{
      toggles[n] += __builtin_popcountll(v[n] ^ p[n]); ones[n] += __builtin_popcountll(v[n]);
      p[n] = v[n];
    }}
    if (v[{taken}] + 1 > 1) return {apart};
    if (at < length && v[{taken}]) {{ at++; moved = 1; }}
    for (int k = 0; k < {outputs}; k++) {{
      W there = v[valids[k]];
      if (there + 1 > 1) return {apart};
      if (there) {{
        moved = 1;
        if (seen[k] < counts[k])
          for (int b = 0; b < width[k]; b++) out[base[k] + seen[k] * width[k] + b] = v[nets[k][b]];
        seen[k]++;
      }}
      complete &= seen[k] >= counts[k];
    }}
    *cycles = cycle + 1;
    if (complete) {{
      for (int k = 0; k < {outputs}; k++) if (seen[k] != counts[k]) return {apart};
      return {done};
    }}
    idle = moved ? 0 : idle + 1;
    if (idle > idle_limit) return {stuck};
    following();
  }}
  return {stuck};
}}
"""


#: Weights that are loaded, the same in all lanes, while a feature is offered; nothing else moves
#: meanwhile, and nothing of it is counted.
_LOAD = """v[{valid}] = ~0ULL;
  for (long at = 0, waits = 0; at < loads;) {{
    for (int k = 0; k < {width}; k++) v[load_payload[k]] = load[at * {width} + k];
    v[{offered}] = ~0ULL;
    settle();
    if (v[{taken}] + 1 > 1 || v[{early}]) return {apart};
    for (int k = 0; k < {outputs}; k++) if (v[valids[k]]) return {apart};
    waits = v[{taken}] ? 0 : waits + 1;
    if (waits > idle_limit) return {stuck};
    at += v[{taken}] != 0;
    following();
  }}
  v[{offered}] = 0;
  """


@dataclass(frozen=True)
class Activity:
    """What a run gave.

    outputs : stream -> unsigned words, int64 [sequences, words]
    cycles : clock cycles from the first feature to the last output
    toggles : instance -> changes of its output a cycle
    clocked : instance -> share of cycles in which its clock arrives, or comes out of it
    """

    outputs: Mapping[str, np.ndarray]
    cycles: int
    toggles: Mapping[str, float]
    clocked: Mapping[str, float]


def _statements(netlist: Netlist) -> tuple[list[str], list[str]]:
    """C of :meth:`Netlist.settle` and of :meth:`Netlist.clock`, an assignment each."""
    settle = [line.strip() for line in netlist.settle_lines]
    following = [line.strip().rstrip(",") for line in netlist.following_lines]
    return settle, following


def _chunks(name: str, lines: Sequence[str]) -> str:
    """Functions of at most `_CHUNK` lines, and `name` that calls them all."""
    parts = [lines[k : k + _CHUNK] for k in range(0, len(lines), _CHUNK)]
    text = [
        f"static void {name}{k}(void) {{\n{chr(10).join(part)}\n}}" for k, part in enumerate(parts)
    ]
    calls = " ".join(f"{name}{k}();" for k in range(len(parts)))
    return "\n".join([*text, f"static void {name}(void) {{ {calls} }}"])


def c_text(netlist: Netlist, streams: Sequence[str]) -> str:
    """C of `netlist` with a function ``run`` that feeds stream ``i`` and collects `streams`, and
    loads weights before, where they have a stream."""
    nets = netlist.port_nets
    settle, following = _statements(netlist)
    count, flops = netlist.net_count, len(following)
    body = [
        "typedef unsigned long long W;",
        "#define M (~0ULL)",
        f"static W v[{count}], p[{count}], s[{max(1, flops)}], t[{max(1, flops)}];",
        _chunks("settle", [f"{line};" for line in settle]),
        _chunks("after", [f"t[{k}]={line};" for k, line in enumerate(following)]),
        "static void following(void) { after(); "
        f"for (int k = 0; k < {flops}; k++) s[k] = t[k]; }}",
        f"static const int payload[] = {{{', '.join(map(str, nets['i__payload']))}}};",
        f"static const int valids[] = "
        f"{{{', '.join(str(nets[f'{name}__valid'][0]) for name in streams)}}};",
    ]
    for number, name in enumerate(streams):
        row = ", ".join(map(str, nets[f"{name}__payload"]))
        body.append(f"static const int nets{number}[] = {{{row}}};")
    rows = ", ".join(f"nets{number}" for number in range(len(streams)))
    body.append(f"static const int *const nets[] = {{{rows}}};")
    load = ""
    if "i_weights__payload" in nets:
        payload = nets["i_weights__payload"]
        body.append(f"static const int load_payload[] = {{{', '.join(map(str, payload))}}};")
        load = _LOAD.format(
            valid=nets["i__valid"][0],
            width=len(payload),
            offered=nets["i_weights__valid"][0],
            taken=nets["i_weights__ready"][0],
            early=nets["i__ready"][0],
            outputs=len(streams),
            stuck=_STUCK,
            apart=_APART,
        )
    body.append(
        _RUN.format(
            outputs=len(streams),
            widths=", ".join(str(len(nets[f"{name}__payload"])) for name in streams),
            flops=flops,
            nets=count,
            reset=nets["rst"][0],
            load=load,
            ready=" ".join(f"v[{nets[f'{name}__ready'][0]}] = ~0ULL;" for name in streams),
            in_width=len(nets["i__payload"]),
            valid=nets["i__valid"][0],
            taken=nets["i__ready"][0],
            done=_DONE,
            stuck=_STUCK,
            apart=_APART,
        )
    )
    return "\n".join(body)


def compiler() -> str | None:
    """The C compiler, None where there is none."""
    return shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")


def _sliced(words: np.ndarray, width: int) -> np.ndarray:
    """Words [sequences, n] as uint64 [n, width], a bit per sequence."""
    lanes, _ = words.shape
    bits = (words.T[:, :, None] >> np.arange(width) & 1).astype(np.uint64)
    return (bits << np.arange(lanes, dtype=np.uint64)[None, :, None]).sum(1, dtype=np.uint64)


def _alike(words: Sequence[int], width: int) -> np.ndarray:
    """The words, in all sequences the same, as uint64 [n, width]; they may be of many bits."""
    bits = np.array([[word >> k & 1 for k in range(width)] for word in words], np.uint64)
    return np.ascontiguousarray(bits.reshape(-1, width) * np.uint64(_ONES))


def _joined(bits: np.ndarray, lanes: int) -> np.ndarray:
    """The reverse of :func:`_sliced`: int64 [lanes, n]."""
    digits = (bits[None] >> np.arange(lanes, dtype=np.uint64)[:, None, None]) & np.uint64(1)
    return (digits.astype(np.int64) << np.arange(bits.shape[1])).sum(2)


class Runner:
    """A netlist of a network, ready to run sequences.

    Parameters
    ----------
    netlist : Netlist, of :data:`LANES` lanes
    streams : names of the output streams
    fast : whether to optimise: ten times the compiler's time for a third of the run's

    Use it as a context: the compiled code lies in a temporary folder.
    """

    def __init__(self, netlist: Netlist, streams: Sequence[str], *, fast: bool = False) -> None:
        self.netlist, self.streams = netlist, tuple(streams)
        self._scratch = scratch()
        folder = Path(self._scratch.__enter__())
        program = compiler()
        if program is None:
            raise InputError(
                "no C compiler found to simulate the netlist with: install one (Debian: apt-get "
                "install gcc), or set CC"
            )
        (folder / "netlist.c").write_text(c_text(netlist, streams))
        done = subprocess.run(
            [
                program,
                "-O1" if fast else "-O0",
                "-w",
                "-fPIC",
                "-shared",
                "-o",
                "netlist.so",
                "netlist.c",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=1800,
        )
        if done.returncode:
            line = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise InputError(f"{program} failed on the netlist: {line[:200]}")
        self._code = ctypes.CDLL(str(folder / "netlist.so"))

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *error: object) -> None:
        self._scratch.__exit__(None, None, None)

    def run(
        self,
        words: np.ndarray,
        counts: Mapping[str, int],
        limit: int,
        idle: int,
        loads: Sequence[int] = (),
    ) -> Activity:
        """Feed `words` [sequences up to 64, n] into stream ``i``, all sides always ready.

        counts : stream -> words that each sequence gives
        limit, idle : cycles in all, and without a transfer, after which the netlist is stuck
        loads : words of the weights that are loaded first; neither `limit` nor the activity counts
            these cycles

        Raises :class:`InputError` where it gets stuck, or where valid or ready differ between
        sequences, which depend on no data.
        """
        nets = self.netlist.port_nets
        lanes, length = words.shape
        # Lanes without a sequence of their own repeat others, so that activities are means.
        full = words[np.arange(LANES) % lanes]
        data = np.ascontiguousarray(_sliced(full, len(nets["i__payload"])))
        widths = [len(nets[f"{name}__payload"]) for name in self.streams]
        sizes = np.array([counts[name] for name in self.streams], np.int64)
        out = np.zeros(int((sizes * widths).sum()), np.uint64)
        toggles, ones = (np.zeros(self.netlist.net_count, np.uint64) for _ in range(2))
        cycles = ctypes.c_long(0)
        load = _alike(loads, len(nets.get("i_weights__payload", [0])))

        def pointer(array: np.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(array.ctypes.data)

        outcome = self._code.run(
            ctypes.c_long(limit),
            ctypes.c_long(idle),
            ctypes.c_long(length),
            *map(pointer, (data, sizes, out, toggles, ones)),
            ctypes.byref(cycles),
            ctypes.c_long(len(loads)),
            pointer(load),
        )
        if outcome == _STUCK:
            raise InputError(f"the netlist stopped after {cycles.value} cycles: it is not correct")
        if outcome == _APART:
            raise InputError(
                "the netlist's handshakes differ from the network's: it is not correct"
            )
        outputs, start = {}, 0
        for name, size, width in zip(self.streams, sizes, widths, strict=True):
            bits = out[start : start + size * width].reshape(size, width)
            outputs[name], start = _joined(bits, lanes), start + size * width
        share = 1 / (cycles.value * LANES)
        return Activity(
            outputs,
            cycles.value,
            *self.netlist.rates_of(toggles.astype(float) * share, ones.astype(float) * share),
        )
