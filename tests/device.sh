#!/usr/bin/env bash
# Everything about our kernels that only a GPU can show, in one call, from the source tree.
#
#   tests/device.sh [MINUTES]           the record of this GPU into tests/results  [8 minutes]
#   OUT=/some/folder tests/device.sh
#   DEVICE=emulated tests/device.sh     the same parts, smaller, under the checked emulator
#   ONLY=suite tests/device.sh 2        one part, in all the minutes
#   WHEELS=/some/folder tests/device.sh installs the wheels in it first, such as cuDNN's
#
# Needs Python 3.11 or later (PYTHON=...) with CuPy (12x or 13x), what minialex itself needs, and
# pytest, pytest-xdist, pytest-timeout and hypothesis. The parts share the minutes, the most
# important first: the suite's tests for a GPU, AlexNet's layers at full size, every kernel under
# compute-sanitizer where that is. What they find is in $OUT/device-tests as it comes, and in the
# record after each part. After it `python -m minialex.study.kernels` takes the record into
# kernels/README.md. COMMIT=... names the revision where the tree is not a clone.
set -u
cd "$(dirname "$0")/.."
name=tests
out="${OUT:-tests/results}"
python="${PYTHON:-python3}"
device="${DEVICE:-cuda}"
minutes="${1:-${MINUTES:-8}}"
source tests/device/parts.sh

check_minutes
check_only suite full_size memcheck racecheck every_kernel
"$python" - "$device" <<'PY' || exit 2
import importlib.util
import sys

NEEDED = {
    "numpy": "numpy", "PIL": "pillow", "sklearn": "scikit-learn", "matplotlib": "matplotlib",
    "ml_dtypes": "ml_dtypes", "threadpoolctl": "threadpoolctl", "click": "click", "rich": "rich",
    "xdist": "pytest-xdist",
    "pytest": "pytest", "pytest_timeout": "pytest-timeout", "hypothesis": "hypothesis",
}
if sys.argv[1] not in ("cuda", "emulated"):
    raise SystemExit(f"DEVICE is {sys.argv[1]!r}: use cuda or emulated")
missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
if missing:
    raise SystemExit(f"nothing is tested: pip install {' '.join(missing)}")

from minialex import arrays
from minialex.errors import MinialexError

try:
    arrays.device("cpu" if sys.argv[1] == "emulated" else "cuda")
except MinialexError as error:
    raise SystemExit(f"nothing is tested: {error}")
PY

begin
found="$out/device-tests"
rm -rf "$found"
mkdir "$found"

# keep: write the record of all that was found so far
keep() {
    "$python" -m tests.device.record "$found" "$out" "$device" "$@" 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || status=1
}

# suite SECONDS WORKERS ARGUMENTS...: no test begins in the last fifth
suite() {
    local seconds=$1 workers=$2
    shift 2
    # a kernel that hangs holds its thread: only the end of the process stops that
    part suite "$seconds" "$python" -m pytest -q -p no:cacheprovider -n "$workers" \
        --maxschedchunk 16 --timeout-method thread -p tests.device.plugin \
        --record "$found/suite.json" --seconds $((seconds * 4 / 5)) "$@"
    keep "${outcomes[@]}"
}

# full_size SECONDS ARGUMENTS...
full_size() {
    local seconds=$1
    shift
    part full_size "$seconds" bash -c '"$@" >"$0"' "$found/full_size.jsonl" \
        "$python" -m minialex gradcheck --full-size --json "$@"
    keep "${outcomes[@]}"
}

# sanitize TOOL SECONDS
sanitize() {
    local tool
    tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null |
        head -n 1)
    if [ -z "$tool" ]; then
        note "$1" "left out: there is no compute-sanitizer"
    else
        # what a library asks the driver for and can do without is no fault of a kernel
        local quiet=()
        [ "$1" = memcheck ] && quiet=(--report-api-errors no)
        part "$1" "$2" "$tool" --tool "$1" ${quiet[@]+"${quiet[@]}"} --error-exitcode 9 \
            "$python" -m tests.device.every_kernel
    fi
    keep "${outcomes[@]}"
}

conformance=tests/test_conformance.py
keep about
if [ "$device" = cuda ]; then
    # what a library warns of on a machine never seen before must not end every test
    suite "$(share 45 100)" 8 -m gpu -W default --timeout 120 \
        $conformance::test_output_and_gradients tests/test_routines.py \
        $conformance::test_contract $conformance::test_arrays_that_lie_in_memory_otherwise \
        $conformance::test_saved_is_the_same_for_all_implementations tests/data \
        tests/ops/test_scatter.py
    full_size "$(share 25 55)" --device cuda:0 --op conv2d --op linear --op max_pool2d --op relu \
        --op local_response_norm --op dropout --op cross_entropy --op adaptive_avg_pool2d
    sanitize memcheck "$(share 15 30)"
    sanitize racecheck "$(share 15 15)"
else
    suite "$(share 60 100)" 2 -k "silently_wrong or checked" --timeout 120 \
        $conformance tests/test_routines.py
    full_size "$(share 20 40)" --emulate --op relu --op max_pool2d --dtype float32
    part every_kernel "$(share 20 20)" "$python" -m tests.device.every_kernel emulated
    keep "${outcomes[@]}"
fi

tail -n 40 "$log"
exit "$status"
