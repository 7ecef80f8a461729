"""The integer network as torch sees it: codes forward, gradients straight through.

A :class:`Structure` holds the constants of an integer model, a :class:`Network` computes a batch by
the codes of every operator exactly as :mod:`genogate.sim.golden` does (:mod:`.kernels`), for
latent weights that come from outside; :func:`export` makes the integer model that was computed.

Needs torch and Numba (the ``train`` and ``search`` extras), imported when one is made.

One long file: forward pass, backward pass and export follow the same operators in the same order,
and change together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checkpoints.floating import FUNCTIONS as OF_HEAD
from ..checkpoints.floating import layer_names
from ..data.measures import Score, filled, lengths_of
from ..errors import InputError
from ..genome import GENES, Genome
from ..integer import Dense, IntModel, Layer, Operator, Table, code_range, with_op
from ..knobs import Knobs
from ..quantize.calibrate import Calibration, LayerCalibration
from ..quantize.drafts import draft, state_codes
from ..quantize.error_curves import FUNCTIONS
from ..quantize.layer import ACTIVATIONS
from ..quantize.quantize import Cheapest, without_synthesis
from ..quantize.scales import allowed, as_fixed_point
from ..quantize.trained import Trained, record
from .dense_layers import DenseSide, lookup
from .learned_scales import Differentiable, LearnedLayer, Projected, choose_units, keep_state

#: Sequences that are judged together.
JUDGED = 512
#: Channel shifts that are tried for ternary weights, as many as quantisation tries.
CHANNEL_SHIFTS = 4
#: Steps beyond which the gradient that a sequence sends back in time is limited to
#: :data:`MOST_GROWTH` times what came in: over the 784 steps of mnist-pixel it grew to 1e9 times
#: that with 4 bits, over the 49 of keywords to less than ten times with any.
LONG, MOST_GROWTH = 64, 10.0


def import_kernels() -> Any:
    """:mod:`.kernels`. Raises :class:`InputError` where Numba is not installed."""
    try:
        from . import kernels as code_kernels
    except ImportError:
        raise InputError(
            "quantisation-aware training needs numba, which is not installed: "
            "pip install 'genogate[search,train]'"
        ) from None
    return code_kernels


def _ternary(
    layer: LayerCalibration, op: Dense, name: str, base: float, knobs: Knobs
) -> tuple[Dense, float]:
    """A 2-bit dense operator, its weight scale chosen again for codes -1 to 1; `base` is output
    scale over operand scale, so that the weight scale is an allowed M times it."""
    weights = layer.weights[name]
    spread = CHANNEL_SHIFTS if knobs.granularity == "channel" else 1
    factors = allowed(knobs.multiplier_terms)
    largest = float(np.abs(weights.matrix).max()) + 1e-30
    factors = factors[(factors * base < 2 * largest) & (factors * base > largest / 64)]
    scale = (base * factors)[:, None, None, None] / 2.0 ** np.arange(spread)[:, None, None]
    codes = np.clip(np.floor(weights.matrix / scale + 0.5), -1, 1)
    errors = ((codes * scale - weights.matrix) ** 2 * weights.sensitivity).sum(-1)
    at = int(errors.min(1).sum(-1).argmin())
    m, n = as_fixed_point(float(factors[at]))
    shift = errors[at].argmin(0).astype(np.uint8)
    return replace(op, multiplier=m, shift=n, channel_shift=shift), float(base * factors[at])


def starting_model(
    calibration: Calibration,
    genome: Genome,
    knobs: Knobs,
    *,
    narrow: bool,
    cheapest: Cheapest | None = None,
    info: Mapping[str, object] | None = None,
    keep: bool = False,
) -> tuple[IntModel, float]:
    """The integers that training starts from, with the weights of quantisation, and the scale of
    the classifier's weights.

    keep : whether narrow gates get codes that keep the state (:func:`.learned_scales.keep_state`)
    """
    cheapest = cheapest or without_synthesis
    made = draft(calibration, genome, knobs, info)
    model = made.choose(cheapest(made.groups))
    if keep:
        model = _keeping(model, calibration, knobs, cheapest)
    layers, records = [], []
    in_scale = model.layer_format[0]
    for layer, statistics, scales in zip(
        model.layers, calibration.layers, model.info["scales"], strict=True
    ):
        ops: dict[str, Operator] = dict(layer.ops)
        scales = {name: dict(entry) for name, entry in scales.items()}
        for name in GENES[:6]:
            op = layer.dense(name)
            if narrow and op.weight_bits == 2:
                operand = in_scale if name[2] == "i" else scales["s_h"]["scale"]
                base = scales[name]["scale"] / operand
                ops[name], scale = _ternary(statistics, op, name, base, knobs)
                scales[f"{name}.weight"]["scale"] = scale
        layers.append(Layer(ops, layer.initial_state))
        records.append(scales)
        in_scale = scales["s_h"]["scale"]
    model = replace(model, layers=tuple(layers), info={**model.info, "scales": records})
    return model, calibration.classifier_scale(knobs.classifier_bits)


@dataclass(frozen=True)
class View:
    """The constants of a network as one batch sees them.

    plans : of the layers, for the kernels
    sides : per layer and side, row scales, lowest and highest code [3 H, 1], operand scale and
        zero; at last those of the classifier
    learned : of the layers, their constants as tensors; None where scales are fixed
    state : scale and zero point of the last layer's state
    """

    plans: Sequence[Any]
    sides: Sequence[tuple[Any, ...]]
    learned: Sequence[Differentiable | None]
    state: tuple[Any, Any]


def starting(plan: Any, state: np.ndarray | None) -> Any:
    """`plan`, its sequences starting with the codes `state` [H]; with real zero where None."""
    plan.first_state = state
    return plan


def _keeping(
    model: IntModel, calibration: Calibration, knobs: Knobs, cheapest: Cheapest
) -> IntModel:
    """`model` with gates that can keep the state."""
    given = zip(model.layers, model.info["scales"], strict=True)
    learned = [LearnedLayer(None, *one, knobs.multiplier_terms) for one in given]
    if not keep_state(learned):
        return model

    def projected() -> list[Projected]:
        found, in_scale = [], model.layer_format[0]
        for layer in learned:
            found.append(layer.project(layer.start, in_scale))
            in_scale = found[-1].scales["s_h"]["scale"]
        return found

    if knobs.activation != "table":
        choose_units(learned, projected(), calibration, knobs, cheapest)
    found = projected()
    states = with_states(calibration.initial, found)
    layers = tuple(
        Layer(one.ops(layer), state)
        for layer, one, state in zip(model.layers, found, states, strict=True)
    )
    info = {**model.info, "scales": [one.scales for one in found]}
    return replace(model, layers=layers, info=info)


def with_states(
    initial: Sequence[np.ndarray | None], layers: Sequence[Projected]
) -> list[np.ndarray | None]:
    """Codes of the states that sequences start with, at the scales of `layers`; None where they
    are zero."""
    codes: list[np.ndarray | None] = []
    for state, one in zip(initial or [None] * len(layers), layers, strict=True):
        form, bits = one.scales["s_h"], one.others["s_h"].out_bits
        format_of = form["scale"], form["zero_point"], bits
        codes.append(None if state is None else state_codes(state, *format_of))
    return codes


class Structure:
    """An integer model's constants in the form that training needs; weights come from outside, and
    where `learned`, the latent scales do."""

    def __init__(
        self,
        torch: Any,
        model: IntModel,
        classifier_scale: float,
        narrow: bool,
        learned: bool = False,
        initial: Sequence[np.ndarray | None] = (),
    ) -> None:
        self.torch, self.model, self.classifier_scale = torch, model, classifier_scale
        self.narrow, self.initial = narrow, initial
        scales_of = model.info.get("dense_scales", {})
        #: Dense layers by name.
        self.dense = {
            name: DenseSide(torch, layer, scales_of[name])
            for name, layer in model.dense_layers.items()
        }
        kernels = self.kernels = import_kernels()
        given = list(zip(model.layers, model.info["scales"], strict=True))
        knobs = Knobs(**model.info["knobs"])
        self.layers = (
            [LearnedLayer(torch, layer, scales, knobs.multiplier_terms) for layer, scales in given]
            if learned
            else []
        )
        #: Of the last layer's state, where training starts.
        self.state_scale = float(given[-1][1]["s_h"]["scale"])
        self._seen: tuple[bytes, list[Projected], list[Any]] | None = None
        #: Per layer and side: powers of two that the matrix scale is divided by, and code limits.
        self.codes: list[tuple[Any, ...]] = []
        for layer in model.layers:
            for names in (GENES[:3], GENES[3:6]):
                divisors, low, high = [], [], []
                for name in names:
                    op = layer.dense(name)
                    divisors.append(2.0 ** op.channel_shift.astype(np.float64))
                    lowest, highest = code_range(op.weight_bits)
                    lowest += narrow and op.weight_bits == 2
                    low.append(np.full(len(op.bias), lowest, np.float64))
                    high.append(np.full(len(op.bias), highest, np.float64))
                self.codes.append(
                    (
                        torch.from_numpy(np.stack(divisors)),
                        *(torch.from_numpy(np.concatenate(part))[:, None] for part in (low, high)),
                    )
                )
        head = code_range(model.classifier.weight_bits)
        limits = [torch.full((1, 1), float(v), dtype=torch.float64) for v in head]
        self.codes.append((torch.ones((1, 1), dtype=torch.float64), *limits))
        #: Of activation units that may be trained: output scale, zero point, least and most code.
        self.units: dict[str, tuple[float, ...]] = {}
        self.unit_values: dict[str, Any] = {}
        for number, (layer, scales) in enumerate(given):
            for name in ACTIVATIONS:
                if not isinstance(layer.ops[name], Table):
                    continue
                source, out = scales[f"s_{name[-1]}"], scales[name]
                inputs = np.arange(*code_range(layer.bits(f"s_{name[-1]}")))
                inputs = np.append(inputs, inputs[-1] + 1)
                real = FUNCTIONS[f"s_{name[-1]}"]((inputs - source["zero_point"]) * source["scale"])
                limits = [torch.tensor(float(v)) for v in code_range(layer.bits(name))]
                key = f"{name}.{number}"
                self.units[key] = (out["scale"], out["zero_point"], *limits)
                self.unit_values[key] = torch.from_numpy(real.astype(np.float32))
        self._fixed = View(
            [
                starting(kernels.LayerPlan(layer, scales), layer.initial_state)
                for layer, scales in given
            ],
            self._sides(
                [
                    (
                        {name: scales[f"{name}.weight"]["scale"] for name in GENES[:6]},
                        scales["s_h"]["scale"],
                        layer.state_zero_point,
                    )
                    for layer, scales in given
                ]
            ),
            [None] * len(given),
            (given[-1][1]["s_h"]["scale"], model.layers[-1].state_zero_point),
        )

    def _sides(self, layers: Sequence[tuple[Mapping[str, Any], Any, Any]]) -> list[tuple[Any, ...]]:
        """The sides of a view: of each layer the weights' scales, and the state's format."""
        torch, found, codes = self.torch, [], iter(self.codes)
        operand: tuple[Any, Any] = self.model.layer_format
        for weights, *state in layers:
            for names, own in ((GENES[:3], operand), (GENES[3:6], state)):
                divisors, low, high = next(codes)
                scales = [torch.as_tensor(weights[name], dtype=torch.float64) for name in names]
                rows = (torch.stack(scales)[:, None] / divisors).reshape(-1, 1)
                found.append((rows, low, high, *own))
            operand = state[0], state[1]
        _, low, high = next(codes)
        column = torch.full((1, 1), self.classifier_scale, dtype=torch.float64)
        if self.model.back:
            operand = self.model.back[-1].scale, self.model.back[-1].zero_point
        elif self.follows:
            column = column * (self.state_scale / operand[0])
        return [*found, (column, low, high, *operand)]

    def dense_operands(self, state: tuple[Any, Any]) -> dict[str, tuple[Any, Any]]:
        """Scale and zero point of what each dense layer takes; `state` : of the last GRU layer's
        state."""
        operands = {}
        for place, first in (
            ("front", (self.model.input_scale, self.model.input_zero_point)),
            ("back", state),
        ):
            operand: tuple[Any, Any] = first
            for name, side in self.dense.items():
                if name.startswith(place):
                    operands[name] = operand
                    operand = side.layer.scale, side.layer.zero_point
        return operands

    @property
    def follows(self) -> bool:
        """Whether the scale of the classifier's weights follows the state's, which is learned: real
        answers are codes, and so the sums' scale must stay that of the requantiser's M."""
        return bool(self.layers) and self.model.stage is not None and not self.model.back

    def scale_of_classifier(self, tensors: Mapping[str, np.ndarray]) -> float:
        """Scale of the classifier's weights with the latent scales in `tensors`."""
        if not self.follows:
            return self.classifier_scale
        state = self.projected(tensors)[-1].scales["s_h"]["scale"]
        return float(self.classifier_scale * (self.state_scale / state))

    @property
    def latents(self) -> dict[str, np.ndarray]:
        """Where the latent scales start, by name."""
        return {f"scale.{number}": layer.start.copy() for number, layer in enumerate(self.layers)}

    def projected(self, latents: Mapping[str, np.ndarray]) -> list[Projected]:
        """What the latent scales of the layers stand for."""
        return self._projected(latents)[0]

    def _projected(self, latents: Mapping[str, np.ndarray]) -> tuple[list[Projected], list[Any]]:
        """The same, and the layers' plans."""
        values = [latents[f"scale.{k}"] for k in range(len(self.layers))]
        key = b"".join(value.tobytes() for value in values)
        if self._seen is None or self._seen[0] != key:
            found, plans, in_scale = [], [], self.model.layer_format[0]
            for layer, scale in zip(self.layers, values, strict=True):
                one = layer.project(scale, in_scale)
                plans.append(self.kernels.LayerPlan(layer.layer, one.scales, one.dense, one.others))
                found.append(one)
                in_scale = one.scales["s_h"]["scale"]
            for plan, codes in zip(plans, with_states(self.initial, found), strict=True):
                starting(plan, codes)
            self._seen = key, found, plans
        return self._seen[1:]

    def view(self, latents: Mapping[str, Any]) -> View:
        """The constants with `latents`, tensors."""
        if not self.layers:
            return self._fixed
        numbers = {
            name: value.detach().numpy() for name, value in latents.items() if is_scale(name)
        }
        found, plans = self._projected(numbers)
        in_scale: Any = self.model.layer_format[0]
        parts, sides = [], []
        for number, (layer, one) in enumerate(zip(self.layers, found, strict=True)):
            part = layer.differentiable(one, latents[f"scale.{number}"], in_scale)
            parts.append(part)
            in_scale = part.scales["s_h"]
            sides.append(
                (
                    {name: part.scales[f"{name}.weight"] for name in GENES[:6]},
                    in_scale,
                    one.scales["s_h"]["zero_point"],
                )
            )
        return View(plans, self._sides(sides), parts, (in_scale, sides[-1][2]))

    def model_of(self, tensors: Mapping[str, np.ndarray]) -> IntModel:
        """The integer model with the latent scales in `tensors`, and the weights of the start."""
        if not self.layers:
            return self.model
        found = self.projected(tensors)
        model = self.model
        layers = []
        states = with_states(self.initial, found)
        for layer, one, state in zip(model.layers, found, states, strict=True):
            layers.append(Layer(one.ops(layer), state))
        info = {**model.info, "scales": [one.scales for one in found]}
        if self.model.back:
            # Its weights follow the state's scale.
            side, of = self.dense["back0"], model.info["dense_scales"]
            weight = {"scale": side.weight_scale(found[-1].scales["s_h"]["scale"]), "zero_point": 0}
            info["dense_scales"] = {**of, "back0": {**of["back0"], "weight": weight}}
        return replace(model, layers=tuple(layers), info=info)

    def choose_units(
        self,
        calibration: Calibration,
        knobs: Knobs,
        cheapest: Cheapest,
        tensors: Mapping[str, np.ndarray],
    ) -> None:
        """Put the activation units that `knobs` ask for in place of tables, from here on."""
        choose_units(self.layers, self.projected(tensors), calibration, knobs, cheapest)
        self._seen = None

    def input_codes(self, x: np.ndarray) -> Any:
        """Codes float32 [steps, features, batch] of real inputs [batch, steps, features]."""
        codes = self.model.quantize_input(x).transpose(1, 2, 0).astype(np.float32)
        return self.torch.from_numpy(np.ascontiguousarray(codes))

    def limit(self, latents: Mapping[str, Any]) -> None:
        """Bring latent weights that no step could bring back at once into the codes' reach."""
        with self.torch.no_grad():
            view = self.view(latents)
            sides = dict(zip(_weight_names(latents), view.sides, strict=True))
            for name, operand in self.dense_operands(view.state).items():
                sides[f"{name}.weight"] = self.dense[name].side(operand)
            for name, (rows, low, high, _, _) in sides.items():
                value = latents[name]
                lowest, highest = ((low - 0.5) * rows).float(), ((high + 0.5) * rows).float()
                value.copy_(self.torch.minimum(self.torch.maximum(value, lowest), highest))


