#!/usr/bin/env bash
# Will it fit, how fast, and at what price? From the shape of a model alone.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit kv-estimate --preset llama-3.2-1b --context 8k --batch 16
llmkit kv-estimate --preset llama-2-7b --context 4k --batch 32 --memory 24GiB || test $? = 1    # it does not
for context in 8k 32k 128k; do
    llmkit kv-estimate --preset llama-3.2-1b --context $context --json
done | jq -r '[.context, .kv_bytes, .total_bytes] | @tsv'

# what would fit
llmkit kv-estimate --preset llama-2-7b --memory 24GiB --solve context
llmkit kv-estimate --preset llama-2-7b --memory 6GiB --context 4k --solve quant

# speed at best, what a million tokens cost, and the machines for a thousand users
llmkit kv-estimate --preset llama-2-7b --device h100 --batch 16 --price-per-hour 2.5 --users 1000 --rate 20

# training it, whole and as an adapter
llmkit kv-estimate --preset llama-2-7b --context 4k --train --zero 3 --data-parallel 8
llmkit kv-estimate --preset llama-2-7b --context 4k --train --lora-rank 16 --qlora --memory 24GiB

# where the numbers come from
llmkit kv-estimate --preset llama-3.2-1b --context 8k --explain
llmkit kv-estimate --preset llama-3.2-1b --context 128k --memory 8GiB --plot
