"""Trains a GRU with HGQ2 (https://github.com/calad0i/HGQ2), whose widths are learned by gradient.

Run by :mod:`.hgq2` with the Python of another environment, which has hgq2, keras and jax; this
project needs none of them. One training a call: data and settings in, a line of JSON out.
"""

# mypy: ignore-errors

import json
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def network(shape, classes, units, beta, bits):
    """As HGQ2's own examples are built: hard activations, saturating data, widths per element.

    bits : at first, of a weight without its sign; data begins with 3 more behind the point
    """
    import keras
    from hgq.config import LayerConfigScope, QuantizerConfig, QuantizerConfigScope
    from hgq.layers import QGRU, QDense

    data = {"i0": 2, "f0": bits + 3, "overflow_mode": "SAT"}
    with (
        QuantizerConfigScope(place="datalane", default_q_type="kif", **data),
        QuantizerConfigScope(place="weight", default_q_type="kbi", b0=bits, i0=-1),
        # What wraps around would unroll the loop over the steps.
        QuantizerConfigScope(place="bias", default_q_type="kbi", overflow_mode="SAT_SYM"),
        LayerConfigScope(enable_ebops=True, beta0=beta),
    ):
        hidden = {
            f"{name}_conf": QuantizerConfig("kif", "datalane", **data)
            for name in ("iq", "sq", "rhq")
        }
        layers = [QGRU(units, **hidden), QDense(classes)]
    return keras.Sequential([keras.layers.Input(shape), *layers])


def measured(model):
    """Bits of the GRU's matrices, with the signs of weights; of those that are not 0; and EBOPs of
    matrices and products, biases left out."""
    import numpy as np
    from keras import ops

    cell = model.layers[0].cell
    units = cell.units

    def bits(quantizer, shape):
        return np.asarray(ops.convert_to_numpy(quantizer.bits_(shape)), float)

    kernel, recurrent = (
        bits(cell.kq, cell.kernel.shape),
        bits(cell.rkq, cell.recurrent_kernel.shape),
    )
    state, data = bits(cell.sq, (1, units)), bits(cell.iq, (1, cell.kernel.shape[0]))
    gates, inner = bits(cell.praq, (1, 2 * units)), bits(cell.rhq, (1, units))
    z, r = gates[:, :units], gates[:, units:]
    candidate = bits(cell.paq, (1, units))
    matrices = (kernel, recurrent)
    products = (r * inner).sum() + (z * (candidate + state)).sum()
    return {
        "bits": sum(float((b + 1).sum()) for b in matrices),
        "bits_nonzero": sum(float((b + (b > 0)).sum()) for b in matrices),
        "ebops": float((data @ kernel).sum() + (state @ recurrent).sum() + products),
        "state_bits": float(state.mean()),
        "input_bits": float(data.mean()),
    }


def main():
    """Arguments: a file of arrays, and settings as JSON."""
    import keras
    import numpy as np

    arrays, setting = np.load(sys.argv[1]), json.loads(sys.argv[2])
    keras.utils.set_random_seed(setting["seed"])
    x = arrays["x_train"]
    model = network(
        x.shape[1:], setting["classes"], setting["units"], setting["beta"], setting["start"]
    )
    steps = setting["epochs"] * -(-len(x) // setting["batch"])
    rate = keras.optimizers.schedules.CosineDecay(setting["lr"], steps)
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, arrays["y_train"], setting["batch"], setting["epochs"], verbose=0)

    def score(part):
        logits = model.predict(arrays[f"x_{part}"], batch_size=500, verbose=0)
        return float((logits.argmax(-1) == arrays[f"y_{part}"]).mean())

    print(json.dumps({"val": score("val"), "test": score("test"), **measured(model)}))


if __name__ == "__main__":
    main()
