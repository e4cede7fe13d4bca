#!/usr/bin/env bash
# What do the heads look at, and what depends on them? Tables, maps, a page, and a gate for CI.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 512 -o tok
llmkit pack -t tok corpus.txt --seq-len 64 -o shards
llmkit pretrain --data shards -t tok --hidden-size 64 --num-hidden-layers 2 --steps 20 --batch-rows 4 -o run
llmkit convert run half --dtype bfloat16

text='def main(self): return self'
llmkit inspect-attention run "$text"                                    # every head in figures
llmkit inspect-attention run "$text" --map --worked --heads 1.0         # one head: its matrix, and its arithmetic
llmkit inspect-attention run "$text" --query -1                         # what the last token looks at
llmkit inspect-attention run "$text" --lens --attribute --ablate all    # when the answer comes, and whence
llmkit inspect-attention run "$text" --diff half                        # which heads rounding moved

# does any head look for what came after the same token before? A model this young has none: exit 1
llmkit inspect-attention run --probe induction --probe-tokens 16 --expect induction:0.5 || test $? = 1

# to look around in, to print, and for other programs
llmkit inspect-attention run docs.jsonl --max-tokens 48 --html heads.html --png heads.png -o maps.safetensors
llmkit inspect-attention run docs.jsonl --max-tokens 8 --heads 0.0,1.0 --top-k 1 --edges - |
    jq -c '{head, query_text, key_text, weight}'

# the embeddings under it all
llmkit show run --embeddings --token self
