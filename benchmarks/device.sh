#!/usr/bin/env bash
# Every benchmark that needs a GPU, in one call, from the source tree.
#
#   benchmarks/device.sh [MINUTES]           results into benchmarks/results/gpu-*  [8 minutes]
#   OUT=/some/folder benchmarks/device.sh
#   DEVICE=emulated OUT=/some/folder benchmarks/device.sh     tries the script; times mean nothing
#   WHEELS=/some/folder benchmarks/device.sh installs the wheels in it first, such as cuDNN's
#
# Needs Python 3.11 or later (PYTHON=...) with CuPy (12x or 13x); PyTorch and JAX take part where
# they are installed. The parts share the minutes, the most important first. Each writes its record
# after every case, so that an interrupted one leaves its cases. The card's settings are not
# changed. COMMIT=... names the revision where the tree is no clone.
set -u
cd "$(dirname "$0")/.."
name=benchmarks
out="${OUT:-benchmarks/results}"
python="${PYTHON:-python3}"
device="${DEVICE:-cuda}"
minutes="${1:-${MINUTES:-8}}"
source tests/device/parts.sh

check_minutes
check_only networks layers other-layers memory compiled
"$python" - "$device" "${OUT:-}" <<'PY' || exit 2
import sys

from minialex.arrays import device
from minialex.errors import MinialexError

where, out = sys.argv[1:]
if where not in ("cuda", "emulated"):
    raise SystemExit(f"DEVICE is {where!r}: use cuda or emulated")
if where == "emulated" and not out:
    raise SystemExit("DEVICE=emulated measures nothing worth keeping: say where to, with OUT")
try:
    device("cpu" if where == "emulated" else "cuda")
except MinialexError as error:
    raise SystemExit(f"nothing to measure: {error}")
PY
begin

# bench NAME SECONDS ARGUMENTS...: no new case is started in the last quarter
bench() {
    local folder="$out/gpu-$1" part=$1 seconds=$2
    shift 2
    local -a where=(-m minialex bench --device cuda)
    [ "$device" = cuda ] || where=(-m benchmarks.emulated bench --device cpu)
    # an earlier run is replaced
    rm -rf "$folder"
    part "$part" "$seconds" "$python" "${where[@]}" \
        --minutes "$(awk "BEGIN { printf \"%.2f\", $seconds * 3 / 4 / 60 }")" --out "$folder" "$@"
}

# One way through the kernels in each precision: the others, slow on purpose, are measured layer by
# layer. What takes minutes to prepare, compiling networks and layers, comes last.
ours=(--implementation implicit_gemm --implementation register_blocked --implementation tf32x3
    --implementation multistage_tf32x3 --implementation tf32 --implementation multistage_tf32
    --implementation bf16 --implementation cudnn)
if [ "$device" = cuda ]; then
    bench networks "$(share 30 100)" --quick --op step --op inference "${ours[@]}" \
        --batch 32 --batch 128 --batch 256 --batch 1024 --peer PyTorch --peer "PyTorch P2"
    bench layers "$(share 28 70)" --quick --op conv2d --op linear \
        --batch 32 --batch 128 --peer PyTorch --peer JAX --peer CuPy
    bench other-layers "$(share 6 42)" --quick --op relu --op max_pool2d --op dropout \
        --op adaptive_avg_pool2d --op cross_entropy --batch 128 --peer PyTorch --peer CuPy
    bench memory "$(share 14 36)" --quick --op optimizer --op memory --batch 128 \
        --peer PyTorch --peer "PyTorch P2"
    bench compiled "$(share 22 22)" --quick --op step "${ours[@]}" --batch 128 --batch 1024 \
        --peer "PyTorch P3"
else
    bench networks "$(share 50 100)" --quick --op step --network alexnet-mini --batch 2 \
        --implementation implicit_gemm --implementation tf32x3 --implementation multistage_tf32 \
        --peer none
    bench layers "$(share 50 50)" --quick --op linear --network alexnet-mini --batch 2 --peer none
fi

# fewer files to copy: `python -m minialex.bench.report` draws these again
find "$out"/gpu-* -name '*.png' -delete
tail -n 40 "$log"
exit "$status"
