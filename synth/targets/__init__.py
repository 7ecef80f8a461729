"""What a network costs in a real part: FPGAs by family, and standard cells of an open PDK."""
