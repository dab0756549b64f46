"""``minialex bench`` with our kernels under the emulator: it exercises the code that a GPU runs.

    python -m benchmarks.emulated bench --device cpu ...

Results are verified as always. Times are those of an emulation, and mean nothing.
"""

from minialex import emulated
from minialex.cli import main

with emulated():
    main()
