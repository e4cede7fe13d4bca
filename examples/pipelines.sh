#!/usr/bin/env bash
# Twelve pipelines, from a corpus to a served model: what each command reads, writes and exits with, in a shell.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"
mkdir raw out prompts
jq -c '.metadata = {license: "PSF-2.0"}' docs.jsonl | zstd -q > raw/a.jsonl.zst
sed -n 1,20p docs.jsonl | zstd -q > raw/b.jsonl.zst
echo 'Say what a module is.' > prompts/module.md

: 1 corpus to shards, every drop explained, and a rule for make
zstd -dc raw/*.jsonl.zst |
  llmkit clean --lang en --require-license permissive --rejects out/clean.rej.jsonl |
  llmkit dedup --near 0.8 --clusters out/clusters.jsonl --rejects out/dup.rej.jsonl -o out/corpus.jsonl.zst
llmkit train-tokenizer out/corpus.jsonl.zst --vocab 2k --seed 1 -o out/tok --json > out/tok.json
llmkit tokenize -t out/tok out/corpus.jsonl.zst --jsonl | llmkit pack -t out/tok --seq-len 256 -o out/shards -MF out/shards.d
cat out/shards.d

: 2 why were records dropped
jq -r '._reject.rule' out/*.rej.jsonl | sort | uniq -c | sort -rn

: 3 a budget for prompts, exit 1 when over
printf '%s\0' prompts/*.md | llmkit tokenize -t out/tok --count --max 4000 --format tsv --files0-from -

: 4 what it would cost, without weights
echo '{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16"}' > config.json
printf 'h100 = 2.5\na100-80 = 1.5\n' > prices.toml
for context in 8k 32k; do
  llmkit kv-estimate config.json --context $context --batch 16 --kv-dtype q8 --prices prices.toml --json
done | jq -r '[.context, .kv_bytes, .total_bytes, .usd_per_mtok] | @tsv'
llmkit kv-estimate config.json --fit 24GiB --solve context || echo "does not fit"

: 5 train, survive pre-emption: 75 is run again
until llmkit pretrain --preset tiny --data out/shards -t out/tok --steps 20 --batch-rows 4 -o run1 --resume auto --metrics run1.jsonl -q
do [ $? -eq 75 ] || exit 1; done
jq -r 'select(.step % 10 == 0 and .loss) | [.step, .loss, .tokens_per_second] | @tsv' run1.jsonl

: 6 fine-tune with an audit of the mask, merge, check
jq -c '{messages: [{role: "user", content: .id}, {role: "assistant", content: .text[:60]}], score: (.text | length % 6)}' docs.jsonl > feedback.jsonl
sed -n 1,8p feedback.jsonl > valid.jsonl
jq -c 'select(.score >= 4) | {messages}' feedback.jsonl |
  llmkit finetune run1 --lora r=16 --data - --valid valid.jsonl --strict -o ad1 -q
llmkit merge run1 --lora ad1 -o model1 -q
llmkit doctor model1 --json | jq -c '.findings[]'

: 7 quantise at several sizes, gate on quality
for bits in 8 4; do
  llmkit quantize model1 --bits $bits --group 64 --calib valid.jsonl -o q$bits -q
  llmkit eval kl q$bits --ref model1 valid.txt --max-chunks 4 --json
done | jq -sc 'map({model, size_bytes, ppl, bpb, kl, top1_agree})[]'
llmkit eval ppl model1 valid.txt --json > base.json
llmkit eval ppl q4 valid.txt --json > q4.json
llmkit eval diff base.json q4.json --max-increase ppl=20%

: 8 many prompts, an ordinary filter on each side, goes on after a stop
jq -c '{id, question: "What is \(.id)?"}' docs.jsonl | sed -n 1,12p > q.jsonl
jq -c '{id, prompt: .question}' q.jsonl | llmkit generate -m q4 --jsonl --batch 16 --seed 7 --max-tokens 8 --resume -o a.jsonl
jq -c 'select(.finish_reason == "length") | .id' a.jsonl

: 9 where the model is unsure
llmkit generate -m q4 -p 'The import statement' --max-tokens 8 --logprobs 5 --json |
  jq -r '.logprobs[] | select(.logprob < -2) | [.text, .logprob] | @tsv'

: 10 passages, cited, within a budget of tokens, in a prompt of your own
llmkit retrieve index docs.jsonl --chunk 256 --overlap 32 -t out/tok -o idx -q
echo 'Be brief. {{ prompt }}' > qa.jinja
echo '{"id": 1, "query": "how are loops ended?"}' | llmkit retrieve context idx -k 8 --budget 60 |
  llmkit generate -m q4 --jsonl --template qa.jinja --max-tokens 8 | jq -r .completion

: 11 serve, wait without polling, load, compare, stop cleanly
echo a-key-of-ones-own > keys
exec 3< <(exec llmkit serve q4 --adapters tone=ad1 --port 0 --api-key-file keys --ready-fd 1 2> serve.log)
server=$!
read -r -u 3 ready
url=http://127.0.0.1:$(jq -r .port <<< "$ready")
jq -c '{prompt: .question}' q.jsonl > load.jsonl
load=(llmkit bench serve --url "$url" --api-key-file keys --prompts load.jsonl --rate 20 --max-tokens 4)
"${load[@]}" --format json > bench.json
"${load[@]}" --baseline bench.json --fail-slower 99%
kill -TERM $server

: 12 which heads look at the first token
llmkit inspect-attention -m model1 -p 'A B C A B' --heads --jsonl | jq -c 'select(.class == "sink") | {layer, head, score}' | sed -n 1,3p
