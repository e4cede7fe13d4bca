#!/usr/bin/env bash
# Requests made from /openapi.json, right and wrong ones: none may make the server fail.
#   tests/server_load/schemathesis.sh URL [EXAMPLES]
# First, that the document is valid OpenAPI 3.1. schemathesis and openapi-spec-validator have their own dependencies:
# install them in an environment of their own and put that on the PATH. The coverage phase alone takes minutes.
set -euo pipefail
url=${1:?the URL of a server} examples=${2:-100}
curl --silent --fail "$url/openapi.json" | openapi-spec-validator -
exec schemathesis run "$url/openapi.json" --phases coverage,fuzzing --max-examples "$examples" \
    --checks not_a_server_error --max-response-time 60
