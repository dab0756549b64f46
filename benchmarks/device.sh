#!/usr/bin/env bash
# Every benchmark that needs a GPU, in one call of under nine minutes, from the source tree.
#
#   benchmarks/device.sh            results into benchmarks/results/gpu-*
#   OUT=/some/folder benchmarks/device.sh
#
# Needs Python 3.11 or later with CuPy (12x or 13x); PyTorch and JAX take part where they are
# installed. Each part writes its record after every case, so that one cut short leaves something.
# The card's settings are left as they are. COMMIT=... names the revision where the tree is no clone.
set -u
cd "$(dirname "$0")/.."
out="${OUT:-benchmarks/results}"
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"
log="$out/device.log"
: >"$log"
status=0

# part NAME SECONDS MINUTES ARGUMENTS...: nothing new is begun after MINUTES, all ends after SECONDS
part() {
    local name=$1 seconds=$2 minutes=$3
    shift 3
    echo "== $name: minialex bench $*" | tee -a "$log"
    # what an earlier run left gives way
    rm -rf "$out/gpu-$name"
    timeout --kill-after=10 "$seconds" "$python" -m minialex bench \
        --device cuda --minutes "$minutes" --out "$out/gpu-$name" "$@" >>"$log" 2>&1
    local code=$?
    echo "== $name: exit status $code" | tee -a "$log"
    [ "$code" -eq 0 ] || status=1
}

"$python" - <<'EOF' || exit 2
from minialex.arrays import device
from minialex.errors import MinialexError

try:
    device("cuda")
except MinialexError as error:
    raise SystemExit(f"nothing to measure: {error}")
EOF

# One way through the kernels: the others, slow on purpose, are measured layer by layer. What takes
# minutes to prepare, compiling networks and layers, comes last.
ours=(--implementation implicit_gemm --implementation register_blocked --implementation cudnn)
part networks 150 2.0 --quick --op step --op inference "${ours[@]}" \
    --batch 32 --batch 128 --batch 256 --batch 1024 --peer PyTorch --peer "PyTorch P2"
part memory 110 1.3 --quick --op optimizer --op memory --batch 128 \
    --peer PyTorch --peer "PyTorch P2"
part compiled 120 0.9 --quick --op step "${ours[@]}" --batch 128 --batch 1024 --peer "PyTorch P3"
part layers 130 1.7 --quick --op layers --batch 32 --batch 128 \
    --peer PyTorch --peer JAX --peer CuPy

# few files to take along: `python -m minialex.bench.report` draws these again
find "$out"/gpu-* -name '*.png' -delete
tail -n 40 "$log"
exit "$status"
