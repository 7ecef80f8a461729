"""What all tests need."""

import gc
import os
import signal
import sys
from collections import Counter

# A shell starts what runs in its background deaf to interrupts, and children inherit that; tests
# that interrupt a program would wait for it forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The Makefile marks its users, whose hints name make's targets. Tests give the same result whether
# make or pytest starts them; tests of those hints set the variable
# themselves.
os.environ.pop("GENOGATE_MAKE", None)

# Tests start hundreds of programs. None may have to compile all modules again, as where the
# environment says that bytecode is not to be kept, nor have cocotb rewrite them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("COCOTB_REWRITE_ASSERTION_FILES", "")

# As commands do it: small matrices gain nothing by threads, and those of two processes on two cores
# wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Circuits are trees of millions of small objects, among which the collector looks for circles again
# and again: a quarter of the time of making one.
gc.set_threshold(100_000, 20, 100)


def pytest_collection_modifyitems(items):
    """Files of few tests first: these are the long ones, and of two workers none shall be left
    alone with them at the end."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: tests[item.path])
