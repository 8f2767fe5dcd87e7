"""How each backend is started: its processes, as services that the project's supervisor runs."""

import json
import os
import socket
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from prm_site.services import definitions, registry
from prm_site.services.definitions import MODEL, Service

MODEL_NAME = "smollm2"
TEMPLATES = Path(__file__).with_name("templates")
CONTEXT_TOKENS = 2048
_SECONDS_TO_START = 600.0
# As for llama.cpp: with a thread for each processor, all wait for the slowest one at each token.
_ENVIRONMENT = ("HF_HUB_OFFLINE=1", f"OMP_NUM_THREADS={max(1, (os.cpu_count() or 1) // 2)}")


@dataclass(frozen=True)
class Growth:
    """One forest to grow against a backend."""

    name: str
    config: str
    template: Path | None = None
    """The chat template that the server is started with; None: the model's own."""
    thinks: bool = False
    """Whether the server forces the model to write a thought and then a solution."""
    is_refused: bool = False
    """Whether the backend can never do this, so that the product must refuse it."""


COMPLETIONS = Growth("completions", "demo_arithmetic")
CHAT = Growth("chat", "demo_arithmetic_chat")
WHOLE = Growth("whole", "demo_arithmetic_whole")
TRIMMING = Growth("trimming", "demo_arithmetic_chat", TEMPLATES / "trimming.jinja")
THINKING = Growth("thinking", "demo_arithmetic_thinking", TEMPLATES / "thinking.jinja", thinks=True)
ALL_GROWTHS = (COMPLETIONS, CHAT, WHOLE, TRIMMING, THINKING)


@dataclass(frozen=True)
class Start:
    """The parameters of one start of a backend."""

    python: Path
    weights: Path
    data_dir: Path
    """The data directory of the supervisor."""
    template: Path | None = None
    """The chat template; None: the model's own."""
    thinks: bool = False

    def template_options(self, option: str) -> list[object]:
        """Return the command line's options for the chat template."""
        return [option, self.template] if self.template else []

    def thinking_options(self, *options: object) -> list[object]:
        """Return these options if the model thinks, else none."""
        return list(options) if self.thinks else []


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
    """Modules that it imports but does not need for texts, and for which no package fits here."""
    growths: Sequence[Growth] = ALL_GROWTHS


def _llama_cpp(start: Start) -> list[Service]:
    script = Path(definitions.__file__).with_name("model_server.py")
    command = [start.python, script, start.weights, "--alias", MODEL_NAME]
    return [_model_service([*command, *start.template_options("--chat_template")])]


def _vllm(start: Start) -> list[Service]:
    command = [
        "env", "VLLM_CPU_KVCACHE_SPACE=1", "VLLM_CPU_OMP_THREADS_BIND=nobind", *_ENVIRONMENT,
        "VLLM_NO_USAGE_STATS=1",
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
    """It has no parser of thoughts here: with one, it would not force a thought into its form."""
    command = [
        "env", *_ENVIRONMENT,
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
            "env", f"LOGDIR={directory}", *_ENVIRONMENT,
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
    ),
    Backend(
        "vLLM",
        "vllm",
        "vllm-cpu",
        reads_gguf=False,
        services=_vllm,
        # For pictures and sound; transformers fails with a torchvision made for another torch.
        unwanted=("torchvision", "torchaudio", "torchcodec"),
    ),
    Backend(
        "SGLang",
        "sglang",
        "sglang",
        reads_gguf=False,
        services=_sglang,
        unwanted=("torchvision",),  # made for another torch, as with vLLM
        stand_ins=("torchvision",),
    ),
    Backend(
        "FastChat",
        "fastchat",
        "fschat",
        reads_gguf=False,
        services=_fastchat,
        growths=(COMPLETIONS, replace(CHAT, is_refused=True), WHOLE),
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
