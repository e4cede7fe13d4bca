"""Users who ask and wait: `locust -f tests/server_load/locustfile.py --headless -u 4 -r 4 -t 10s -H URL`.

locust has its own dependencies: an environment of its own.
"""

from locust import HttpUser, between, task  # type: ignore[import-not-found]


class Asker(HttpUser):  # type: ignore[misc]
    """Completes, chats, counts and looks at health."""

    wait_time = between(0.0, 0.05)

    @task(4)
    def complete(self) -> None:
        self.client.post("/v1/completions", json={"prompt": "the quick", "max_tokens": 8})

    @task(2)
    def chat(self) -> None:
        body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "stream": True}
        with self.client.post("/v1/chat/completions", json=body, catch_response=True) as answer:
            if not answer.text.rstrip().endswith("data: [DONE]"):
                answer.failure("cut short")

    @task(1)
    def count(self) -> None:
        self.client.post("/tokenize", json={"prompt": "the quick brown fox"})

    @task(1)
    def health(self) -> None:
        self.client.get("/health")
