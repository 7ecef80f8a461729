"""The networks that tables are about, shipped GRUs and small CNNs, by name: their statistics, their
tables, and how far genomes move their answers."""

from pathlib import Path

from ...model import zoo
from ...model.aliases import Array, Say
from ...model.data.tasks import load_task
from ...model.errors import InputError
from .cnn.quantisation import output_kl as cnn_output_kl
from .cnn.statistics import of_cnn
from .cnn.table import make_cnn
from .gru.material import output_kl as gru_output_kl
from .gru.statistics import of_gru
from .gru.table import make_gru
from .statistics import Statistics
from .tables import CNN_NAMES, Table, load


def _network(name: str) -> str:
    """The network of a table, named by itself or by the table's file."""
    return str(load(name).about.get("checkpoint")) if name.endswith(".npz") else name


def statistics_of(name: str, *, seed: int = 0, say: Say = lambda text: None) -> Statistics:
    """Statistics of the network of a table, by the table's name or file; from the cache where they
    are. Raises :class:`InputError` for an unknown one."""
    name = _network(name)
    if name in CNN_NAMES:
        return of_cnn(name, seed=seed, say=say)
    checkpoint = zoo.load(name)
    info = checkpoint.info
    task = load_task(info.get("task", "digits-row"), info.get("split_seed", 0))
    return of_gru(checkpoint, task, seed=seed, say=say)


def make_table(
    name: str, path: Path, *, trained: int = 0, workers: int = 1, say: Say = lambda text: None
) -> Table:
    """Make the table of a network, or go on with one that was begun in the file `path`.

    name : a GRU checkpoint, or a CNN of :data:`~.tables.CNN_NAMES`
    trained : genomes of a GRU that are trained for as well

    Raises :class:`InputError` for an unknown name, or a file with a table that was made otherwise.
    """
    if path.suffix != ".npz":
        raise InputError(f"{path}: a table is a file NAME.npz")
    if name in CNN_NAMES:
        if trained:
            raise InputError("trained: only for the genomes of a GRU")
        return make_cnn(name, path, workers=workers, say=say)
    if trained < 0:
        raise InputError(f"trained: {trained} is not 0 or more")
    return make_gru(name, path, trained=trained, workers=workers, say=say)


def output_kl(name: str, genomes: Array, *, seed: int = 0) -> Array:
    """-KL(f(x) || f_q(x)) on one batch of training data, a network pass for each genome: the upper
    anchor, not zero-cost. `name` is that of a table; float64 [N]."""
    from threadpoolctl import threadpool_limits

    name = _network(name)
    # Small products on many threads wait for one another more than they work.
    with threadpool_limits(1):
        divergence = cnn_output_kl if name in CNN_NAMES else gru_output_kl
        return divergence(name, genomes, seed=seed)
