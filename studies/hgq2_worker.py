"""Trainings with HGQ2 in a process of their own, in the environment that has it.

``python hgq2_worker.py FOLDER '[{"hidden": 32, "beta": 1e-6, ...}, ...]'`` prints a row as JSON for
every job, with the data of FOLDER/SEED.npz. All are of one shape, so they are compiled once. It
imports nothing of this package, whose dependencies may be of other versions.
"""

import json
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfig, QuantizerConfigScope
from hgq.layers import QGRU, QDense


def network(shape, classes, hidden, beta, bits):
    """A QGRU and a QDense. Data saturates: the rolled loop over steps needs it."""
    with (
        QuantizerConfigScope(place="weight", b0=bits),
        QuantizerConfigScope(place="datalane", overflow_mode="SAT"),
        LayerConfigScope(beta0=beta),
    ):
        data = {
            name: QuantizerConfig(place="datalane") for name in ("iq_conf", "sq_conf", "rhq_conf")
        }
        gru, dense = QGRU(hidden, **data), QDense(classes)
        return keras.Sequential([keras.Input(shape), gru, dense]), gru, dense


def widths(gru, dense, hidden, inputs):
    """Weight bits with their signs, and EBOPs: of all that HGQ2 counts, and of matrices alone."""
    cell = gru.cell
    bits = {
        "x": np.array(cell.iq.bits_((1, inputs))),
        "h": np.array(cell.sq.bits_((1, hidden))),
        "w": np.array(cell.kq.bits_(cell.kernel.shape)),
        "u": np.array(cell.rkq.bits_(cell.recurrent_kernel.shape)),
    }
    weights = [bits["w"], bits["u"], np.array(dense.kq.bits_(dense.kernel.shape))]
    return {
        # A weight memory holds zeros, too: a bit each, for the sign.
        "weight_bits": float(sum((w + 1).sum() for w in weights)),
        "mean_weight": float(np.mean(np.concatenate([(w + 1).ravel() for w in weights]))),
        "mean_state": float(bits["h"].mean()),
        "mean_input": float(bits["x"].mean()),
        "ebops": float(gru.ebops),
        "ebops_matrices": float((bits["x"] @ bits["w"]).sum() + (bits["h"] @ bits["u"]).sum()),
    }


def fresh(job, shape, classes):
    """A network of its own, and its weights."""
    keras.utils.set_random_seed(job["seed"])
    model, gru, dense = network(shape, classes, job["hidden"], job["beta"], job["bits"])
    steps = job["epochs"] * job["batches"]
    rate = keras.optimizers.schedules.CosineDecay(job["lr"], steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model, gru, dense


def restart(model, other):
    """Begin again with the weights (beta among them) of `other`, and a new optimizer."""
    for own, new in zip(model.variables, other.variables, strict=False):
        if own.shape == new.shape and "seed" not in own.path:
            own.assign(new)
    for variable in model.optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(keras.ops.zeros_like(variable))


def main():
    folder, jobs = sys.argv[1], json.loads(sys.argv[2])
    used = None
    for job in jobs:
        data = np.load(f"{folder}/{job['seed']}.npz")
        x, y = data["x_train"], data["y_train"]
        job = {**job, "batches": -(-len(x) // job["batch"])}
        start = time.process_time()
        new = fresh(job, x.shape[1:], int(y.max()) + 1)
        if used is None:
            used = new
        else:
            restart(used[0], new[0])
        model, gru, dense = used
        keras.utils.set_random_seed(job["seed"])
        model.fit(x, y, epochs=job["epochs"], batch_size=job["batch"], verbose=0)
        scores = {
            part: float(model.evaluate(data[f"x_{part}"], data[f"y_{part}"], verbose=0)[1])
            for part in ("val", "test")
        }
        row = {**job, **scores, **widths(gru, dense, job["hidden"], x.shape[-1])}
        row["beta_used"] = float(np.array(gru._beta))
        print(json.dumps({**row, "seconds": round(time.process_time() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
