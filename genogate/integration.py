"""What lies beside the Verilog of a network: a bench, a wrapper, a core file."""

from __future__ import annotations

from .network import Network


def integration_files(network: Network, wrapper: str = "none") -> dict[str, str]:
    """Name -> text of what lies beside ``gru.v``: a self-checking bench in plain Verilog with
    vectors of the first test sequences, a `wrapper` where one is wanted, and a core file for
    FuseSoC."""
    from .synth.integration.fusesoc import NAME, core_file
    from .synth.integration.plain_bench import plain_bench, sequences_for
    from .synth.integration.wrapper import wrapper_verilog

    around = {}
    if wrapper != "none":
        around[f"gru_{wrapper}.v"] = wrapper_verilog(network.design, wrapper)

    x = network.task.x_test
    count = min(len(x), sequences_for(network.design, x.shape[1]))
    bench = plain_bench(network.design, network.model.quantize_input(x[:count]))
    return {**bench, **around, NAME: core_file(network.design, bench, around)}
