#!/usr/bin/env bash
# How good is it? Token by token, in bits a byte, beside its quantised self, on answers; with gates for CI.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 400 -o tok
llmkit pack -t tok corpus.txt --seq-len 64 -o shards
llmkit pretrain --data shards -t tok --steps 20 --batch-rows 8 --hidden-size 32 --num-hidden-layers 2 -o run

# what it thinks of each token, where it is not sure, and whether a passage helps
llmkit eval tokens run 'def main():' --top 2
llmkit eval tokens run 'return self' --context 'class A:' --json | jq .gain_bits_per_token

# perplexity of a text, as transformers' guide and as llama-perplexity have it, and a gate
llmkit eval ppl run valid.txt --json > before.json
llmkit eval ppl run valid.txt --like llama.cpp --window 32
llmkit eval ppl run valid.txt --weights int8 --baseline before.json -q > /dev/null
llmkit eval kl run valid.txt --reference run --weights int8 --max-chunks 4 --fail-above 0.5

# outputs against answers, without a model; and whether a second run is worse beyond noise
cat > outputs.jsonl <<'JSON'
{"id": "1", "completion": "so 3 + 4 = 7\n#### 7", "answer": "#### 7"}
{"id": "2", "completion": "it is 12\n#### 12", "answer": "#### 13"}
JSON
llmkit eval score outputs.jsonl --match gsm8k --per-record one.jsonl
llmkit eval score outputs.jsonl --match number --per-record two.jsonl --json > score.json
llmkit eval diff one.jsonl two.jsonl
if llmkit eval score outputs.jsonl --match gsm8k --min-accuracy 0.9; then exit 1; fi

# can its confidence be believed? labelled answers say what a probability is worth
for n in 1 2 3 4; do
    printf '{"prompt": "def", "completion": " main%s", "correct": %s}\n' "$n" "$([ $((n % 2)) = 0 ] && echo true || echo false)"
done > labelled.jsonl
llmkit eval tokens run --calibrate labelled.jsonl --keep-accuracy 0.5
