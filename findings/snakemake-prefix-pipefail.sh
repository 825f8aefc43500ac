#!/usr/bin/env bash
# Snakemake 9.27.1: any `shell.prefix` takes bash's strict mode away. Without a prefix a rule runs under `set -euo pipefail`, as the
# documentation says. With a prefix that only exports a variable it does not, and the second of two prefixes replaces the first.
#
# Seen: the same rule, `python3 -c 'raise SystemExit(3)' | tee {output}`, fails and removes its output without a prefix (exit
# code 1). With `shell.prefix("export OMP_NUM_THREADS=1; ")` the run ends with exit code 0 and keeps an empty output, as if the
# training in front of the pipe had ended well. Of two prefixes the first variable is unset.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
rule='rule all:\n    output:\n        "out"\n    shell:\n        "%s"\n'
run() { # PREFIXES, SHELL
    rm -rf out .snakemake
    printf "$1$rule" "$2" > Snakefile
    code=0
    "$folder/venv/bin/snakemake" --cores 1 > said 2>&1 || code=$?
}
failing="python3 -c 'raise SystemExit(3)' | tee {output}"
run "" "$failing"
echo "no prefix: exit code $code, output $(test -e out && echo kept || echo removed)"
test "$code" -ne 0
test ! -e out
run 'shell.prefix("export OMP_NUM_THREADS=1; ")\n' "$failing"
echo "a prefix: exit code $code, output of $(stat -c %s out) bytes"
test "$code" -eq 0
test ! -s out
run 'shell.prefix("export FIRST=1; ")\nshell.prefix("export SECOND=2; ")\n' 'echo ${{FIRST:-unset}} ${{SECOND:-unset}} > {output}'
echo "two prefixes: $(cat out)"
test "$(cat out)" = "unset 2"
