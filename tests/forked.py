"""For scripts of tests that fork."""

import os
import signal
import sys


def in_a_child(work):
    """Print what `work` returns in a child, or its error, and then the child's exit status."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends what waits for ever
        try:
            print(work())
        except RuntimeError as error:
            print(error)
        sys.exit(0)  # with all that ends a process, unlike os._exit
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
