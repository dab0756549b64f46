#!/usr/bin/env bash
# Everything about our kernels that only a GPU can show, in one call of under nine minutes, from the
# source tree.
#
#   tests/device.sh                     the record of this GPU into tests/results
#   OUT=/some/folder tests/device.sh
#   DEVICE=emulated tests/device.sh     the same parts, smaller, under the checked emulator
#
# Needs Python 3.11 or later (PYTHON=...) with CuPy (12x or 13x), what minialex itself needs, and
# pytest, pytest-timeout and hypothesis. The parts, the most important first: the suite's tests for
# a GPU, AlexNet's layers at full size, every kernel under compute-sanitizer where that is. After it
# `python -m minialex.study.kernels` takes the record into kernels/README.md. COMMIT=... names the
# revision where the tree is not a clone.
set -u
cd "$(dirname "$0")/.."
out="${OUT:-tests/results}"
python="${PYTHON:-python3}"
device="${DEVICE:-cuda}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

"$python" - "$device" <<'EOF' || exit 2
import importlib.util
import sys

NEEDED = {
    "numpy": "numpy", "PIL": "pillow", "sklearn": "scikit-learn", "matplotlib": "matplotlib",
    "threadpoolctl": "threadpoolctl", "joblib": "joblib", "click": "click", "rich": "rich",
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
EOF

mkdir -p "$out"
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
log="$out/device.log"
: >"$log"
status=0
outcomes=()

# part NAME SECONDS COMMAND...
part() {
    local name=$1 seconds=$2
    shift 2
    echo "== $name: $*" | tee -a "$log"
    timeout --kill-after=5 "$seconds" "$@" >>"$log" 2>&1
    note "$name" "$?"
}

note() {
    local outcome
    case "$2" in
        0) outcome=passed ;;
        124 | 137) outcome="cut short" ;;
        *) outcome="failed (exit status $2)" ;;
    esac
    echo "== $1: $outcome" | tee -a "$log"
    outcomes+=("$1=$outcome")
    [ "$outcome" = passed ] || status=1
}

# suite SECONDS ARGUMENTS...: no test begins after SECONDS
suite() {
    local seconds=$1
    shift
    part suite $((seconds + 40)) "$python" -m pytest -q -p no:cacheprovider \
        -p tests.device.plugin --record "$parts/suite.json" --seconds "$seconds" "$@"
}

# full_size SECONDS ARGUMENTS...
full_size() {
    local seconds=$1
    shift
    echo "== full_size: minialex gradcheck --full-size $*" | tee -a "$log"
    timeout --kill-after=5 "$seconds" "$python" -m minialex gradcheck --full-size --json "$@" \
        >"$parts/full_size.jsonl" 2>>"$log"
    note full_size "$?"
}

# sanitize TOOL SECONDS
sanitize() {
    local found
    found=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null |
        head -n 1)
    if [ -z "$found" ]; then
        echo "== $1: left out, there is no compute-sanitizer here" | tee -a "$log"
        outcomes+=("$1=left out: there is no compute-sanitizer")
        return
    fi
    # what a library asks the driver for and can do without is no fault of a kernel
    local quiet=()
    [ "$1" = memcheck ] && quiet=(--report-api-errors no)
    part "$1" "$2" "$found" --tool "$1" ${quiet[@]+"${quiet[@]}"} --error-exitcode 9 \
        "$python" -m tests.device.every_kernel
}

conformance=tests/test_conformance.py
if [ "$device" = cuda ]; then
    # what a library warns of on a machine that nobody has seen must not end every test
    suite 210 -m gpu -W default --timeout 120 \
        $conformance::test_output_and_gradients tests/test_routines.py \
        $conformance::test_contract $conformance::test_arrays_scattered_in_memory \
        $conformance::test_saved_is_the_same_for_all_implementations tests/data \
        tests/ops/test_places.py
    full_size 110 --device cuda:0
    sanitize memcheck 70
    sanitize racecheck 70
else
    suite 300 -k "silently_wrong or checked" --timeout 120 $conformance tests/test_routines.py
    full_size 90 --emulate --op relu --op max_pool2d --dtype float32
    part every_kernel 90 "$python" -m tests.device.every_kernel emulated
fi

"$python" -m tests.device.record "$parts" "$out" "$device" "${outcomes[@]}" 2>&1 |
    tee -a "$log" || status=1
tail -n 40 "$log"
exit "$status"
