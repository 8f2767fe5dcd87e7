"""llama.cpp's own OpenAI-compatible server, from the package xllamacpp.

usage: python -m prm_site.services.model_server MODEL.gguf --port PORT [--alias NAME]
           [--chat_template FILE]
"""

import argparse
import os
import signal
import threading
from pathlib import Path

import xllamacpp  # type: ignore[import-untyped]  # a compiled module

TOKENS_PER_SLOT = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="path of a GGUF file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", default="local", help="name of the model for clients")
    parser.add_argument("--parallel", type=int, default=8, help="requests served at once")
    parser.add_argument("--chat_template", type=Path, help="instead of the model's own")
    parser.add_argument("--threads", type=int, default=_num_threads())
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = xllamacpp.Server(_parameters(options))
    stop.wait()
    del server


def _num_threads() -> int:
    """Return half the number of processors: at each token all threads wait for the slowest one.

    With one thread for each processor, a request took 20 times as long on a busy machine.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def _parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.model_alias = {options.alias}
    parameters.n_ctx = options.parallel * TOKENS_PER_SLOT
    parameters.n_parallel = options.parallel
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = options.port
    parameters.endpoint_metrics = True
    # This cache may continue another prompt: https://github.com/ggml-org/llama.cpp/issues/27148
    parameters.cache_ram_mib = 0
    if options.chat_template:
        parameters.chat_template = options.chat_template.read_text(encoding="utf-8")
    return parameters


if __name__ == "__main__":
    main()
