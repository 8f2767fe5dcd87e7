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
TEMPLATES = Path(__file__).with_name("templates")
CONTEXT_TOKENS = 2048
_SECONDS_TO_START = 300.0


@dataclass(frozen=True)
class ChatFormat:
    """What becomes of chat messages, as with the models of other families."""

    name: str
    template: Path
    config: str
    """The config that a forest is grown with."""
    thinks: bool = False


TRIMMING = ChatFormat("trimming", TEMPLATES / "trimming.jinja", "demo_arithmetic_chat")
THINKING = ChatFormat(
    "thinking", TEMPLATES / "thinking.jinja", "demo_arithmetic_thinking", thinks=True
)


@dataclass(frozen=True)
class Start:
    """What one start of a backend goes by."""

    python: Path
    weights: Path
    data_dir: Path
    """Of the supervisor."""
    chat_format: ChatFormat | None = None
    """None: the model's own."""

    def template_options(self, option: str) -> list[object]:
        """Return the command line's options for the chat template."""
        return [option, self.chat_format.template] if self.chat_format else []

    def thinking_options(self, *options: object) -> list[object]:
        """Return these options where the model thinks."""
        return list(options) if self.chat_format and self.chat_format.thinks else []


@dataclass(frozen=True)
class Backend:
    """A kind of model server."""

    name: str
    key: str
    """Name of its requirements file and of its environment."""
    package: str
    reads_gguf: bool
    services: Callable[[Start], list[Service]]
    unwanted: Sequence[str] = ()
    stand_ins: Sequence[str] = ()
    """Modules that it imports and does not need for texts, which no package here fits."""
    continues_messages: bool = True
    chat_formats: Sequence[ChatFormat] = ()


def _llama_cpp(start: Start) -> list[Service]:
    script = Path(definitions.__file__).with_name("model_server.py")
    command = [start.python, script, start.weights, "--alias", MODEL_NAME]
    return [_model_service([*command, *start.template_options("--chat_template")])]


def _vllm(start: Start) -> list[Service]:
    command = [
        "env", "VLLM_CPU_KVCACHE_SPACE=1", "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1",
        start.python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1",
        "--model", start.weights, "--served-model-name", MODEL_NAME, "--dtype", "bfloat16",
        "--max-model-len", CONTEXT_TOKENS, "--max-num-seqs", "16", "--enforce-eager",
        *start.template_options("--chat-template"),
        *start.thinking_options(
            "--reasoning-parser", "deepseek_r1",
            "--structured-outputs-config", '{"enable_in_reasoning": true}',
        ),
    ]  # fmt: skip
    return [_model_service(command)]


def _sglang(start: Start) -> list[Service]:
    """It has no parser of thoughts here: with one it would not hold a thought to its form."""
    command = [
        "env", "HF_HUB_OFFLINE=1",
        start.python, "-m", "sglang.launch_server", "--host", "127.0.0.1", "--device", "cpu",
        "--model-path", start.weights, "--served-model-name", MODEL_NAME,
        "--attention-backend", "torch_native", "--context-length", CONTEXT_TOKENS,
        "--max-total-tokens", 16 * CONTEXT_TOKENS,
        *start.template_options("--chat-template"),
    ]  # fmt: skip
    return [_model_service(command)]


def _fastchat(start: Start) -> list[Service]:
    """Its controller knows its worker, which has the model; its API server asks both."""

    def command(module: str, directory: Path, port: int) -> list[object]:
        return [
            "env", f"LOGDIR={directory}", "HF_HUB_OFFLINE=1",
            start.python, "-m", f"fastchat.serve.{module}", "--host", "127.0.0.1", "--port", port,
        ]  # fmt: skip

    def controller_address() -> str:
        entry = registry.read_entry(start.data_dir, "controller")
        return entry.address if entry else ""

    def worker_command(directory: Path, port: int) -> list[str]:
        return _texts(
            *command("model_worker", directory, port),
            "--device", "cpu", "--model-path", start.weights, "--model-names", MODEL_NAME,
            "--conv-template", "Yi-34b-chat",  # ChatML
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
    Backend(
        "llama.cpp",
        "llama_cpp",
        "xllamacpp",
        reads_gguf=True,
        services=_llama_cpp,
        chat_formats=(TRIMMING, THINKING),
    ),
    Backend(
        "vLLM",
        "vllm",
        "vllm-cpu",
        reads_gguf=False,
        services=_vllm,
        # For pictures and sound; a torchvision made for another torch ends transformers.
        unwanted=("torchvision", "torchaudio", "torchcodec"),
        chat_formats=(TRIMMING, THINKING),
    ),
    Backend(
        "SGLang",
        "sglang",
        "sglang",
        reads_gguf=False,
        services=_sglang,
        unwanted=("torchvision",),  # made for another torch, as with vLLM
        stand_ins=("torchvision",),
        chat_formats=(TRIMMING, THINKING),
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
        with urllib.request.urlopen(f"{address}/models", timeout=2) as response:
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
