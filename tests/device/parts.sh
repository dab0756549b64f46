# What tests/device.sh and benchmarks/device.sh share, to be sourced: a budget in minutes, parts that
# share it out, and a log that is written as they go. They set python, out, name and minutes before.
# ONLY names the one part to do; it has all the time then.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
log="$out/device-$name.log"
only="${ONLY:-}"
status=0
outcomes=()

# the least seconds in which a part can tell anything
least=10

# check_minutes: refuse what is no number of minutes
check_minutes() {
    if ! [[ "$minutes" =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
        echo "MINUTES is '$minutes': use a number, such as 8 or 5.5" >&2
        exit 2
    fi
}

# check_only NAMES...: refuse a part that there is not
check_only() {
    local one
    [ -z "$only" ] && return
    for one in "$@"; do
        [ "$one" = "$only" ] && return
    done
    echo "ONLY is '$only': use one of $*" >&2
    exit 2
}

# begin: bring along what WHEELS holds, and start the log and the clock
begin() {
    if [ -n "${WHEELS:-}" ]; then
        if ! compgen -G "$WHEELS/*.whl" >/dev/null; then
            echo "WHEELS is '$WHEELS': there is no wheel in it" >&2
            exit 2
        fi
        "$python" -m pip install -q --no-index --find-links "$WHEELS" "$WHEELS"/*.whl >&2 || exit 2
    fi
    mkdir -p "$out"
    : >"$log"
    end=$((SECONDS + $(awk "BEGIN { printf \"%d\", 60 * $minutes }")))
}

# share WEIGHT OF: this part's seconds, its weight being WEIGHT of OF for all that are still to come
share() {
    local left=$((end - SECONDS))
    [ -n "$only" ] && echo "$left" || echo $((left * $1 / $2))
}

# wanted NAME: whether a part is to be done
wanted() {
    [ -z "$only" ] || [ "$only" = "$1" ]
}

say() {
    echo "== $*" | tee -a "$log"
}

# part NAME SECONDS COMMAND...: what it prints goes to the log, its errors too
part() {
    local part=$1 seconds=$2
    shift 2
    wanted "$part" || return
    if [ "$seconds" -lt "$least" ]; then
        note "$part" "left out: no time was left"
        return
    fi
    say "$part, $seconds s at most: $*"
    timeout --kill-after=5 "$seconds" "$@" >>"$log" 2>&1
    ended "$part" "$?"
}

# ended NAME STATUS: what became of a part, by its exit status
ended() {
    case "$2" in
        0) note "$1" passed ;;
        124 | 137) note "$1" "cut short" ;;
        *) note "$1" "failed (exit status $2)" ;;
    esac
}

# note NAME OUTCOME
note() {
    wanted "$1" || return
    say "$1: $2"
    outcomes+=("$1=$2")
    [[ "$2" == passed || "$2" == "left out: there"* ]] || status=1
}
