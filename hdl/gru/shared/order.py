"""The order in which one adder does the operators of a unit; a simulation needs no more of it."""

#: Operators in the order in which they are done for a unit, their operands' registers and that of
#: their result. A product takes the bits of t1.
ORDER = (
    ("w_hz", ("h",), "t0"),
    ("w_iz", ("x",), "t1"),
    ("s_z", ("t1", "t0"), "t0"),
    ("a_z", ("t0",), "t2"),
    ("w_hr", ("h",), "t0"),
    ("w_ir", ("x",), "t1"),
    ("s_r", ("t1", "t0"), "t0"),
    ("a_r", ("t0",), "t1"),
    ("w_hn", ("h",), "t0"),
    ("p_rn", ("t1", "t0"), "t0"),
    ("w_in", ("x",), "t1"),
    ("s_n", ("t1", "t0"), "t0"),
    ("a_n", ("t0",), "t0"),
    ("c_z", ("t2",), "t1"),
    ("p_zn", ("t1", "t0"), "t0"),
    ("p_zh", ("t2", "t1"), "t1"),
    ("s_h", ("t0", "t1"), ""),
)
