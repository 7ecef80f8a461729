"""torch modules of piecewise-linear units: bit-exact with golden, and trainable."""

import copy

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tables.formats import Format
from genogate.model.tables.functions import FUNCTIONS, expression
from genogate.model.tables.points import SCALES, codes
from genogate.model.tables.segments import Segments
from genogate.model.tables.table import LutTable
from genogate.sim import golden, golden_composites

torch = pytest.importorskip("torch")
from genogate.model.torch_units.nonlinear import (  # noqa: E402
    ACTIVATIONS,
    PiecewiseActivation,
    PiecewiseLayerNorm,
    PiecewiseSoftmax,
    calibrate,
    exact_table,
    replace,
)
from torch import nn  # noqa: E402

torch.set_num_threads(1)


def scales_of(function, in_bits):
    """Those of the paper at which the range holds at least two codes."""
    found = []
    for k in SCALES:
        try:
            codes(function, in_bits, k)
        except InputError:
            continue
        found.append(k)
    return tuple(found)


def random_table(rng, in_bits, entries=8):
    """Any numbers at all: equal break points, empty segments, outputs that saturate."""
    edge = 1 << (in_bits - 1)
    rows = tuple(
        Segments(
            k,
            np.sort(rng.integers(-edge, edge + 1, entries - 1)),
            rng.integers(-128, 128, entries),
            np.full(entries, 6),
            rng.integers(-128, 128, entries),
            rng.integers(0, 8, entries),
        )
        for k in SCALES
    )
    return LutTable(FUNCTIONS["gelu"], Format(), in_bits, rows)


def held_to_golden(module):
    """Every code: the integer mode is golden's, and the float mode is what its codes stand for."""
    q = np.arange(-1 << (module.in_bits - 1), 1 << (module.in_bits - 1))
    wanted = golden.activation(module.unit, q)
    got = module(torch.from_numpy(q))
    np.testing.assert_array_equal(got.numpy(), wanted)
    real = module(torch.from_numpy(np.ldexp(q.astype(np.float32), -module.scale)))
    np.testing.assert_array_equal(
        real.numpy(), np.ldexp(wanted - module.zero_point, -module.out_scale).astype(np.float32)
    )


@pytest.mark.parametrize("in_bits", range(4, 9))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_code_is_golden_for_every_function_scale_and_width(name, in_bits):
    function = FUNCTIONS[name]
    table = exact_table(
        function, scales=scales_of(function, in_bits), in_bits=in_bits, shared=False, guard=None
    )
    module = PiecewiseActivation(table, out_bits=in_bits)
    for row in table.rows:
        for out_scale, zero_point in ((in_bits - 2, 0), (2, -(1 << (in_bits - 1))), (9, 5)):
            module.set_scales(row.scale, out_scale, zero_point)
            held_to_golden(module)
            assert module.unit.a_bits == module.unit.out_bits == in_bits


@pytest.mark.parametrize("seed", range(20))
def test_any_table_is_golden(seed):
    rng = np.random.default_rng(seed)
    in_bits = int(rng.integers(4, 9))
    module = PiecewiseActivation(random_table(rng, in_bits), int(rng.integers(2, 9)))
    for k in SCALES:
        module.set_scales(k, int(rng.integers(0, 9)), int(rng.integers(-8, 9)))
        held_to_golden(module)


def test_a_code_on_a_break_point_is_right_of_it():
    # |x| in quarters: a left tie would give the same, so one segment is moved up by one.
    row = Segments(2, [0], [-1, 1], [0, 0], [0, 1], [0, 0])
    module = PiecewiseActivation(LutTable(FUNCTIONS["gelu"], Format(), 8, (row,)))
    module.set_scales(2, 2)
    assert module(torch.tensor([-1, 0, 1])).tolist() == [1, 4, 5]
    assert module(torch.tensor([-0.25, 0.0, 0.25])).tolist() == [0.25, 1.0, 1.25]


