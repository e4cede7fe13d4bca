"""A sentence-embedding model behind `/v1/embeddings`: python tests/bench/embedding_server.py FOLDER

FOLDER is a transformers encoder (BERT and the like) whose vectors are the mean of its last hidden states, of
length 1, as sentence-transformers/all-MiniLM-L6-v2 has them. Needs transformers. Prints the URL it serves.
"""

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BATCH = 32


class Encoder:
    """The model."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = folder.parent.name
        self._known: dict[str, list[float]] = {}
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> list[list[float]]:
        """Vectors of length 1, those of equal lengths together; what was asked before is remembered."""
        new = sorted(set(texts) - set(self._known), key=len)
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            given = self._tokenizer(
                batch,
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            )
            states = self._model(**given).last_hidden_state
            mask = given["attention_mask"][..., None].to(states.dtype)
            means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
            self._known.update(zip(batch, means.tolist(), strict=True))
        return [self._known[text] for text in texts]


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a model in a thread; the server's URL."""
    encoder = Encoder(folder)

    async def embeddings(request: Request) -> Response:
        given = msgspec.json.decode(await request.body())["input"]
        vectors = await run_in_threadpool(encoder.embed, [given] if isinstance(given, str) else given)
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(vectors)]
        body = {"object": "list", "model": encoder.name, "data": data}
        return Response(msgspec.json.encode(body), media_type="application/json")

    app = Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


def main() -> None:
    """Serve until the process is interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    with serving(parser.parse_args().folder) as url:
        print(url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
