#!/usr/bin/env bash
# Requests made from /openapi.json, right and wrong ones: none may make the server fail.
#   tests/server_load/schemathesis.sh URL [EXAMPLES]
# schemathesis has its own dependencies: install it in an environment of its own and put that on the PATH.
set -euo pipefail
url=${1:?the URL of a server} examples=${2:-100}
exec schemathesis run "$url/openapi.json" --phases coverage,fuzzing --max-examples "$examples" \
    --checks not_a_server_error --max-response-time 60
