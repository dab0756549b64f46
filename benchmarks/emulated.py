"""``minialex bench`` with our kernels under the emulator: it tries the way that a GPU's run takes.

    python -m benchmarks.emulated bench --device cpu ...

Results are proved as ever. Times are those of an emulation, and mean nothing.
"""

from minialex import emulated
from minialex.cli import main

with emulated():
    main()
