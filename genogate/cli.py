"""The genogate command: finds the command that is asked for, and turns errors into one line and an
exit code. The commands are in :mod:`.commands`, one file each."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

# Ctrl-C while libraries are being loaded ends the command, without a traceback.
if os.path.basename(sys.argv[0] if sys.argv else "") == "genogate":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import io
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module

import click

from . import __version__
from .commands.help import Group
from .model.errors import InputError, one_line

#: Commands by group, in the order of the help, each with its summary. The summaries are here too so
#: that the help loads no command; a test holds them to the first sentences of the commands.
GROUPS: dict[str, dict[str, str]] = {
    "From a network to Verilog": {
        "import": "Turn a model trained elsewhere into a checkpoint.",
        "gru": "Quantise a network, write its Verilog and measure it.",
        "area": "Measure the hardware of every operator with Yosys.",
        "sim": "Prove the Verilog equal to the integer model, bit by bit.",
        "golden": "Evaluate integer codes exactly as the hardware does.",
        "asic": "Map a network to standard cells, proved bit-exact.",
        "tinytapeout": "Make a project folder for Tiny Tapeout.",
        "bitstream": "Make a bitstream with a network behind the board's serial port.",
        "host": "Send test sequences to a board and check its labels.",
        "listen": "Write speech before and after a denoiser, and measure it.",
    },
    "Searching": {
        "search": "Search for genomes that cost little and keep the accuracy.",
        "report": "Show a search as one HTML page, and as pictures.",
        "experiment": "Run the whole flow for a task: search, training, cells, test.",
        "proxy": "Search, judge and use training-free proxies of accuracy.",
    },
    "Tables and units": {
        "lut": "Make the best piecewise-linear table of a function, and a unit.",
        "front": "Find units of a function, from smallest to most accurate.",
        "unit": "Make a verified softmax, normalisation, 1/x or 1/sqrt(x) unit.",
    },
    "Data and training": {
        "train": "Train a float network (needs torch).",
        "qat": "Train the weights further, quantised by a genome (needs torch).",
    },
    "Checks and speed": {
        "doctor": "Say what is installed, what is missing, and what to type.",
        "campaign": "Simulate many random genomes, knobs and sizes.",
        "bench": "Measure the speed of every part (needs torch).",
    },
}
#: Modules of :mod:`.commands` whose name is not the command's.
MODULES = {"import": "import_"}


#: Package -> extra that brings it: what a core installation lacks.
EXTRAS = {
    **dict.fromkeys(("numba", "joblib", "pymoo", "matplotlib"), "search"),
    **dict.fromkeys(("cocotb", "cocotb_tools"), "sim"),
    "distributed": "dask",
    "onnx": "onnx",
    "ray": "ray",
    **dict.fromkeys(("soundfile", "pystoi"), "audio"),
    "torch": "train",
}


@cache
def _silence_libraries() -> None:
    """What libraries log is none of a command's output. Called with a command, so that the help
    does not load :mod:`logging`."""
    import logging

    logging.getLogger().addHandler(logging.NullHandler())


class LazyGroup(Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context | None) -> list[str]:
        return [name for commands in GROUPS.values() for name in commands]

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        _silence_libraries()
        module = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f".commands.{module}", __package__), module)
        return command

    def sections(self, ctx: click.Context) -> dict[str, dict[str, str]]:
        return GROUPS


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="genogate", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """From a genome to verified Verilog.

    A genome gives every operator of a GRU network its own bit width. `genogate gru` quantises a
    trained network with a genome and writes its Verilog, its integer model and a report; `genogate
    sim` proves the Verilog bit-exact; `genogate area` measures it.

    Try: genogate gru --genome int4
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _fail(text: object, code: int) -> int:
    with suppress(OSError, ValueError):
        print(f"genogate: {one_line(text)}", file=sys.stderr, flush=True)
    return code


def _os_error(error: OSError) -> str:
    name = f" ({os.fsdecode(error.filename)})" if error.filename else ""
    return f"{error.strerror or error}{name}"


