"""A whole network as a netlist of standard cells: mapped, timed, simulated."""
