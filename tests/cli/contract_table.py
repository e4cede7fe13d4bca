"""One row a command or subcommand: lines that show the contract, run in the workbench."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lines:
    """How to make one command do each thing that the contract speaks of; empty where it has no such thing."""

    result: str
    """Prints its result on stdout and leaves nothing behind (out.* excepted)."""
    stdin: tuple[str, ...] = ()
    """A line that names its input, and the same with the input piped in: equal stdout."""
    malformed: str = ""
    """Reads bad.jsonl, whose second line is no JSON."""
    skip_bad: str = ""
    """The same, passing over bad lines."""
    missing: str = ""
    """Names an input called nowhere."""
    writes: str = ""
    """Writes the output called out, ready for --force behind it."""
    is_input: str = ""
    """An output that is, or holds, an input."""
    in_input: str = ""
    """An output that is a file of a folder that is read."""
    long: str = ""
    """Works for many seconds on big.txt or big.jsonl and shows progress on stderr each tenth of a second."""


TABLE = {
    "clean": Lines(
        result="llmkit clean docs.jsonl --pii tag",
        stdin=("llmkit clean docs.jsonl.zst --pii tag", "cat docs.jsonl.zst | llmkit clean --pii tag"),
        malformed="llmkit clean bad.jsonl -o out",
        skip_bad="llmkit clean bad.jsonl -o out --skip-bad -q",
        missing="llmkit clean nowhere -o out",
        writes="llmkit clean docs.jsonl -o out",
        is_input="llmkit clean docs -o docs --force",
        long="llmkit clean big.jsonl --pii mask --workers 2 -o out.jsonl.zst --force --log-every 0.1",
    ),
    "dedup": Lines(
        result="llmkit dedup docs.jsonl",
        stdin=(
            "llmkit dedup docs.jsonl.zst --similarity 0.3",
            "cat docs.jsonl.zst | llmkit dedup --similarity 0.3",
        ),
        malformed="llmkit dedup bad.jsonl -o out",
        skip_bad="llmkit dedup bad.jsonl -o out --skip-bad -q",
        missing="llmkit dedup nowhere -o out",
        writes="llmkit dedup docs.jsonl -o out",
        is_input="llmkit dedup docs -o docs --force",
        long="llmkit dedup big.jsonl --by exact -o out.jsonl.zst --force --log-every 0.1",
    ),
    "mix": Lines(
        result="llmkit mix --source a=docs.jsonl:1",
        stdin=("llmkit mix --source a=docs.jsonl.zst:1", "cat docs.jsonl.zst | llmkit mix --source a=-:1"),
        malformed="llmkit mix --source a=bad.jsonl:1 -o out",
        skip_bad="llmkit mix --source a=bad.jsonl:1 -o out --skip-bad -q",
        missing="llmkit mix --source a=nowhere:1 -o out",
        writes="llmkit mix --source a=docs.jsonl:1 -o out",
        is_input="llmkit mix --source a=docs:1 -o docs --force",
        long="llmkit mix --source a=big.jsonl:1 --on-exhaust repeat --total 1G -o out.jsonl.zst --force"
        " --log-every 0.1",
    ),
    "train-tokenizer": Lines(
        result="llmkit train-tokenizer corpus.txt --vocab-size 300 -o out.{n}",
        stdin=(
            "llmkit train-tokenizer docs.jsonl.zst --vocab 400 -o out.a >&2; cat out.a/tokenizer.json",
            "cat docs.jsonl.zst | llmkit train-tokenizer --vocab 400 -o out.b >&2; cat out.b/tokenizer.json",
        ),
        malformed="llmkit train-tokenizer bad.jsonl --vocab-size 300 -o out",
        skip_bad="llmkit train-tokenizer bad.jsonl --vocab-size 300 -o out --skip-bad -q",
        missing="llmkit train-tokenizer nowhere -o out",
        writes="llmkit train-tokenizer corpus.txt --vocab-size 300 -o out",
        is_input="llmkit train-tokenizer docs --vocab-size 300 -o docs --force",
        long="llmkit train-tokenizer big.txt --vocab-size 30000 -o out --force --log-every 0.1",
    ),
    "tokenize": Lines(
        result="llmkit tokenize -t tok --offsets docs.jsonl",
        stdin=(
            "llmkit tokenize -t tok --ids docs.jsonl.zst",
            "cat docs.jsonl.zst | llmkit tokenize -t tok --ids",
        ),
        malformed="llmkit tokenize -t tok --jsonl bad.jsonl",
        skip_bad="llmkit tokenize -t tok --jsonl bad.jsonl --skip-bad -q",
        missing="llmkit tokenize -t tok nowhere",
        writes="llmkit tokenize -t tok --jsonl docs.jsonl -o out",
        is_input="llmkit tokenize -t tok --jsonl docs.jsonl -o docs.jsonl --force",
        long="llmkit tokenize -t tok --jsonl big.jsonl -o out --force --log-every 0.1",
        in_input="llmkit tokenize -t tok docs.jsonl --jsonl -o tok/tokenizer.json --force",
    ),
    "pack": Lines(
        result="llmkit pack tokens.jsonl -t tok --seq-len 64 -o out.{n}",
        stdin=(
            "llmkit pack tokens.jsonl -t tok --seq-len 64 -o out.a >&2; cat out.a/*.zst",
            "cat tokens.jsonl | llmkit pack -t tok --seq-len 64 -o out.b >&2; cat out.b/*.zst",
        ),
        malformed="llmkit pack bad.jsonl -t tok -o out",
        skip_bad="llmkit pack bad.jsonl -t tok -o out --skip-bad -q",
        missing="llmkit pack nowhere -t tok -o out",
        writes="llmkit pack tokens.jsonl -t tok --seq-len 64 -o out",
        is_input="llmkit pack docs/tokens.jsonl -t tok -o docs --force",
        long="llmkit pack big.jsonl -t tok -o out --force --log-every 0.1",
        in_input="llmkit pack docs.jsonl -t tok -o tok --force",
    ),
    "pretrain": Lines(
        result="llmkit pretrain --data shards -t tok -o out.{n} --steps 2 --hidden-size 32 --metrics - -q",
        malformed="llmkit pretrain --data bad.jsonl -t tok -o out -q",
        missing="llmkit pretrain --data nowhere -t tok -o out",
        long="llmkit pretrain --data shards -t tok -o out --steps 100000 --log-every 0.1",
    ),
    "finetune": Lines(
        result="llmkit finetune run --data docs.jsonl -o out.{n} --steps 1 --metrics - -q",
        stdin=(
            "llmkit finetune run --data docs.jsonl -o out.a --steps 1 -q >&2; cat out.a/model.safetensors",
            "cat docs.jsonl | llmkit finetune run -o out.b --steps 1 -q >&2; cat out.b/model.safetensors",
        ),
        malformed="llmkit finetune run --data bad.jsonl -o out -q",
        skip_bad="llmkit finetune run --data bad.jsonl -o out --steps 1 --skip-bad -q",
        missing="llmkit finetune run --data nowhere -o out",
        long="llmkit finetune run --data docs.jsonl -o out --steps 100000 --log-every 0.1",
    ),
    "convert": Lines(
        result="llmkit convert run out.{n} --dtype bfloat16",
        missing="llmkit convert nowhere out",
        writes="llmkit convert run out",
        is_input="llmkit convert run run --force",
    ),
    "merge": Lines(
        result="llmkit merge --expr '0.5*a' a=run -o out.{n}",
        missing="llmkit merge nowhere run --method linear -o out",
        writes="llmkit merge --expr '0.5*a' a=run -o out",
        is_input="llmkit merge --expr '0.5*a' a=run -o run --force",
    ),
    "quantize": Lines(
        result="llmkit quantize run out.{n} --type int4-g32",
        stdin=(
            "llmkit quantize run out.a --type int4-g32 -c docs.jsonl.zst >&2; cat out.a/model.safetensors",
            "cat docs.jsonl.zst | llmkit quantize run out.b --type int4-g32 -c - >&2;"
            " cat out.b/model.safetensors",
        ),
        malformed="llmkit quantize run out --type int4-g32 -c bad.jsonl",
        missing="llmkit quantize nowhere out",
        writes="llmkit quantize run out --type int4-g32",
        is_input="llmkit quantize run run --type int4-g32 --force",
        long="llmkit quantize run out --type int4-g32 -c corpus.txt -c docs.jsonl --calibration-tokens 1M"
        " --log-every 0.1 --force",
    ),
    "generate": Lines(
        result="llmkit generate -m run 'def main' --max-tokens 20 --seed 1",
        stdin=(
            "llmkit generate -m run --jsonl prompts.jsonl --max-tokens 5",
            "cat prompts.jsonl | llmkit generate -m run --jsonl - --max-tokens 5",
        ),
        malformed="llmkit generate -m run --jsonl bad.jsonl --max-tokens 2",
        missing="llmkit generate -m nowhere 'def main'",
        writes="llmkit generate -m run --jsonl prompts.jsonl --max-tokens 20 --logprobs 5 -o out",
        is_input="llmkit generate -m run --jsonl prompts.jsonl -o prompts.jsonl --force",
        in_input="llmkit generate -m run 'def main' -o run/config.json --force",
    ),
    "chat": Lines(
        result="llmkit chat -m run prompts.jsonl --max-tokens 8 --greedy",
        stdin=(
            "llmkit chat -m run prompts.jsonl --max-tokens 5",
            "cat prompts.jsonl | llmkit chat -m run --max-tokens 5",
        ),
        missing="llmkit chat -m nowhere prompts.jsonl",
        is_input="llmkit chat -m run docs/docs.jsonl --transcript docs/docs.jsonl --force",
        in_input="llmkit chat -m run docs.jsonl --transcript run/config.json --force",
    ),
    "serve": Lines(
        result="llmkit serve -m run --dry-run",
        missing="llmkit serve -m nowhere --dry-run",
    ),
    "inspect-attention": Lines(
        result="llmkit inspect-attention run valid.txt --max-tokens 24",
        stdin=(
            "llmkit inspect-attention run docs.jsonl.zst --max-tokens 24",
            "cat docs.jsonl.zst | llmkit inspect-attention run - --max-tokens 24",
        ),
        malformed="llmkit inspect-attention run bad.jsonl --record 3",
        missing="llmkit inspect-attention nowhere 'def main'",
        writes="llmkit inspect-attention run corpus.txt --max-tokens 64 -o out",
        is_input="llmkit inspect-attention run docs/docs.jsonl --max-tokens 24 -o docs/docs.jsonl --force",
        long="llmkit inspect-attention run corpus.txt --rope-scaling yarn:1000 --log-every 0.1",
        in_input="llmkit inspect-attention run 'def main' -t tok --html tok/tokenizer.json --force",
    ),
    "eval tokens": Lines(
        result="llmkit eval tokens run 'def main():' --jsonl",
        stdin=(
            "llmkit eval tokens run prompts.jsonl --jsonl --top 1",
            "cat prompts.jsonl | llmkit eval tokens run --jsonl --top 1",
        ),
        malformed="llmkit eval tokens run bad.jsonl",
        missing="llmkit eval tokens nowhere 'def main():'",
    ),
    "eval ppl": Lines(
        result="llmkit eval ppl run valid.txt",
        stdin=(
            "llmkit eval ppl run docs.jsonl --json | sed 's/.seconds.*//'",
            "cat docs.jsonl.zst | llmkit eval ppl run --json | sed 's/.seconds.*//'",
        ),
        malformed="llmkit eval ppl run bad.jsonl --per-record out",
        missing="llmkit eval ppl run nowhere --per-record out",
        is_input="llmkit eval ppl run docs/docs.jsonl --per-record docs/docs.jsonl --force",
        long="llmkit eval ppl run big.jsonl --log-every 0.1",
        in_input="llmkit eval ppl run docs.jsonl --baseline ppl.json --per-record ppl.json --force",
    ),
    "eval kl": Lines(
        result="llmkit eval kl run valid.txt -r run --max-chunks 1",
        stdin=(
            "llmkit eval kl run docs.jsonl -r run --json --max-chunks 3 | sed 's/.seconds.*//'",
            "cat docs.jsonl | llmkit eval kl run -r run --json --max-chunks 3 | sed 's/.seconds.*//'",
        ),
        malformed="llmkit eval kl run bad.jsonl -r run",
        missing="llmkit eval kl run valid.txt -r nowhere --per-record out",
        is_input="llmkit eval kl run docs/docs.jsonl -r run --per-record docs/docs.jsonl --force",
        long="llmkit eval kl run big.jsonl -r run --log-every 0.1",
        in_input="llmkit eval kl run docs.jsonl -r run --per-record run/config.json --force",
    ),
    "eval mc": Lines(
        result="llmkit eval mc run questions.jsonl --per-record out.{n}",
        stdin=(
            "llmkit eval mc run questions.jsonl --json | sed 's/.seconds.*//'",
            "cat questions.jsonl | llmkit eval mc run --json | sed 's/.seconds.*//'",
        ),
        missing="llmkit eval mc run nowhere --per-record out",
        is_input="llmkit eval mc run docs/docs.jsonl --form lambada --per-record docs/docs.jsonl --force",
        in_input="llmkit eval mc run docs.jsonl --form lambada --per-record run/config.json --force",
    ),
    "eval gen": Lines(
        result="llmkit eval gen run tasks.jsonl --max-tokens 4 --per-record out.{n}",
        stdin=(
            "llmkit eval gen run tasks.jsonl --max-tokens 4 --json | sed 's/.seconds.*//'",
            "cat tasks.jsonl | llmkit eval gen run --max-tokens 4 --json | sed 's/.seconds.*//'",
        ),
        missing="llmkit eval gen run nowhere --per-record out",
        is_input="llmkit eval gen run docs/docs.jsonl --per-record docs/docs.jsonl --force",
        in_input="llmkit eval gen run docs.jsonl --per-record run/config.json --force",
    ),
    "eval needle": Lines(
        result="llmkit eval needle run --rope-scaling yarn:8 --samples 1 --max-tokens 2 --lengths 512",
        missing="llmkit eval needle nowhere",
        in_input="llmkit eval needle run --per-record run/config.json --force",
    ),
    "eval score": Lines(
        result="llmkit eval score docs.jsonl --output-field text --answer-field id",
        stdin=(
            "llmkit eval score docs.jsonl --output-field text --answer-field id --json"
            " | sed s/docs.jsonl/stdin/",
            "cat docs.jsonl.zst | llmkit eval score --output-field text --answer-field id --json",
        ),
        malformed="llmkit eval score bad.jsonl --output-field text --answer-field id",
        missing="llmkit eval score nowhere",
        is_input="llmkit eval score docs/docs.jsonl --output-field text --answer-field id"
        " --per-record docs/docs.jsonl --force",
    ),
    "eval diff": Lines(
        result="llmkit eval diff scored.jsonl scored.jsonl",
        missing="llmkit eval diff nowhere docs.jsonl",
    ),
    "kv-estimate": Lines(
        result="llmkit kv-estimate config.json --context 4k --batch 8",
        stdin=("llmkit kv-estimate config.json --json", "cat config.json | llmkit kv-estimate - --json"),
        missing="llmkit kv-estimate nowhere",
    ),
    "retrieve index": Lines(
        result="llmkit retrieve index docs.jsonl -o out.{n}",
        stdin=(
            "llmkit retrieve index docs.jsonl -o out.a; llmkit retrieve query out.a module",
            "cat docs.jsonl.zst | llmkit retrieve index -o out.b; llmkit retrieve query out.b module",
        ),
        malformed="llmkit retrieve index bad.jsonl -o out",
        skip_bad="llmkit retrieve index bad.jsonl -o out --skip-bad -q",
        missing="llmkit retrieve index nowhere -o out",
        writes="llmkit retrieve index docs.jsonl -o out",
        is_input="llmkit retrieve index docs.jsonl -o docs.jsonl --force",
        long="llmkit retrieve index big.jsonl -t tok -o out --force --log-every 0.1",
    ),
    "retrieve query": Lines(
        result="llmkit retrieve query index module",
        stdin=(
            "llmkit retrieve query index --jsonl prompts.jsonl",
            "llmkit retrieve query index < prompts.jsonl",
        ),
        malformed="llmkit retrieve query index --jsonl bad.jsonl -o out",
        skip_bad="llmkit retrieve query index --jsonl bad.jsonl --skip-bad -q",
        missing="llmkit retrieve query nowhere module",
        is_input="llmkit retrieve query index --jsonl prompts.jsonl -o prompts.jsonl --force",
    ),
    "retrieve context": Lines(
        result="llmkit retrieve context index module",
        stdin=(
            "llmkit retrieve context index --jsonl prompts.jsonl",
            "llmkit retrieve context index < prompts.jsonl",
        ),
        malformed="llmkit retrieve context index --jsonl bad.jsonl -o out",
        skip_bad="llmkit retrieve context index --jsonl bad.jsonl --skip-bad -q",
        missing="llmkit retrieve context nowhere module",
        is_input="llmkit retrieve context index --jsonl prompts.jsonl -o prompts.jsonl --force",
    ),
    "retrieve eval": Lines(
        result="llmkit retrieve eval asked.jsonl --index index",
        stdin=(
            "llmkit retrieve eval asked.jsonl --index index",
            "llmkit retrieve eval --index index < asked.jsonl",
        ),
        missing="llmkit retrieve eval nowhere --index index",
    ),
    "bench prefill": Lines(
        result="llmkit bench prefill run --prompt 8 --rounds 1",
        missing="llmkit bench prefill nowhere",
        long="llmkit bench prefill --preset tiny --prompt 500 --rounds 100000 --log-every 0.1",
    ),
    "bench decode": Lines(
        result="llmkit bench decode run --tokens 4 --rounds 1",
        missing="llmkit bench decode nowhere",
        long="llmkit bench decode --preset tiny --tokens 100 --rounds 100000 --log-every 0.1",
    ),
    "bench train": Lines(
        result="llmkit bench train run --seq-len 16 --batch-rows 2 --rounds 1",
        missing="llmkit bench train nowhere",
        long="llmkit bench train --preset tiny --rounds 100000 --log-every 0.1",
    ),
    "bench load": Lines(
        result="llmkit bench load run --rounds 1",
        missing="llmkit bench load nowhere",
        long="llmkit bench load run --rounds 100000 --log-every 0.1",
    ),
    "bench tokenize": Lines(
        result="llmkit bench tokenize -t tok docs.jsonl --rounds 1",
        missing="llmkit bench tokenize -t tok nowhere",
        long="llmkit bench tokenize -t tok big.jsonl --rounds 1000 --log-every 0.1",
    ),
    "bench serve": Lines(
        result="llmkit bench serve --requests 5 --print-config",
    ),
    "show": Lines(
        result="llmkit show run --tensors",
        stdin=(
            "llmkit show docs.jsonl --json | sed s/docs.jsonl/stdin/",
            "cat docs.jsonl | llmkit show - --json",
        ),
        malformed="llmkit show bad.jsonl",
        missing="llmkit show nowhere",
        in_input="llmkit show run --html run/model.safetensors --force",
    ),
    "diff": Lines(
        result="llmkit diff tok run --only tokenizer",
        missing="llmkit diff tok nowhere",
    ),
    "doctor": Lines(result="llmkit doctor tok shards run", missing="llmkit doctor nowhere"),
    "completion": Lines(result="llmkit completion bash"),
    "man": Lines(result="llmkit man pack", writes="llmkit man --all -o out"),
}