class _Terminated(BaseException):
    """A plain kill. Not SystemExit, which those who run a simulator take for its end."""


#: Seconds after which a signal that cannot be answered now is sent again.
_LATER = 0.05


def _torch_loads() -> bool:
    """Whether a module of torch is being imported: it calls Python from C++, where an exception
    that is not expected aborts the process."""
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] == "torch"
    )


def _again(number: int) -> threading.Timer:
    """Send this process a signal, later."""
    timer = threading.Timer(_LATER, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
    return timer


def _stop(number: int, frame: object) -> None:
    """What SIGTERM and SIGINT do."""
    if _torch_loads():
        _again(number)
        return
    raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt


#: What a signal raises.
_SIGNALS = (_Terminated, KeyboardInterrupt)


class _Lost:
    """A signal whose exception ended where nobody sees it: in a library's callback from C, or in a
    finaliser. It is sent again a moment later, when that has returned.

    said : that exception, None as long as there is none.
    """

    def __init__(self) -> None:
        self.said: BaseException | None = None
        self._timer: threading.Timer | None = None
        self.hook = sys.unraisablehook

    def notice(self, ignored: sys.UnraisableHookArgs) -> None:
        """A :func:`sys.unraisablehook`."""
        if not isinstance(ignored.exc_value, _SIGNALS):
            self.hook(ignored)
            return
        self.said = ignored.exc_value
        number = signal.SIGTERM if isinstance(self.said, _Terminated) else signal.SIGINT
        self._timer = _again(number)

    def settle(self) -> None:
        """Raise it after all: what the command ended with may only have followed from it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self.said and not isinstance(sys.exc_info()[1], (*_SIGNALS, click.Abort)):
            raise self.said


def _call(command: click.Command, name: str) -> object:
    lost = _Lost()
    sys.unraisablehook = lost.notice
    try:
        return command.main(prog_name=name, standalone_mode=False)
    finally:
        sys.unraisablehook = lost.hook
        lost.settle()


def _run(command: click.Command, name: str) -> int:
    try:
        code = _call(command, name)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + hint, 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except InputError as error:
        return _fail(error, 2)
    except _Terminated:
        return _fail("stopped", 143)
    except (KeyboardInterrupt, click.Abort) as stop:
        # click raises Abort from the interrupt, in whose text a command may say what it leaves.
        hint = str(stop.__cause__ or stop)
        return _fail(f"stopped: {hint}" if hint else "stopped", 130)
    except BrokenPipeError:
        return 1  # the reader had enough; click and rich end so too
    except OSError as error:
        return _fail(_os_error(error), 2)
    except MemoryError:
        return _fail("not enough memory", 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        said = f"needs {package}, which is not installed: pip install 'genogate[{EXTRAS[package]}]'"
        return _fail(f"this command {said}", 2)


def _environment() -> None:
    """What libraries read when they are imported, so it comes first.

    One thread each: matrices are small here; on cores that are shared, threads of BLAS wait for
    each other most of the time, and what is independent runs in processes anyway. No warnings, here
    and in processes of ours: an error is one line. Compiled kernels of torch go with the command.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # A circuit is a tree of millions of small objects; looking for circles among them as often as
    # Python does takes a quarter of the time of making one.
    gc.set_threshold(100_000, 20, 100)
    if not sys.warnoptions:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        warnings.simplefilter("ignore")
    # A name of a file may hold bytes that are no text; printing it must not fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(command: click.Command = app, name: str = "genogate") -> None:
    """Entry point: exit code 0, 1 (a check failed), 2 (bad input or environment), 130 (Ctrl-C)."""
    _environment()
    # A plain kill must clean up like Ctrl-C does, and that also where a shell started the command
    # in the background, with the signal ignored. Python's own handler would raise in the midst of
    # torch's import.
    signal.signal(signal.SIGTERM, _stop)
    usual = (signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) in usual:
        signal.signal(signal.SIGINT, _stop)
    code = _run(command, name)
    if code:
        # Whatever could not be printed must not make the interpreter complain at its end.
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
