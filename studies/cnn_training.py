"""Training of the small CNNs, batch normalisation folded into the weights at the end."""

from typing import Any

import numpy as np
from genogate.model.aliases import Say
from genogate.model.checkpoints.descent import import_torch
from genogate.search.proxies.cnn.layers import LayerShape, data, layers, through
from genogate.search.proxies.cnn.network import Net
from genogate.search.proxies.cnn.quantisation import Quantised, judged

#: How the shipped networks were trained, as :func:`train` takes it.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet-digits": {"epochs": 30},
    "mobilenet-digits": {"epochs": 120},
    "resnet-mnist": {"epochs": 3, "images": 20_000},
    "mobilenet-mnist": {"epochs": 3, "images": 16_000},
}


def train(
    name: str,
    *,
    epochs: int,
    images: int = 60_000,
    batch: int = 64,
    lr: float = 4e-3,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Net:
    """Train a network on the first `images` of its training part, shifted by up to a pixel, with
    Adam and one cosine; batch normalisation is folded into the weights at the end."""
    torch = import_torch()
    task, shapes = data(name), layers(name)
    torch.manual_seed(seed)
    draw = np.random.default_rng([seed, 28])
    modules: dict[str, Any] = {}
    for shape in shapes:
        modules[shape.name] = (
            torch.nn.Conv2d(
                shape.inputs,
                shape.outputs,
                shape.kernel,
                shape.stride,
                shape.kernel // 2,
                groups=shape.groups,
                bias=False,
            )
            if shape.kernel
            else torch.nn.Linear(shape.inputs, shape.outputs)
        )
    norms = {s.name: torch.nn.BatchNorm2d(s.outputs) for s in shapes if s.kernel}
    parameters = [p for module in (*modules.values(), *norms.values()) for p in module.parameters()]

    def apply(shape: LayerShape, x: Any) -> Any:
        out = modules[shape.name](x)
        return norms[shape.name](out) if shape.kernel else out

    x, y = task.x_train[:images], task.y_train[:images]
    optimizer = torch.optim.Adam(parameters, lr)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        order = draw.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch)
        total = 0.0
        for chosen in order:
            up, aside = draw.integers(-1, 2, 2)
            part = np.pad(x[chosen], ((0, 0), (1, 1), (1, 1)))
            part = part[:, 1 + up : 1 + up + x.shape[1], 1 + aside : 1 + aside + x.shape[2]]
            logits = through(shapes, apply, torch.from_numpy(np.ascontiguousarray(part))[:, None])
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        say(f"{name}: epoch {epoch + 1} of {epochs}, loss {total / len(order):.4f}")
    weights, biases = {}, {}
    for shape in shapes:
        weight = modules[shape.name].weight.detach().numpy().astype(np.float64)
        if shape.kernel:
            norm = norms[shape.name]
            gain, shift, mean, var = (
                v.detach().numpy().astype(np.float64)
                for v in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            )
            factor = gain / np.sqrt(var + norm.eps)
            weight, bias = weight * factor[:, None, None, None], shift - mean * factor
        else:
            bias = modules[shape.name].bias.detach().numpy().astype(np.float64)
        # What is stored is what the network is.
        weights[shape.name] = weight.astype(np.float16).astype(np.float32)
        biases[shape.name] = bias.astype(np.float16).astype(np.float32)
    about = {
        "task": task.name,
        "split_hash": task.split_hash,
        "epochs": epochs,
        "images": len(x),
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "torch": str(torch.__version__),
    }
    net = Net(name, weights, biases, about)
    part_x, part_y = judged(name)
    return Net(
        name, weights, biases, {**about, "val": Quantised(net).accuracy(None, part_x, part_y)}
    )
