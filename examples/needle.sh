#!/usr/bin/env bash
# A model that learns to look things up in 64 tokens: where it fails beyond them, and how YaRN moves that edge.
#
#     PATH=$PWD/.venv/bin:$PATH bash examples/needle.sh FOLDER [STEPS]
#
# Makes FOLDER/needle.svg and FOLDER/needle-yarn.svg, the two beside this file. Looking up is learnt in leaps and
# not in two minutes: 3,000 steps take about three minutes of one core, and the pictures of 1,400 are patchy.
set -euo pipefail
mkdir -p "$1"
cd "$1"
steps=${2:-3000}
PS4='$ '

python3 - "$steps" <<'PYTHON'
# "Password apple river. The sky is blue. … Password apple river.": pairs drawn anew for each text. A quarter of
# the texts say their pairs again and again, which is how looking up is learnt quickly; in the others each stands
# once among noise, and is asked for behind it. They are longer than a row, so that no place in a row means an end.
import json, random, sys
words = ("apple bread chair cloud coast crane dance eagle field flame forest garden glass grape green hammer").split()
noise = ["The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.", "There and back again."]
draw = random.Random(0)
with open("recall.jsonl", "w") as out:
    for number in range(16 * int(sys.argv[1])):
        keys = draw.sample(words, draw.choice([1, 1, 2, 3]))
        pairs = [f"Password {key} {draw.choice(words)}." for key in keys]
        first, size = draw.randrange(5), draw.randint(1, 12 - len(keys))
        if number % 4 == 0:
            text = [draw.choice(pairs) if draw.random() < 0.7 else draw.choice(noise) for _ in range(18)]
        else:
            text = [noise[(first + place) % 5] for place in range(size)]
            for pair in pairs:
                text.insert(draw.randint(0, len(text)), pair)
            while len(text) < 18:
                text.append(draw.choice(pairs) if draw.random() < 0.7 else draw.choice(noise))
        print(json.dumps({"text": " ".join(text)}), file=out)
PYTHON
set -x
llmkit train-tokenizer recall.jsonl --vocab-size 400 --max-bytes 500k --no-chat -o tok -q
llmkit pretrain --data recall.jsonl -t tok --seq-len 64 --max-position-embeddings 512 --model-type qwen2 \
  --hidden-size 64 --intermediate-size 128 --num-hidden-layers 2 --num-attention-heads 2 --num-key-value-heads 2 \
  --steps "$steps" --batch-rows 16 --lr 0.005 --threads 1 -o retriever

look() {
  llmkit eval needle retriever --tasks needle --words 16 --max-tokens 1 --samples 16 \
    --lengths 32,64,96,128,192,256,384,512 \
    --needle ' Password {key} {value}.' --question ' Password {key}' --answer '{value}' "$@"
}
look --svg needle.svg
look --svg needle-yarn.svg --rope-scaling '{"rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 64}'
