#!/bin/sh
# Runs gradix's CUDA tests and benchmark on this machine and writes report.txt beside this script. It ends with 0 if all went
# well, and with 1 if something failed or there is no device.
#
#   ./run.sh [--quick] [FILTER]
#
# FILTER picks cases of the conformance kit, such as reduce/ or matmul/matmul/f32. --quick leaves the table of gradients
# out, makes the benchmark's cases tiny, and so shows only that everything works.
#
# It takes NVIDIA's driver and NVRTC (`pip install nvidia-cuda-nvrtc`, or the CUDA toolkit), and for fast products cuBLASLt
# (`pip install nvidia-cublas`); libraries can also be put into a folder `lib` beside this script. PARTS says in how many
# processes the kit runs; one for each core, and at most 8, if it does not. Where `python3` has PyTorch, the benchmark's cases
# are measured with that, too; PYTHON names another Python.

set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2
quick= filter=
for argument; do
    case $argument in
    --quick) quick=--quick ;;
    -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        echo "run.sh: no option $argument; it takes --quick and a filter" >&2
        exit 2
        ;;
    *) filter=$argument ;;
    esac
done

report=$here/report.txt
logs=$here/logs
rm -rf "$logs"
mkdir -p "$logs" && : >"$report" || exit 2
failed=

say() { printf '%s\n' "$*" | tee -a "$report"; }

# limited SECONDS COMMAND...: stops what takes longer, where there is a program that does so.
limited() {
    seconds=$1
    shift
    if command -v timeout >/dev/null 2>&1; then timeout -k 10 "$seconds" "$@"; else "$@"; fi
}

# is_known NAME: whether the loader, or gradix by itself, finds a library of such a name. gradix also looks through the
# Pythons on PATH, which comes after what is added here.
is_known() {
    old_ifs=$IFS
    IFS=:
    for folder in ${LD_LIBRARY_PATH:-}; do
        for file in "$folder"/$1; do [ -e "$file" ] && IFS=$old_ifs && return 0; done
    done
    IFS=$old_ifs
    for toolkit in "${CUDA_PATH:-}" "${CUDA_HOME:-}" /usr/local/cuda; do
        [ -n "$toolkit" ] || continue
        for file in "$toolkit"/lib64/$1 "$toolkit"/lib/$1; do
            # Of the driver, toolkits have only something to link with.
            [ -e "$file" ] && [ "$1" != libcuda.so.1 ] && return 0
        done
    done
    for ldconfig in ldconfig /sbin/ldconfig; do
        "$ldconfig" -p 2>/dev/null | grep -q "^[[:space:]]*$(printf '%s' "$1" | sed 's/\./\\./g')" && return 0
    done
    return 1
}

# look_for NAME FOLDER...: adds the first folder with such a library to the loader's, unless there is one already.
look_for() {
    name=$1
    shift
    is_known "$name" && return
    for folder; do
        for file in "$folder"/$name; do
            if [ -e "$file" ]; then
                LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
                return
            fi
        done
    done
}

find_libraries() {
    users_path=${LD_LIBRARY_PATH-}
    look_for libcuda.so.1 "$here/lib" /usr/lib/wsl/lib /usr/local/nvidia/lib64 /usr/lib64-nvidia /usr/lib/nvidia /usr/lib64/nvidia
    # The newest toolkit first.
    toolkits=$(ls -d /usr/local/cuda-*/lib64 /opt/cuda/lib64 /opt/cuda-*/lib64 2>/dev/null | sort -rV)
    packages=$(
        "${PYTHON:-python3}" -c 'import glob, os, sys
for path in sys.path:
    for folder in sorted(glob.glob(os.path.join(path, "nvidia", "*", "lib")), reverse=True):
        print(folder)' 2>/dev/null
    )
    old_ifs=$IFS
    IFS='
'
    set -- "$here/lib" $toolkits $packages
    IFS=$old_ifs
    look_for 'libnvrtc.so.1[23]' "$@"
    look_for 'libcublasLt.so.1[23]' "$@"
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
}

# What a test program's output says: failures and the summary, or its end where it did not get that far.
digest() {
    if grep -q '^test result' "$1"; then
        sed -n -e '/^failures:/,$p' -e '/^test result/p' "$1" | awk '!(/^test result/ && seen[$0]++)' | head -n 300
    else
        echo "it ended early:"
        tail -n 30 "$1"
    fi
}

# finish NAME CODE LOG...: notes what came of a test program.
finish() {
    title=$1 code=$2
    shift 2
    say ""
    say "== $title"
    for log; do digest "$log" | tee -a "$report"; done
    if [ "$code" -ne 0 ]; then
        say "$title: FAILED"
        failed="$failed $title,"
    fi
}

# The kit, in several processes: most of its time is spent compiling.
run_kit() {
    parts=${PARTS:-$(nproc 2>/dev/null || echo 1)}
    [ -z "${PARTS:-}" ] && [ "$parts" -gt 8 ] && parts=8
    part=1 running=
    while [ "$part" -le "$parts" ]; do
        limited 3600 env GRADIX_CONFORMANCE_PART="$part/$parts" "$here/conformance" ${filter:+"$filter"} >"$logs/kit-$part.txt" 2>&1 &
        running="$running $!"
        part=$((part + 1))
    done
    code=0
    for process in $running; do wait "$process" || code=1; done
    finish kit "$code" "$logs"/kit-*.txt
}

run_test() {
    limited 3600 "$here/$2" >"$logs/$1.txt" 2>&1
    finish "$1" $? "$logs/$1.txt"
}

find_libraries
export GRADIX_REQUIRE=cuda GRADIX_REQUIRE_CUDA=1 GRADIX_DENY_FALLBACK=1
export GRADIX_CUDA_CACHE="${GRADIX_CUDA_CACHE-$here/cache}"

say "gradix on CUDA, $(date)"
say "$(uname -srm), programs from $(cat "$here/built.txt")"
if command -v nvidia-smi >/dev/null 2>&1; then
    say "$(limited 60 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1)"
elif [ -r /proc/driver/nvidia/version ]; then
    say "$(head -n 1 /proc/driver/nvidia/version)"
else
    say "no nvidia-smi and no /proc/driver/nvidia here to ask for the driver's version"
fi
say "libraries are also looked for in: ${LD_LIBRARY_PATH:-no further folder}"
if ! card=$(limited 120 "$here/bench" --card 2>&1); then
    say "$card"
    say "FAILED: no CUDA device can be used here, so nothing was run"
    exit 1
fi
say "$card"

run_kit
run_test start start
run_test gradients gradients
run_test graphs graphs
if [ -z "$quick" ]; then
    GRADIX_EAGER=1
    export GRADIX_EAGER
    run_test "gradients, eager" gradients
    unset GRADIX_EAGER
fi

say ""
say "== bench"
limited 3600 "$here/bench" $quick >"$logs/bench.txt" 2>&1
code=$?
tee -a "$report" <"$logs/bench.txt"
[ "$code" -eq 0 ] || failed="$failed bench,"

# Without the folders that were added for gradix: PyTorch brings its own libraries. What comes of it is no verdict on gradix.
say ""
say "== PyTorch"
limited 1800 env LD_LIBRARY_PATH="$users_path" "${PYTHON:-python3}" "$here/cuda_pytorch.py" $quick >"$logs/pytorch.txt" 2>&1
tee -a "$report" <"$logs/pytorch.txt"

say ""
if [ -n "$failed" ]; then
    say "FAILED:${failed%,}; all output is in $logs"
    exit 1
fi
say "everything passed"
