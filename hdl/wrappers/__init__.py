"""The network behind interfaces that systems already have: AXI-stream, bytes."""
