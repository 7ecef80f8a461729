"""A network on a board or a chip: byte streams, a framed protocol, a UART."""