def chord_table(breakpoints):
    """GELU as GQA-LUT makes it: rounded chords between real break points, which are rounded to the
    codes of each scale."""
    gelu, form = FUNCTIONS["gelu"], Format()
    edges = np.array([-1e4, *breakpoints, 1e4])
    slope = np.diff(gelu(edges)) / np.diff(edges)
    m, f = form.slopes.stored(form.slopes.nearest(slope))
    b, bf = form.intercepts.stored(form.intercepts.nearest(gelu(edges[:-1]) - slope * edges[:-1]))
    rows = tuple(
        Segments(k, np.clip(np.rint(np.array(breakpoints) * 2**k), -128, 128), m, f, b, bf)
        for k in SCALES
    )
    return LutTable(gelu, form, 8, rows)


def test_the_wrong_tie_rule_would_lose_five_times_the_error():
    """The released operator takes the segment left of a break point, its trainer the right one."""
    table = chord_table([-3, -1.93, -0.98, -0.39, 0.04, 0.63, 2.85])
    module = PiecewiseActivation(table)
    errors = {"ours": [], "left": []}
    for row in table.rows:
        # In 64ths an output has 8 bits up to 3.8; the line that GELU is there loses nothing.
        q = codes(table.function.within(-4, 3.75), 8, row.scale)
        x = np.ldexp(q.astype(np.float64), -row.scale)
        module.set_scales(row.scale, 6, -117)
        ours = module(torch.from_numpy(x)).numpy()
        left = np.searchsorted(row.breakpoints, q, side="left")
        slope, intercept = np.ldexp(row.slopes[left], -6), np.ldexp(row.intercepts[left], -6)
        theirs = np.clip(np.floor((slope * x + intercept) * 64 + 0.5), -11, 244) / 64
        for name, y in (("ours", ours), ("left", theirs)):
            errors[name].append(((y - table.function(x)) ** 2).mean())
    ours, left = np.mean(errors["ours"]), np.mean(errors["left"])
    # Rounding to 64ths adds at most 1/12 of its square.
    assert table.mse() < 1.1e-4
    assert ours == pytest.approx(table.mse(), abs=64.0**-2 / 12)
    assert left > 4.5 * ours


def test_rounding_and_saturation_of_real_inputs():
    row = Segments(0, [], [1], [0], [0], [0])
    module = PiecewiseActivation(LutTable(FUNCTIONS["gelu"], Format(), 8, (row,)))
    module.set_scales(0, 0)
    x = torch.tensor([0.5, 0.49, -0.5, -0.51, 1.5, 127.4, 300, -300, np.inf, -np.inf, np.nan])
    got = module(x)
    assert got[:-1].tolist() == [1, 0, 0, -1, 2, 127, 127, -128, 127, -128]
    assert got[-1].isnan()


def test_the_gradient_is_the_slope_and_none_where_anything_saturates():
    # Slopes 0.5 and 2 at x = 0; codes end at +-128/16 = +-8, outputs at 127/16.
    row = Segments(4, [0], [1, 4], [1, 1], [0, 0], [0, 0])
    module = PiecewiseActivation(LutTable(FUNCTIONS["gelu"], Format(), 8, (row,)))
    module.set_scales(4, 4)
    x = torch.tensor([-9.0, -8.0, -1.0, -0.01, 0.0, 1.0, 3.9, 4.1, 7.9, 8.5], requires_grad=True)
    module(x).sum().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 2, 2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("name", ["gelu", "tanh"])
def test_the_gradient_is_near_the_derivative(name):
    module = PiecewiseActivation(exact_table(FUNCTIONS[name], 16, scales=(5,)))
    module.set_scales(5, 6 if name == "tanh" else 5)
    x = torch.linspace(-3, 3, 200, requires_grad=True)
    module(x).sum().backward()
    slope = np.gradient(FUNCTIONS[name](x.detach().double().numpy()), 6 / 199)
    assert np.abs(x.grad.numpy() - slope).mean() < 0.05


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 16),
        nn.GELU(),
        nn.Linear(16, 16),
        nn.Sequential(nn.SiLU()),
        nn.Linear(16, 16),
        nn.Hardswish(),
        nn.Linear(16, 16),
        nn.Sigmoid(),
        nn.Linear(16, 3),
        nn.Tanh(),
    )


