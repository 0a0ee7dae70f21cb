"""The lower bound of http_latency.py: the same web framework and server with a constant answer."""

from __future__ import annotations

import os
import sys

import uvicorn
from fastapi import FastAPI, Request, Response


def create_app() -> FastAPI:
    """Return an application with an answer of ANSWER_BYTES bytes."""
    app = FastAPI()
    body = b"x" * int(os.environ.get("ANSWER_BYTES", "2000"))

    @app.post("/v1/recommendations")
    async def answer(request: Request) -> Response:
        await request.body()
        return Response(body, media_type="application/json")

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response(b"{}")

    return app


if __name__ == "__main__":
    uvicorn.run(
        "tests.benchmarks.constant_answer:create_app",
        factory=True,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
