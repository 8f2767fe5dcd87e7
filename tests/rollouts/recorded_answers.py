"""What real servers answered, trimmed: llama.cpp (xllamacpp 2026.10), vLLM 0.32.0, FastChat 0.2.36.

All with the weights of SmolLM2-135M-Instruct; `make test-backends` asks the same again.
"""

from typing import Any


def _tokens(*tokens: str) -> dict[str, Any]:
    return {"tokens": list(tokens), "token_logprobs": [-0.5] * len(tokens)}


def _content(*tokens: str) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -0.5} for token in tokens]}


def _answer(choice: dict[str, Any], prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return {"choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": usage}


_SOLUTION = ("The", " answer", " is", " ", "5", ".")

# The model ended its solution; the request asked to stop at a line's end.
VLLM_END = _answer(
    {"text": "".join(_SOLUTION), "logprobs": _tokens(*_SOLUTION, "<|im_end|>"),
     "stop_reason": None}, 19, 7,
)  # fmt: skip
VLLM_CHAT_END = _answer(
    {"message": {"role": "assistant", "content": "".join(_SOLUTION)},
     "logprobs": _content(*_SOLUTION, "<|im_end|>"), "stop_reason": None}, 40, 7,
)  # fmt: skip
FASTCHAT_END = _answer(
    {"text": "".join(_SOLUTION), "logprobs": _tokens(*_SOLUTION, "<|im_end|>")}, 19, 6
)
LLAMA_CPP_END = _answer({"text": "".join(_SOLUTION), "logprobs": _content(*_SOLUTION, "")}, 19, 7)

# The model ended at once.
VLLM_END_AT_ONCE = _answer(
    {"text": "", "logprobs": _tokens("<|im_end|>"), "stop_reason": None}, 25, 1
)
FASTCHAT_END_AT_ONCE = _answer({"text": "", "logprobs": _tokens("<|im_end|>")}, 25, 0)
LLAMA_CPP_END_AT_ONCE = _answer({"text": "", "logprobs": _content("")}, 25, 1)

# The line ended. FastChat looks at every second token, so one more was drawn.
VLLM_LINE = _answer(
    {"text": " 2.", "logprobs": _tokens(" ", "2", ".", "\n"), "stop_reason": "\n"}, 17, 4
)
FASTCHAT_LINE = _answer({"text": " 2.", "logprobs": _tokens(" ", "2", ".", "\n", "Tom")}, 17, 4)
LLAMA_CPP_LINE = _answer({"text": " 2.", "logprobs": _content(" ", "2", ".")}, 17, 4)

# The line ended, and FastChat cut at the last of two line ends.
FASTCHAT_TWO_LINE_ENDS = _answer(
    {"text": "1,,\n", "logprobs": _tokens("1", ",", ",", "\n", "\n")}, 2031, 4
)

# The first token was the line's end.
VLLM_BLANK = _answer({"text": "", "logprobs": _tokens("\n"), "stop_reason": "\n"}, 7, 1)
FASTCHAT_BLANK = _answer({"text": "", "logprobs": _tokens("\n")}, 8, 0)
LLAMA_CPP_BLANK = _answer({"text": "", "logprobs": None}, 7, 1)

# A chat message "one two\n" was to be continued up to the next line's end.
VLLM_CONTINUED = _answer(
    {"message": {"role": "assistant", "content": "three four"},
     "logprobs": _content("three", " four", "\n"), "stop_reason": "\n"}, 46, 3,
)  # fmt: skip
LLAMA_CPP_CONTINUED = _answer(
    {"message": {"role": "assistant", "content": "one two\nthree four"},
     "logprobs": _content("three", " four")}, 46, 3,
)  # fmt: skip

# Prompts that do not fit; each with status 400.
VLLM_TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 2048 tokens. However, your prompt "
        "contains at least 2049 input tokens, which exceeds this limit even without any output "
        "tokens. Please reduce the length of the input prompt. (parameter=input_tokens, "
        "value=2049)",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    }
}
FASTCHAT_TOO_LONG = {
    "object": "error",
    "message": "This model's maximum context length is 8192 tokens. However, your messages "
    "resulted in 8501 tokens. Please reduce the length of the messages.",
    "code": 40303,
}
LLAMA_CPP_TOO_LONG = {
    "error": {
        "code": 400,
        "message": "request (8501 tokens) exceeds the available context size (1024 tokens), try "
        "increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 8501,
        "n_ctx": 1024,
    }
}

# A model that is not there: vLLM with status 404, FastChat with 400. llama.cpp answers.
VLLM_UNKNOWN_MODEL = {
    "error": {
        "message": "The model `no-such-model` does not exist. Valid aliases: smollm2.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
}
FASTCHAT_UNKNOWN_MODEL = {
    "object": "error",
    "message": "Only smollm2 allowed now, your model no-such-model",
    "code": 40301,
}

# `max_tokens=-5`, with status 400.
VLLM_BAD_PARAMETER = {
    "error": {
        "message": "max_tokens must be at least 1, got -5. (parameter=max_tokens, value=-5)",
        "type": "BadRequestError",
        "param": "max_tokens",
        "code": 400,
    }
}
FASTCHAT_BAD_PARAMETER = {
    "object": "error",
    "message": "-5 is less than the minimum of 1 - 'max_tokens'",
    "code": 40302,
}
LLAMA_CPP_BAD_PARAMETER = {
    "error": {
        "code": 400,
        "message": "Field 'max_tokens': Value must be between -1 <= value <= 2147483647, but got "
        "-5",
        "type": "invalid_request_error",
    }
}

# FastChat's worker was killed while it answered: first status 400, then 500 in plain text, and 400
# again once FastChat saw that it had no worker left.
FASTCHAT_WORKER_DIED = {"object": "error", "message": "Server disconnected", "code": 50001}
FASTCHAT_WORKER_IS_DEAD = "Internal Server Error"
FASTCHAT_NO_WORKER = {
    "object": "error",
    "message": "Only  allowed now, your model smollm2",
    "code": 40301,
}

# Several samples of vLLM at temperature 0, with status 400.
VLLM_GREEDY_SAMPLES = {
    "error": {
        "message": "n must be 1 when using greedy sampling, got 3.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    }
}

# More samples than llama.cpp has slots, with status 400.
LLAMA_CPP_TOO_MANY_SAMPLES = {
    "error": {
        "code": 400,
        "message": "Field 'n': Value must be between 1 <= value <= 8, but got 64",
        "type": "invalid_request_error",
    }
}
