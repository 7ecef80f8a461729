"""The constants of an integer network in the form that training needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checkpoints.floating import layer_names
from ..errors import InputError
from ..genome import GENES
from ..integer import IntModel, Layer, Table, code_range
from ..knobs import Knobs
from ..quantize.calibrate import Calibration
from ..quantize.error_curves import FUNCTIONS
from ..quantize.layer import ACTIVATIONS
from ..quantize.quantize import Cheapest
from .dense_layers import DenseSide
from .learned_scales import Differentiable, LearnedLayer, Projected, choose_units
from .starting import first_codes, with_states


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


def _code_limits(torch: Any, model: IntModel, narrow: bool) -> list[tuple[Any, ...]]:
    """Per layer and side, and at last of the classifier: powers of two [3, H] that the matrix scale
    is divided by, lowest and highest code [3 H, 1]. narrow : 2-bit weights have three codes"""
    sides: list[tuple[Any, ...]] = []
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
            limits = [torch.from_numpy(np.concatenate(part))[:, None] for part in (low, high)]
            sides.append((torch.from_numpy(np.stack(divisors)), *limits))
    head = code_range(model.classifier.weight_bits)
    limits = [torch.full((1, 1), float(v), dtype=torch.float64) for v in head]
    return [*sides, (torch.ones((1, 1), dtype=torch.float64), *limits)]


def _table_units(
    torch: Any, given: Sequence[tuple[Layer, Mapping[str, Any]]]
) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Of every activation unit that is a table its name, its output's scale, zero point and code
    limits, and the real values at its input codes. given : layers, and their scales"""
    for number, (layer, scales) in enumerate(given):
        for name in ACTIVATIONS:
            if not isinstance(layer.ops[name], Table):
                continue
            sums = f"s_{name[-1]}"
            source, out = scales[sums], scales[name]
            inputs = np.arange(*code_range(layer.bits(sums)))
            inputs = np.append(inputs, inputs[-1] + 1)
            real = FUNCTIONS[sums]((inputs - source["zero_point"]) * source["scale"])
            limits = [torch.tensor(float(v)) for v in code_range(layer.bits(name))]
            form = out["scale"], out["zero_point"], *limits
            yield f"{name}.{number}", form, torch.from_numpy(real.astype(np.float32))


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
        self.kernels = import_kernels()
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
        self.codes = _code_limits(torch, model, narrow)
        #: Of activation units that may be trained: output scale, zero point, least and most code.
        self.units: dict[str, tuple[float, ...]] = {}
        self.unit_values: dict[str, Any] = {}
        for key, form, values in _table_units(torch, given):
            self.units[key], self.unit_values[key] = form, values
        self._fixed = self._fixed_view(given)

    def _fixed_view(self, given: Sequence[tuple[Layer, Mapping[str, Any]]]) -> View:
        """The constants where no scale is learned. given : layers, and their scales"""
        plan_of, last = self.kernels.LayerPlan, given[-1]
        formats = [
            (
                {name: scales[f"{name}.weight"]["scale"] for name in GENES[:6]},
                scales["s_h"]["scale"],
                layer.state_zero_point,
            )
            for layer, scales in given
        ]
        return View(
            [starting(plan_of(layer, scales), layer.initial_state) for layer, scales in given],
            self._sides(formats),
            [None] * len(given),
            (last[1]["s_h"]["scale"], last[0].state_zero_point),
        )

    def _sides(self, layers: Sequence[tuple[Mapping[str, Any], Any, Any]]) -> list[tuple[Any, ...]]:
        """The sides of a view: of each layer the weights' scales, and the state's format."""
        torch, sides, codes = self.torch, [], iter(self.codes)
        operand: tuple[Any, Any] = self.model.layer_format
        for weights, *state in layers:
            for names, operand_format in ((GENES[:3], operand), (GENES[3:6], state)):
                divisors, low, high = next(codes)
                scales = [torch.as_tensor(weights[name], dtype=torch.float64) for name in names]
                rows = (torch.stack(scales)[:, None] / divisors).reshape(-1, 1)
                sides.append((rows, low, high, *operand_format))
            operand = state[0], state[1]
        _, low, high = next(codes)
        column = torch.full((1, 1), self.classifier_scale, dtype=torch.float64)
        if self.model.back:
            operand = self.model.back[-1].scale, self.model.back[-1].zero_point
        elif self.follows:
            column = column * (self.state_scale / operand[0])
        return [*sides, (column, low, high, *operand)]

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
            projections, plans, in_scale = [], [], self.model.layer_format[0]
            for layer, scale in zip(self.layers, values, strict=True):
                one = layer.project(scale, in_scale)
                plans.append(self.kernels.LayerPlan(layer.layer, one.scales, one.dense, one.others))
                projections.append(one)
                in_scale = one.scales["s_h"]["scale"]
            for plan, codes in zip(plans, with_states(self.initial, projections), strict=True):
                starting(plan, codes)
            self._seen = key, projections, plans
        return self._seen[1:]

    def view(self, latents: Mapping[str, Any]) -> View:
        """The constants with `latents`, tensors."""
        if not self.layers:
            return self._fixed
        numbers = {
            name: value.detach().numpy() for name, value in latents.items() if is_scale(name)
        }
        projections, plans = self._projected(numbers)
        in_scale: Any = self.model.layer_format[0]
        parts, sides = [], []
        for number, (layer, one) in enumerate(zip(self.layers, projections, strict=True)):
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

    def first_states(
        self, nearest: Any, view: View, latents: Mapping[str, Any]
    ) -> list[Any | None]:
        """Of each layer the codes float32 [H] of the state that sequences start with, with their
        gradients; None where it is not trained."""
        states: list[Any | None] = []
        for number in range(len(view.plans)):
            state = latents.get(f"initial_state_l{number}")
            if state is not None:
                *limits, scale, zero = self._state_side(view, number)
                low, high = (self.torch.tensor(float(v - zero)) for v in limits)
                state = (nearest(state.double() / scale, low, high) + zero).float()
            states.append(state)
        return states

    def _state_side(self, view: View, number: int) -> tuple[int, int, Any, int]:
        """Lowest and highest code, scale and zero point of the state of layer `number`."""
        *_, scale, zero = view.sides[2 * number + 1]
        return *code_range(self.model.layers[number].bits("s_h")), scale, int(zero)

    def model_of(self, tensors: Mapping[str, np.ndarray]) -> IntModel:
        """The integer model with the latent scales and first states in `tensors`, and the weights
        of the start."""
        model, given = self.model, self.initial or [None] * len(self.model.layers)
        initial = [tensors.get(f"initial_state_l{k}", state) for k, state in enumerate(given)]
        if not self.layers:
            trained = zip(model.layers, model.info["scales"], initial, strict=True)
            return replace(
                model,
                layers=tuple(
                    Layer(layer.ops, first_codes(state, scales["s_h"], layer.bits("s_h")))
                    for layer, scales, state in trained
                ),
            )
        projections = self.projected(tensors)
        layers = []
        states = with_states(initial, projections)
        for layer, one, state in zip(model.layers, projections, states, strict=True):
            layers.append(Layer(one.ops(layer), state))
        info = {**model.info, "scales": [one.scales for one in projections]}
        if self.model.back:
            # Its weights follow the state's scale.
            side, of = self.dense["back0"], model.info["dense_scales"]
            weight = {
                "scale": side.weight_scale(projections[-1].scales["s_h"]["scale"]),
                "zero_point": 0,
            }
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
            for number in range(len(self.model.layers)):
                if (state := latents.get(f"initial_state_l{number}")) is not None:
                    low, high, scale, zero = self._state_side(view, number)
                    state.clamp_(
                        float(scale) * (low - zero - 0.5), float(scale) * (high - zero + 0.5)
                    )
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
