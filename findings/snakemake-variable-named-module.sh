#!/usr/bin/env bash
# Snakemake 9.27.1: a Python function in a Snakefile may not assign to a variable named `module`. The parser takes the line for the
# directive, although it stands inside a function and is followed by "=", and the report of that error fails itself, with a KeyError.
#
# Seen: a Snakefile whose function says `module = "data." + kind` ends with exit code 1 and a traceback of Snakemake's own. Its
# SyntaxError, "Expected name or colon after module keyword", stands above the last line, which is "KeyError: 2": the number is the
# line of the Snakefile, and the name of the file is not said. With the variable called `home` the same file runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
snakefile() {
    printf 'def place(kind):\n    %s = "data." + kind\n    return %s\n\n\nrule all:\n    output:\n        "out"\n    shell:\n        "echo > {output}"\n' "$1" "$1" > Snakefile
}
snakefile home
"$folder/venv/bin/snakemake" -n > said 2>&1
echo "variable named home: exit code 0"
snakefile module
code=0
"$folder/venv/bin/snakemake" -n > said 2>&1 || code=$?
echo "variable named module: exit code $code, last line: $(grep -v '^$' said | tail -n 1)"
test "$code" -ne 0
grep -q "Expected name or colon after module keyword" said
grep -v '^$' said | tail -n 1 | grep -q '^KeyError: 2$'