@pytest.fixture(scope="module")
def tables():
    """Cheap ones: the best of each scale, not shared."""
    return {
        name: exact_table(FUNCTIONS[name], shared=False, guard=None)
        for name in ACTIVATIONS.values()
    }


@pytest.fixture
def replaced(tables):
    model = network()
    x = 3 * torch.randn(256, 4, generator=torch.Generator().manual_seed(1))
    exact = model(x).detach()
    report = replace(model, tables)
    calibrate(model, [x[:128], (x[128:],)])
    return model, x, exact, report


def test_a_replaced_model_is_near_the_exact_one_and_says_what_was_replaced(replaced):
    model, x, exact, report = replaced
    assert [(r.name, r.kind, r.function) for r in report] == [
        ("1", "GELU", "gelu"),
        ("3.0", "SiLU", "silu"),
        ("5", "Hardswish", "hswish"),
        ("7", "Sigmoid", "sigmoid"),
        ("9", "Tanh", "tanh"),
    ]
    assert 0 < (model(x) - exact).abs().max() < 0.05
    for module in model.modules():
        if isinstance(module, PiecewiseActivation):
            held_to_golden(module)


def test_a_state_dict_loads_back_to_the_same_outputs(replaced, tables):
    model, x, _, _ = replaced
    other = network(seed=7)
    replace(other, tables)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(other)(x), model(x))


def test_half_precision_keeps_outputs_exact(replaced):
    module = next(m for m in replaced[0].modules() if isinstance(m, PiecewiseActivation))
    x = torch.linspace(-4, 4, 333).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = module(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got.double(), module(x.double()))
    assert torch.equal(module.bfloat16()(x), got)


def test_calibration_is_deterministic_and_leaves_the_mode_alone(tables):
    found = []
    for _ in range(2):
        model = network().train()
        model[0].eval()
        replace(model, tables)
        calibrate(model, [torch.linspace(-9, 9, 400).reshape(100, 4)])
        found.append({k: v.tolist() for k, v in model.state_dict().items()})
        assert model.training
        assert not model[0].training
        assert model[1].training
    assert found[0] == found[1]


def test_calibration_takes_the_scale_that_the_inputs_need():
    table = exact_table(FUNCTIONS["gelu"], shared=False, guard=None)
    for top, wanted in ((1.9, 6), (3.8, 5), (7.5, 4), (30.0, 2)):
        model = nn.Sequential(PiecewiseActivation(table))
        calibrate(model, [torch.linspace(-top, top, 2000)])
        assert model[0].scale == wanted


@pytest.mark.parametrize(
    ("name", "top", "wanted"),
    # Steps of 1/256, 1/128 and, with room for GELU's least value of -0.17, 1/64.
    [("sigmoid", 5, (8, -128)), ("tanh", 3, (7, -2)), ("gelu", 3, (6, -116))],
)
def test_calibration_gives_the_output_the_scale_and_zero_point_that_use_its_codes(
    tables, name, top, wanted
):
    model = nn.Sequential(PiecewiseActivation(tables[name]))
    calibrate(model, [torch.linspace(-top, top, 2000)])
    assert (model[0].out_scale, model[0].zero_point) == wanted