def _weight_names(latents: Mapping[str, Any]) -> list[str]:
    """Names of the weight matrices in the order of :attr:`Structure.sides`."""
    layers = sum(name.startswith("weight_ih") for name in latents)
    names = [name for k in range(layers) for name in layer_names(k)[:2]]
    return [*names, "classifier.weight"]


def is_scale(name: str) -> bool:
    """Whether a latent is of scales."""
    return name.startswith("scale.")


class Network:
    """Evaluates structures on latent weights: the bridge between torch and the kernels.

    One long class: forward and backward pass of every operator share the buffers of a batch.
    """

    def __init__(self, torch: Any) -> None:
        self.torch, self.kernels = torch, import_kernels()
        self.free: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}

        class Codes(torch.autograd.Function):
            """Nearest codes, ties up, saturated; no gradient beyond half a code outside."""

            @staticmethod
            def forward(ctx: Any, real: Any, low: Any, high: Any) -> Any:
                ctx.save_for_backward((real >= low - 0.5) & (real <= high + 0.5))
                return torch.minimum(torch.maximum(torch.floor(real + 0.5), low), high)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                return grad * ctx.saved_tensors[0], None, None

        class Nearest(torch.autograd.Function):
            """Nearest integer, ties up."""

            @staticmethod
            def forward(ctx: Any, real: Any) -> Any:
                return torch.floor(real + 0.5)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                return grad

        network = self

        class LayerCodes(torch.autograd.Function):
            """States [steps, H, batch] of a layer for input codes [steps, inputs, batch]."""

            @staticmethod
            def forward(
                ctx: Any,
                x: Any,
                w_x: Any,
                w_h: Any,
                b_x: Any,
                b_h: Any,
                tables: Any,
                factors: Any,
                ops: Any,
                plan: Any,
            ) -> Any:
                states, *kept = network.layer(plan, x, w_x, w_h, b_x, b_h, tables)
                if any(ctx.needs_input_grad):
                    ctx.kept = kept
                else:
                    network.give_back(*kept)
                ctx.save_for_backward(x, w_x, w_h, b_x, b_h, states)
                ctx.plan = plan
                return states[1:]

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                found = network.layer_gradients(ctx, grad)
                network.give_back(*ctx.kept)
                return *found, None

        self.codes, self.nearest, self.layer_codes = Codes.apply, Nearest.apply, LayerCodes.apply
        self.looked_up = lookup(torch)

    def take(self, steps: int, hidden: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for the codes and bits of a layer. Used again: fresh pages cost more than what is
        computed into them."""
        free = self.free.get((steps, hidden, batch))
        if free:
            return free.pop()
        return (
            np.empty((steps, len(GENES), hidden, batch), np.int8),
            np.empty((steps, hidden, batch), np.uint16),
        )

    def give_back(self, codes: np.ndarray, passed: np.ndarray) -> None:
        """The other way."""
        self.free.setdefault(passed.shape, []).append((codes, passed))

    def layer(
        self, plan: Any, x: Any, w_x: Any, w_h: Any, b_x: Any, b_h: Any, tables: Any
    ) -> tuple[Any, ...]:
        """States float32 [steps + 1, H, batch] with the initial one, codes int8 [steps, 17, H,
        batch] of all operators, and their bits of passed gradients uint16 [steps, H, batch]."""
        torch = self.torch
        steps, _, batch = x.shape
        hidden = w_h.shape[1]
        bias = torch.cat([b_x, b_h]).view(6, hidden)
        in_bits = plan.layer.in_bits, plan.layer.bits("h")
        sums = torch.cat(
            [
                (w.abs().sum(1) * 2.0 ** (bits - 1)).view(3, hidden)
                for w, bits in zip((w_x, w_h), in_bits, strict=True)
            ]
        )
        kind = plan.kind((sums + bias.abs()).amax(1).numpy())
        gain, dense, ops = plan.constants(kind)
        real = torch.float32 if kind is np.float32 else torch.float64
        x, w_x = x.to(real), w_x.to(real)
        acc_x, acc_h = (torch.empty(3 * hidden, batch, dtype=real) for _ in range(2))
        w_h, bias, tables = w_h.to(real), bias.to(real).numpy(), tables.to(real).numpy()
        states = torch.empty(steps + 1, hidden, batch)
        state = torch.full((hidden, batch), float(plan.state_zero_point), dtype=real)
        if plan.first_state is not None:
            state[:] = torch.from_numpy(plan.first_state.astype(np.float64))[:, None]
        states[0], new = state, torch.empty_like(state)
        codes, passed = self.take(steps, hidden, batch)
        for step in range(steps):
            # Step by step, so that the sums are still in the cache when they are used.
            torch.mm(w_x, x[step], out=acc_x)
            torch.mm(w_h, state, out=acc_h)
            self.kernels.forward_step(
                acc_x.numpy(),
                acc_h.numpy(),
                bias,
                gain,
                dense,
                ops,
                plan.offsets,
                tables,
                state.numpy(),
                codes[step],
                passed[step],
                new.numpy(),
            )
            states[step + 1] = new
            state, new = new, state
        return states, codes, passed

    def layer_gradients(self, ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Gradients of what :meth:`layer` was given."""
        torch, plan, (codes, passed) = self.torch, ctx.plan, ctx.kept
        x, w_x, w_h, b_x, b_h, states = ctx.saved_tensors
        steps, hidden, batch = grad.shape
        gain, _, ops = plan.constants(np.float32)
        w_h = w_h.float()
        # Weights and biases take their share step by step, while it is in the cache; those of all
        # steps kept for one product cost more than what is computed with them.
        to_x, to_h = torch.empty(3 * hidden, batch), torch.empty(3 * hidden, batch)
        of_w = [torch.zeros(w.shape) for w in (w_x, w_h)]
        of_b = [torch.zeros(3 * hidden) for _ in range(2)]
        x, ones = x.float(), torch.ones(batch)
        of_x: Any = None
        narrow: Any = None
        if ctx.needs_input_grad[0]:
            of_x, narrow = torch.empty(x.shape), w_x.float().T
        through, to_state = torch.empty(hidden, batch), torch.zeros(hidden, batch)
        to_units = np.empty((3, hidden, batch), np.float32)
        of_tables = np.zeros((3, 256)) if ctx.needs_input_grad[5] else None
        learned = ctx.needs_input_grad[7]
        totals = np.zeros((8, 3, batch), np.float32) if learned else None
        grad = grad.float().contiguous()
        limit = np.full(batch, np.inf, np.float32)
        if steps > LONG:
            limit = (MOST_GROWTH * grad.square().sum((0, 1)).sqrt()).numpy()
        for step in reversed(range(steps)):
            self.kernels.limited(grad[step].numpy(), to_state.numpy(), limit, through.numpy())
            self.kernels.backward_step(
                through.numpy(),
                states[step].numpy(),
                codes[step],
                passed[step],
                gain,
                ops,
                plan.offsets,
                plan.slopes,
                to_x.numpy(),
                to_h.numpy(),
                to_state.numpy(),
                to_units,
                totals,
            )
            if of_tables is not None:
                self.kernels.add_by_code(codes[step], to_units, plan.offsets, of_tables)
            to_state.addmm_(w_h.T, to_h)
            for w, b, to, given in zip(of_w, of_b, (to_x, to_h), (x, states), strict=True):
                w.addmm_(to, given[step].T)
                b.addmv_(to, ones)
            if narrow is not None:
                torch.mm(narrow, to_x, out=of_x[step])
        kind = w_x.dtype
        of_plan: tuple[Any, ...] = (None, None)
        if totals is not None:
            # The gradient of a gain is that of its accumulators times them, which are linear in
            # weights and biases.
            sums = torch.cat(
                [
                    (g * w).sum(1) + h * b
                    for g, w, h, b in zip(of_w, (w_x, w_h), of_b, (b_x, b_h), strict=True)
                ]
            ).double()
            factors = sums.view(6, hidden).sum(1) / torch.from_numpy(plan.factors)
            of_plan = factors, torch.from_numpy(totals.sum(-1).astype(np.float64))
        return (
            of_x,
            *(g.to(kind) for g in (*of_w, *of_b)),
            None if of_tables is None else torch.from_numpy(of_tables).float(),
            *of_plan,
        )

    def linear(
        self, latents: Mapping[str, Any], name: str, bias: str, side: Any
    ) -> tuple[Any, Any]:
        """Weight codes and folded bias, float64, of a latent matrix; gradients pass through."""
        rows, low, high, scale, zero = side
        codes = self.codes(latents[name].double() / rows, low, high)
        real = self.nearest(latents[bias].double() / (rows[:, 0] * scale))
        return codes, real - zero * codes.sum(1)

    def tables(
        self, structure: Structure, view: View, latents: Mapping[str, Any], layer: int
    ) -> Any:
        """Output codes float32 [3, 256] of the activation units, those that are trained from their
        latent values."""
        if (part := view.learned[layer]) is not None:
            return part.tables
        tables = self.torch.from_numpy(view.plans[layer].tables)
        for k, name in enumerate(ACTIVATIONS):
            if (key := f"{name}.{layer}") in latents:
                scale, zero, low, high = structure.units[key]
                codes = self.codes(latents[key] / scale + zero, low, high)
                rest = self.torch.zeros(256 - len(codes))
                row = self.torch.cat([codes, rest])[None]
                tables = self.torch.cat([tables[:k], row, tables[k + 1 :]])
        return tables

    def logits(
        self,
        structure: Structure,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None = None,
    ) -> Any:
        """Logits float64 [batch, (steps,) classes], accumulators, for input codes of the structure;
        `lengths` [batch] are the steps of each sequence, where they differ."""
        return self._logits(structure, structure.view(latents), latents, codes, lengths)

    def _logits(
        self,
        structure: Structure,
        view: View,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None,
    ) -> Any:
        sides = iter(view.sides)
        value = self.dense(structure, view, latents, "front", codes)
        for number, (plan, part) in enumerate(zip(view.plans, view.learned, strict=True)):
            w_ih, w_hh, b_ih, b_hh = layer_names(number)
            w_x, b_x = self.linear(latents, w_ih, b_ih, next(sides))
            w_h, b_h = self.linear(latents, w_hh, b_hh, next(sides))
            tables = self.tables(structure, view, latents, number)
            moved = (None,) * 2 if part is None else (part.factors, part.ops)
            value = self.layer_codes(value, w_x, w_h, b_x, b_h, tables, *moved, plan)
        weight, bias = self.linear(latents, "classifier.weight", "classifier.bias", next(sides))
        head = structure.model.head
        if structure.model.back:
            if not head.every:
                last = value[-1]
                if lengths is not None:
                    last = value[lengths - 1, :, np.arange(value.shape[2])].T
                value, lengths = last[None], None
            value = self.dense(structure, view, latents, "back", value)
        if head.every:
            # [steps, H, batch] to [batch, steps, classes].
            sums = weight @ value.double() + bias[:, None]
            return sums.permute(2, 0, 1)
        if lengths is None:
            return (weight @ value[-1].double() + bias[:, None]).T
        states = value[lengths - 1, :, np.arange(value.shape[2])]
        return states.double() @ weight.T + bias

    def dense(
        self, structure: Structure, view: View, latents: Mapping[str, Any], place: str, value: Any
    ) -> Any:
        """Codes float32 [steps, outputs, batch] of the dense layers at `place` for codes [steps,
        inputs, batch]."""
        for name, operand in structure.dense_operands(view.state).items():
            if name.startswith(place):
                side = structure.dense[name]
                pair = self.linear(latents, f"{name}.weight", f"{name}.bias", side.side(operand))
                value = side.run(self, *pair, value)
        return value

    def real_logits(
        self,
        structure: Structure,
        latents: Mapping[str, Any],
        codes: Any,
        lengths: np.ndarray | None = None,
    ) -> Any:
        """The same in real units."""
        view = structure.view(latents)
        column, *_, operand, _ = view.sides[-1]
        scale = (column[0, 0] if structure.follows else structure.classifier_scale) * operand
        return self._logits(structure, view, latents, codes, lengths) * scale

    def answers(
        self, structure: Structure, latents: Mapping[str, Any], x: np.ndarray
    ) -> np.ndarray:
        """Answers to real input sequences: the index of the first greatest logit, or real values
        (which are not rounded to output codes here)."""
        head, answers = structure.model.head, []
        with self.torch.no_grad():
            for start in range(0, len(x), JUDGED):
                part = x[start : start + JUDGED]
                codes, lengths = structure.input_codes(filled(part)), lengths_of(part)
                if head.output == "codes":
                    real = self.real_logits(structure, latents, codes, lengths).numpy()
                    answers.append(OF_HEAD[head.activation](real))
                    continue
                # NumPy says which of equal ones it takes.
                logits = self.logits(structure, latents, codes, lengths).numpy()
                answers.append(logits.argmax(-1))
        return np.concatenate(answers)

    def score(
        self, structure: Structure, latents: Mapping[str, Any], x: np.ndarray, y: np.ndarray
    ) -> float:
        """Score of the answers to `x` with the targets `y` of a task."""
        score = Score()
        score.add(self.answers(structure, latents, x), y)
        return score.value


def export(network: Network, structure: Structure, tensors: Mapping[str, np.ndarray]) -> IntModel:
    """The integer model that `structure` with latent values `tensors` is."""
    latents = {name: network.torch.from_numpy(value) for name, value in tensors.items()}
    model = structure.model_of(tensors)
    view = structure.view(latents)
    for number, layer in enumerate(model.layers):
        ops = dict(layer.ops)
        codes = network.tables(structure, view, latents, number).numpy()
        for k, name in enumerate(ACTIVATIONS):
            if f"{name}.{number}" in tensors:
                old = ops[name]
                assert isinstance(old, Table)
                table = codes[k, : len(old.table)].astype(old.table.dtype)
                model = with_op(model, number, name, replace(old, table=table))
    scale = structure.scale_of_classifier(tensors)
    plan = record(model, Knobs(**model.info["knobs"]), scale, structure.narrow)
    return Trained(tensors, plan).unchecked(model.info)


def real_weights(model: IntModel, classifier_scale: float) -> dict[str, np.ndarray]:
    """The weights and biases that the codes of `model` stand for, float32, as a checkpoint's."""
    tensors: dict[str, np.ndarray] = {}
    tensors |= _real_dense(model, "front", (model.input_scale, model.input_zero_point))
    operand = model.layer_format
    for number, layer in enumerate(model.layers):
        scales = model.info["scales"][number]
        state = scales["s_h"]["scale"], layer.state_zero_point
        for names, (scale, zero), weight_name, bias_name in (
            (GENES[:3], operand, f"weight_ih_l{number}", f"bias_ih_l{number}"),
            (GENES[3:6], state, f"weight_hh_l{number}", f"bias_hh_l{number}"),
        ):
            weights, biases = [], []
            for name in names:
                op = layer.dense(name)
                row = scales[f"{name}.weight"]["scale"] / 2.0 ** op.channel_shift.astype(float)
                weights.append(op.weight * row[:, None])
                biases.append((op.bias + zero * op.weight.astype(np.int64).sum(1)) * row * scale)
            tensors[weight_name] = np.concatenate(weights).astype(np.float32)
            tensors[bias_name] = np.concatenate(biases).astype(np.float32)
        if layer.initial_state is not None:
            codes = layer.initial_state.astype(np.float64) - layer.state_zero_point
            tensors[f"initial_state_l{number}"] = (codes * state[0]).astype(np.float32)
        operand = state
    tensors |= _real_dense(model, "back", operand)
    if model.back:
        operand = model.back[-1].scale, model.back[-1].zero_point
    head, (scale, zero) = model.classifier, operand
    tensors["classifier.weight"] = (head.weight * classifier_scale).astype(np.float32)
    folded = head.bias + zero * head.weight.astype(np.int64).sum(1)
    tensors["classifier.bias"] = (folded * classifier_scale * scale).astype(np.float32)
    return tensors


def _real_dense(model: IntModel, place: str, operand: tuple[float, int]) -> dict[str, np.ndarray]:
    """The same of the dense layers at `place`; `operand` : format of what the first takes."""
    tensors: dict[str, np.ndarray] = {}
    scale, zero = operand
    for name, layer in model.dense_layers.items():
        if name.startswith(place):
            op = layer.dense
            row = model.info["dense_scales"][name]["weight"]["scale"]
            row = row / 2.0 ** op.channel_shift.astype(float)
            folded = op.bias + zero * op.weight.astype(np.int64).sum(1)
            tensors[f"{name}.weight"] = (op.weight * row[:, None]).astype(np.float32)
            tensors[f"{name}.bias"] = (folded * row * scale).astype(np.float32)
            scale, zero = layer.scale, layer.zero_point
    return tensors
