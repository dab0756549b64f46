#!/usr/bin/env bash
# Every benchmark that needs a GPU, in one call of under nine minutes, from the source tree.
#
#   benchmarks/device.sh            results into benchmarks/results/gpu-*
#   OUT=/some/folder benchmarks/device.sh
#
# Needs Python 3.11 or later with CuPy (12x or 13x); PyTorch and JAX take part where they are
# installed. Each part writes its record after every sweep, so that one cut short leaves something.
# The card's settings are left as they are.
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

# one way through the kernels: the others, slow on purpose, are measured layer by layer
part networks 240 3.0 --quick --op step --op inference \
    --implementation implicit_gemm --implementation register_blocked --implementation cudnn \
    --batch 32 --batch 128 --batch 256 --batch 1024 \
    --peer PyTorch --peer "PyTorch P2" --peer "PyTorch P3"
part layers 180 2.4 --quick --op layers --op optimizer --batch 32 --batch 128 \
    --peer PyTorch --peer JAX --peer CuPy
part memory 90 1.0 --op memory --batch 128 --peer PyTorch --peer "PyTorch P2"

tail -n 40 "$log"
exit "$status"