def test_fine_tuning_lowers_the_loss(replaced):
    model, x, exact, _ = replaced
    wanted = exact.roll(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = ((model(x) - wanted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert losses[-1] < 0.7 * losses[0]


def test_a_module_in_two_places_stays_one(tables):
    act = nn.GELU()
    model = nn.ModuleDict({"a": act, "b": nn.Linear(2, 2), "c": act})
    assert [r.name for r in replace(model, tables)] == ["a"]
    assert model["a"] is model["c"]


def test_only_some_functions_and_own_classes():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    model = nn.Sequential(nn.GELU(), nn.Tanh(), nn.Mish(), Square())
    square = exact_table(expression("x * x", -1, 1), scales=(6,), guard=None)
    report = replace(model, {Square: square}, only=("tanh",))
    assert [(r.name, r.function) for r in report] == [("1", "tanh"), ("3", "x * x")]
    assert isinstance(model[0], nn.GELU)
    calibrate(model, [torch.linspace(-1, 1, 50)])
    x = model[:3](torch.linspace(-1, 1, 50))
    assert (model[3](x) - x * x).abs().max() < 0.02


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: replace(nn.Sequential(nn.ReLU())), "model: no module to replace was found"),
        (lambda: replace(nn.GELU()), "model: a bare GELU cannot be replaced in place"),
        (lambda: replace(nn.Sequential(nn.Mish())), "0: no table stands for Mish"),
        (lambda: replace(nn.Sequential(nn.GELU()), only=("gulu",)), "only: 'gulu' is not known"),
        (lambda: replace(nn.Sequential(nn.GELU()), {"gulu": None}), "tables: 'gulu' is not known"),
        (lambda: calibrate(nn.Sequential(nn.GELU()), []), "model: nothing in it is replaced"),
        (
            lambda: PiecewiseActivation(exact_table(FUNCTIONS["gelu"], scales=(5,)), 9),
            "output bits: 9 is not within 2 to 8",
        ),
        (
            lambda: PiecewiseActivation(exact_table(FUNCTIONS["gelu"], scales=(5,)))(torch.ones(1)),
            "PiecewiseActivation: the scales are not set; call calibrate",
        ),
        (
            lambda: PiecewiseActivation(exact_table(FUNCTIONS["gelu"], scales=(5,))).set_scales(
                4, 4
            ),
            "scale 4: this table is for 5",
        ),
    ],
)
def test_bad_calls_are_refused(call, line):
    with pytest.raises(InputError, match=f"^{line}"):
        call()


def test_codes_outside_their_width_are_refused(replaced):
    module = next(m for m in replaced[0].modules() if isinstance(m, PiecewiseActivation))
    with pytest.raises(InputError, match=r"^codes: 0 to 128 are not within -128 to 127"):
        module(torch.tensor([0, 128]))
    with pytest.raises(InputError, match=r"^codes: type torch.bool, integers are needed"):
        module(torch.tensor([True]))


def test_calibration_drops_nothing_out(tables):
    model = nn.Sequential(nn.Dropout(0.5), nn.Tanh())
    replace(model, tables)
    seen = []
    model[0].register_forward_hook(lambda module, x, out: seen.append(out))
    calibrate(model, [torch.ones(99)])
    assert torch.equal(seen[0], torch.ones(99))


def test_calibration_names_the_module_that_no_batch_reached(tables):
    model = nn.ModuleDict({"used": nn.GELU(), "unused": nn.Tanh()})
    model.forward = lambda x: model["used"](x)
    replace(model, tables)
    with pytest.raises(InputError, match=r"^unused: no batch reached it"):
        calibrate(model, [torch.ones(3)])
    with pytest.raises(InputError, match=r"^used: gelu: calibration needs inputs, all"):
        calibrate(model, [torch.full((3,), torch.nan)])


def test_a_state_of_other_widths_or_damaged_is_refused(tables):
    model = nn.Sequential(nn.GELU())
    replace(model, tables)
    calibrate(model, [torch.ones(3)])
    other = nn.Sequential(nn.GELU())
    replace(other, tables, out_bits=6)
    with pytest.raises(RuntimeError, match=r"0.constants: \[8, 8\] is not \[8, 6\], the widths"):
        other.load_state_dict(model.state_dict())
    damaged = model.state_dict()
    damaged["0.breakpoints"] = damaged["0.breakpoints"].flip(0)
    with pytest.raises(RuntimeError, match=r"0: pwl.breakpoints: values 0 to 128"):
        model.load_state_dict(damaged)


