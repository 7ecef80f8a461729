"""What all tests need."""

import signal

# A shell starts what runs in its background deaf to interrupts, and children inherit that; tests
# that interrupt a program would wait for it forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
