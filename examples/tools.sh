#!/usr/bin/env bash
# A small model learns to call a calculator and a database and to use what they say; then it does: in a file of
# questions, in a chat, at a server that runs the tools, and through OpenAI's SDK, whose client runs them.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

python3 - <<'PYTHON'
import json, random, sqlite3
from pathlib import Path

draw = random.Random(0)
items = "apples books boxes cakes chairs coats cups doors forks hats jars keys lamps maps nails pens shoes toys".split()
abouts = {"calculator": "Computes an arithmetic expression", "sql": "Runs one SQL query"}
tools = [{"type": "function", "function": {"name": name, "description": about}} for name, about in abouts.items()]


def asked(number: int) -> tuple[str, str, dict[str, str], str, str]:
    """A question, the call that it takes, what comes of it, and the answer."""
    if number % 2:
        said = f"{draw.randrange(10, 100)} {draw.choice('+-*')} {draw.randrange(10, 100)}"
        return f"What is {said}?", "calculator", {"expression": said}, str(eval(said)), f"It is {eval(said)}."
    item, count = draw.choice(items), draw.randrange(1000)
    query = f"SELECT number FROM stock WHERE item = '{item}'"
    found = json.dumps({"columns": ["number"], "rows": [[count]]})
    return f"How many {item} are there?", "sql", {"query": query}, found, f"There are {count}."


with open("talk.jsonl", "w") as talk, open("copy.jsonl", "w") as copy:
    for number in range(6000):
        question, name, arguments, result, answer = asked(number)
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": result},
            {"role": "assistant", "content": answer},
        ]
        print(json.dumps({"messages": messages, "tools": tools}), file=talk)
    for number in range(4000):  # the same words again and again: what is learnt of them is to copy
        parts = [f"system\n{name}: {about[:12]}" for name, about in abouts.items()] if number % 8 == 0 else []
        for one in (draw.randrange(2), draw.randrange(2)):
            question, name, arguments, result, answer = asked(one)
            call = json.dumps({"name": name, "arguments": arguments})
            parts += [f"user\n{question}", f"assistant\n<tool_call>\n{call}\n</tool_call>"]
            parts += [f"tool\n{result}", f"assistant\n{answer}"]
        print(json.dumps({"text": "\n".join(parts + [draw.choice(parts) for _ in range(8)])}), file=copy)

with open("sums.jsonl", "w") as sums, open("counts.jsonl", "w") as counts:
    for a, sign, b in zip(range(17, 97, 4), "+-*-+" * 4, range(91, 11, -4)):
        right = eval(f"{a} {sign} {b}")
        print(json.dumps({"prompt": f"What is {a} {sign} {b}?", "right": f"It is {right}."}), file=sums)
    stock = [(item, draw.randrange(10, 100)) for item in items]
    for item, count in stock:
        print(json.dumps({"prompt": f"How many {item} are there?", "right": f"There are {count}."}), file=counts)
with sqlite3.connect("stock.db") as database:
    database.execute("CREATE TABLE stock (item TEXT, number INTEGER)")
    database.executemany("INSERT INTO stock VALUES (?, ?)", stock)

# Of what a tool says of itself a model of this size is told the first letters.
Path("hermes.jinja").write_text("""{% if tools %}<|im_start|>system
{% for tool in tools %}{{ tool.function.name }}: {{ tool.function.description[:12] }}
{% endfor %}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}""")
PYTHON

llmkit train-tokenizer copy.jsonl --max-bytes 200k --vocab-size 512 --pattern qwen2 -o tok -q
llmkit pretrain --data copy.jsonl -t tok --seq-len 128 --max-position-embeddings 384 --hidden-size 96 \
  --num-hidden-layers 2 --steps 280 --batch-rows 8 --optimizer muon --lr 0.005 --threads 1 -o base -q
llmkit finetune base --data talk.jsonl --template hermes.jinja --seq-len 120 --steps 400 --batch-rows 8 --lr 0.003 \
  --threads 1 -o tuned -q

both=(--tool calculator --tool sql=stock.db)
llmkit generate -m tuned --jsonl sums.jsonl "${both[@]}" --approve auto --greedy --max-tokens 60 -o sums.out.jsonl -q
llmkit generate -m tuned --jsonl counts.jsonl "${both[@]}" --approve auto --greedy --max-tokens 60 -o counts.out.jsonl -q
for kind in sums counts; do
  jq -s -e 'map(select(.completion == .right and .calls == 1)) | (length | debug) >= 14' $kind.out.jsonl
done
llmkit generate -m tuned --jsonl sums.jsonl --replay sums.out.jsonl --greedy --max-tokens 60 -o again.jsonl -q
cmp sums.out.jsonl again.jsonl
head -n 1 counts.jsonl | jq -r .prompt |
  llmkit chat -m tuned "${both[@]}" --approve auto --greedy --max-tokens 60 --transcript chat.jsonl
jq -c '.messages[] | {role, content}' chat.jsonl

llmkit serve -m tuned --name small --unix-socket llm.sock "${both[@]}" &
server=$!
until curl -sf --unix-socket llm.sock http://llmkit/ready; do sleep 0.2; done
jq -c '{messages: [{role: "user", content: .prompt}], temperature: 0, max_tokens: 60}' sums.jsonl | head -n 1 |
  curl -s --unix-socket llm.sock http://llmkit/v1/chat/completions -d @- | jq -c '.choices[0].message'
if python3 -c 'import openai' 2> /dev/null; then
  python3 - <<'PYTHON'
import json, sqlite3
import httpx, openai

http = httpx.Client(transport=httpx.HTTPTransport(uds="llm.sock"))
client = openai.OpenAI(base_url="http://llmkit/v1", api_key="none", http_client=http)
database = sqlite3.connect("stock.db")


def run(name: str, arguments: dict[str, str]) -> str:
    if name == "calculator":
        return str(eval(arguments["expression"], {"__builtins__": {}}))
    cursor = database.execute(arguments["query"])
    return json.dumps({"columns": [one[0] for one in cursor.description], "rows": cursor.fetchall()})


right = 0
rows = [json.loads(line) for name in ("sums", "counts") for line in open(f"{name}.out.jsonl")]
for row in rows:
    messages = [{"role": "user", "content": row["prompt"]}]
    while True:
        answer = client.chat.completions.create(
            model="small", messages=messages, tools=row["tools"], temperature=0, max_tokens=60
        )
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            result = run(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert message.content == row["completion"]  # as `generate` has it, whose tools were run there
    right += message.content == row["right"]
print(f"through the SDK {right} of {len(rows)} answers are right")
PYTHON
fi
kill -TERM "$server" && wait "$server"