def layer_norm(rng, length, affine=True):
    layer = nn.LayerNorm(length, elementwise_affine=affine)
    if affine:
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(rng.uniform(0.3, 2, length)))
            layer.bias.copy_(torch.from_numpy(rng.normal(0, 0.5, length)))
    return layer


def vector_codes(rng, bits, shape):
    """Noise, and vectors that are constant, extreme, or all but constant."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    q = rng.integers(low, high + 1, shape)
    q[0], q[1], q[2] = low, high, 0
    q[2, ..., 0] = high
    q[3] = np.where(np.arange(shape[-1]) % 2, low, high)
    q[4] = rng.integers(-1, 2, shape[1:])
    return q


@pytest.mark.parametrize("seed", range(12))
def test_softmax_codes_are_golden_in_both_modes(seed):
    rng = np.random.default_rng(seed)
    in_bits, out_bits, longest = (int(v) for v in rng.integers([4, 4, 1], [9, 9, 70]))
    module = PiecewiseSoftmax(-1, [4, 8, 16][seed % 3], in_bits, out_bits)
    module.set_scales(int(rng.integers(0, 7)), longest)
    for length in {1, longest, (longest + 1) // 2}:
        q = vector_codes(rng, in_bits, (60, 3, length))
        wanted = golden_composites.softmax(module.unit, q)
        np.testing.assert_array_equal(module(torch.from_numpy(q)).numpy(), wanted)
        real = module(torch.from_numpy(np.ldexp(q, -module.scale))).numpy()
        np.testing.assert_array_equal(real, np.ldexp(wanted + 2.0 ** (out_bits - 1), -out_bits))


@pytest.mark.parametrize("seed", range(12))
def test_layer_norm_codes_are_golden_in_both_modes(seed):
    rng = np.random.default_rng(seed)
    in_bits, out_bits, length = (int(v) for v in rng.integers([4, 4, 2], [9, 9, 70]))
    module = PiecewiseLayerNorm(
        layer_norm(rng, length, seed % 4 > 0), [4, 8, 16][seed % 3], in_bits, out_bits
    )
    module.set_scales(int(rng.integers(0, 7)), out_bits - 3)
    q = vector_codes(rng, in_bits, (60, 3, length))
    wanted = golden_composites.normalise(module.unit, q)
    np.testing.assert_array_equal(module(torch.from_numpy(q)).numpy(), wanted)
    real = module(torch.from_numpy(np.ldexp(q.astype(np.float32), -module.scale)))
    np.testing.assert_array_equal(real.detach().numpy(), np.ldexp(wanted, -module.out_scale))


class Attention(nn.Module):
    """Softmax over the second of three axes, and normalisation: the vectors of a transformer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.norm, self.softmax = nn.LayerNorm(12), nn.Softmax(dim=1)
        # A bias would have no gradient: it moves all scores of a softmax alike.
        self.key = nn.Linear(12, 12, bias=False)

    def forward(self, x):
        y = self.norm(x)
        score = self.key(y) @ y.transpose(1, 2)
        return self.softmax(score).transpose(1, 2) @ y


@pytest.fixture
def attention():
    model = Attention()
    x = 2 * torch.randn(40, 9, 12, generator=torch.Generator().manual_seed(4))
    exact = model(x).detach()
    report = replace(model)
    calibrate(model, [x[:20], x[20:]])
    return model, x, exact, report


def test_softmax_and_layer_norm_are_replaced_and_near(attention):
    model, x, exact, report = attention
    assert [(r.name, r.kind) for r in report] == [("norm", "LayerNorm"), ("softmax", "Softmax")]
    assert model.softmax.length == 9
    assert 0 < (model(x) - exact).abs().max() < 0.15
    assert (model(x) - exact).pow(2).mean() < 1e-3 * exact.pow(2).mean()
    other = Attention()
    replace(other)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_gradients_of_softmax_and_layer_norm_are_near_the_real_ones(attention):
    model, x, _, _ = attention
    real = Attention()
    for each in (model, real):
        each.zero_grad()
        each(x).pow(3).sum().backward()
    pairs = list(zip(model.parameters(), real.parameters(), strict=True))
    assert len(pairs) == 3
    for ours, wanted in pairs:
        assert torch.cosine_similarity(ours.grad.ravel(), wanted.grad.ravel(), 0) > 0.99


def test_saturated_elements_have_no_gradient():
    module = PiecewiseSoftmax()
    module.set_scales(4, 3)
    x = torch.tensor([[9.0, 7.0, 6.9]], requires_grad=True)
    module(x)[0, 1].backward()
    assert x.grad[0, 0] == 0
    assert x.grad[0, 1] > 0 > x.grad[0, 2]
    norm = PiecewiseLayerNorm(nn.LayerNorm(3))
    norm.set_scales(4, 6)
    x = torch.tensor([[9.0, 7.0, 6.9]], requires_grad=True)
    norm(x)[0, 1].backward()
    assert x.grad[0, 0] == 0
    assert x.grad[0, 1] > 0 > x.grad[0, 2]


def test_saturated_outputs_have_no_gradient():
    norm = PiecewiseLayerNorm(nn.LayerNorm(3))
    norm.set_scales(4, 7)
    x = torch.tensor([[3.0, 0.5, -3.0]], requires_grad=True)
    out = norm(x)
    assert out[0, 0] == 127 / 128
    out[0, 0].backward(retain_graph=True)
    assert x.grad.tolist() == [[0, 0, 0]]
    out[0, 1].backward()
    assert x.grad[0, 1] > 0


def test_a_mask_of_minus_infinity_is_the_least_code():
    model = nn.Sequential(nn.Softmax(-1))
    replace(model)
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(5))
    x[:, 5:] = -torch.inf
    x[3] = -torch.inf
    calibrate(model, [x])
    assert model(x).isfinite().all()
    x = torch.cat([x[:3], x[4:]])
    assert model(x)[:, 5:].max() < 0.02
    assert (model(x) - x.softmax(-1)).abs().max() < 0.05


def test_fine_tuning_through_softmax_and_layer_norm_lowers_the_loss(attention):
    model, x, exact, _ = attention
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = ((model(x) - exact.roll(1, 2)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    q = torch.randint(-128, 128, (30, 12))
    wanted = golden_composites.normalise(model.norm.unit, q.numpy())
    np.testing.assert_array_equal(model.norm(q).numpy(), wanted)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: replace(nn.Sequential(nn.Softmax())), "0: Softmax without dim"),
        (lambda: replace(nn.Sequential(nn.LayerNorm((3, 4)))), "0: layer norm: over 2 axes"),
        (lambda: replace(nn.Sequential(nn.Softmax(-1)), in_bits=9), "0: input bits: 9 is not"),
        (lambda: PiecewiseSoftmax()(torch.ones(2)), "PiecewiseSoftmax: the scales are not set"),
        (lambda: PiecewiseLayerNorm(nn.LayerNorm(3)).unit, "PiecewiseLayerNorm: the scales"),
    ],
)
def test_bad_vectors_are_refused(call, line):
    with pytest.raises(InputError, match=f"^{line}"):
        call()


def test_vectors_of_the_wrong_length_are_refused(attention):
    model, x, _, _ = attention
    with pytest.raises(InputError, match=r"^softmax: a vector of 10; 1 to 9 are possible"):
        model(torch.ones(1, 10, 12))
    with pytest.raises(InputError, match=r"^layer norm: a vector of 11, not of 12"):
        model.norm(x[..., :11])
    with pytest.raises(InputError, match=r"^norm: layer norm: calibration needs finite inputs"):
        calibrate(model, [x / 0])
