"""Chat templates are rendered as model servers render them.

The templates here are this project's own. They use the same parts of Jinja as those of Llama 3,
Qwen 2.5 and 3, Gemma and DeepSeek-R1: trimming, namespaces, slices, splits, refusals, dates,
special tokens.
"""

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from experiment_configs.answers import is_thinking
from experiment_configs.chat_templates import chat_template as chat_templates
from experiment_configs.chat_templates.chat_template import ChatTemplate
from experiment_configs.interfaces import ConfigError

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "2 + 3?\n"}
ANSWER = {"role": "assistant", "content": "<think>\nfive\n</think>\n\n5"}
AGAIN = {"role": "user", "content": "and 4?"}

TRIMMING = """\
{{- bos_token }}
{%- set date = date_string if date_string is defined else strftime_now("%d %b %Y") %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|head|>system<|body|>\\n\\nToday: " + date + "\\n" + system + "<|end|>" }}
{%- for message in messages %}
    {{- '<|head|>' + message['role'] + '<|body|>\\n\\n'+ message['content'] | trim + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|body|>\\n\\n' }}
{%- endif %}
"""

THINKING = """\
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string %}
        {%- set ns.searching = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set said = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im|>assistant\\n' + said + '<|me|>\\n' }}
    {%- else %}
        {{- '<|im|>' + message.role + '\\n' + message.content + '<|me|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if tools %}{{- tools|tojson }}{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|im|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

STRICT = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user/assistant/user') }}
    {%- endif %}
    {%- if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = 'user' %}{% endif %}
    {{- '<turn>' + role + '\\n' + message['content'] | trim + '<over>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}
"""  # noqa: E501

OPENING = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{{ bos_token }}{%- for message in messages %}
{%- if message['role'] == 'user' %}
<|User|>{{ message['content'] }}
{%- elif message['role'] == 'assistant' %}
<|Assistant|>{% generation %}{{ message['content'].split('</think>')|last }}{{ eos_token }}{% endgeneration %}
{%- else %}{% continue %}
{%- endif %}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"""  # noqa: E501


@pytest.fixture
def model(tmp_path: Path):
    """Return a function that writes the files of a model and returns its template."""

    def write(source: str | list | None = None, *, file: str = "", **config) -> ChatTemplate:
        settings = {"bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": False}}
        if source is not None and not file:
            settings["chat_template"] = source
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | config))
        if file:
            (tmp_path / file).write_text(str(source))
        return ChatTemplate(tmp_path)

    return write


def test_a_template_that_trims_dates_and_takes_the_system_message(model):
    template = model(TRIMMING)

    assert template.render([SYSTEM, USER], date_string="1 May 2026") == (
        "<bos><|head|>system<|body|>\n\nToday: 1 May 2026\nBe brief.<|end|>"
        "<|head|>user<|body|>\n\n2 + 3?<|end|><|head|>assistant<|body|>\n\n"
    )
    assert str(datetime.now().astimezone().year) in template.render([USER])


def test_a_template_that_drops_earlier_thoughts(model):
    template = model(THINKING)

    assert template.render([USER, ANSWER, AGAIN]) == (
        "<|im|>user\n2 + 3?\n<|me|>\n<|im|>assistant\n5<|me|>\n"
        "<|im|>user\nand 4?<|me|>\n<|im|>assistant\n"
    )


def test_variables_of_the_template_are_given_to_it(model):
    template = model(THINKING)

    assert template.render([USER], enable_thinking=False).endswith(
        "<|im|>assistant\n<think>\n\n</think>\n\n"
    )
    tools = [{"name": "a<b>'&"}]
    assert '[{"name": "a<b>\'&"}]<|im|>' in template.render([USER], tools=tools)


def test_a_template_that_refuses_says_why(model):
    template = model(STRICT)

    assert template.render([USER]) == "<bos><turn>user\n2 + 3?<over>\n<turn>model\n"
    with pytest.raises(ConfigError, match=r"refuses these messages: System role not supported$"):
        template.render([SYSTEM, USER])
    with pytest.raises(ConfigError, match=r"refuses these messages: Roles must alternate"):
        template.render([USER, USER])


def test_a_template_that_opens_the_thought(model):
    prompt = model(OPENING).render([USER, ANSWER, AGAIN])

    assert prompt == (
        "<bos><|User|>2 + 3?\n<|Assistant|>\n\n5<eos><|User|>and 4?<|Assistant|><think>\n"
    )
    assert is_thinking(prompt)


@pytest.mark.parametrize("source", [TRIMMING, THINKING, STRICT])
@pytest.mark.parametrize(
    "begun", ["First.\n\n", "<think>\nOkay.\n\n", "<think>\n5\n</think>\n\nSo", " \n", "<|im|>"]
)
def test_an_answer_that_has_begun_follows_to_the_character(model, source, begun):
    template = model(source)

    prompt = template.render([USER, {"role": "assistant", "content": begun}])

    assert prompt == template.render([USER]) + begun


def test_a_thought_is_continued_where_the_template_opens_it(model):
    template = model(OPENING)

    prompt = template.render([USER, {"role": "assistant", "content": "Okay.\n\n"}])
    assert prompt.endswith("<|Assistant|><think>\nOkay.\n\n")
    with pytest.raises(ConfigError, match=r"opens the thought itself: begin the last message"):
        template.render([USER, {"role": "assistant", "content": "<think>\nOkay."}])


# Where the template is


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("chat_template.jinja", "own {{ messages[0].content }}"),
        ("chat_template.json", json.dumps({"chat_template": "own {{ messages[0].content }}"})),
    ],
)
def test_a_file_of_its_own_comes_before_the_settings(model, file, text):
    template = model(text, file=file, chat_template="settings")

    assert template.render([USER]) == "own 2 + 3?\n"


def test_a_template_can_be_given_by_itself(tmp_path: Path):
    (tmp_path / "mine.jinja").write_text("{{ bos_token }}[{{ messages[0].content }}]")

    assert ChatTemplate(tmp_path / "mine.jinja").render([USER]) == "[2 + 3?\n]"


def test_one_of_several_templates_is_chosen_by_name(model, tmp_path):
    several = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    model(several)

    assert ChatTemplate(tmp_path).render([USER]) == "plain"
    assert ChatTemplate(tmp_path, name="tool_use").render([USER]) == "tools"
    with pytest.raises(ConfigError, match=r"template named 'rag': it has default, tool_use"):
        ChatTemplate(tmp_path, name="rag").render([USER])


def test_a_base_model_has_no_template(model):
    with pytest.raises(ConfigError, match=r"has no chat template; a base model has none"):
        model().render([USER])


@pytest.mark.parametrize("place", ["/nowhere/model", "./model", "~/no-such-model", "a/b/c", ""])
def test_a_directory_that_is_not_there_is_one_line(place):
    with pytest.raises(ConfigError, match=r"there is no such directory$"):
        ChatTemplate(place).render([USER])


def test_a_name_of_the_hub_is_fetched_once(model, tmp_path, monkeypatch):
    model(THINKING)
    asked = []

    def fetched(name, **options):
        asked.append((name, options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    template = ChatTemplate("example/model", revision="abc")
    assert template.render([USER]) == template.render([USER])
    assert asked == [("example/model", "abc")]


def test_a_hub_that_cannot_be_reached_names_the_local_way(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match=r"'example/model'.*or give a directory with tokenizer_"):
        ChatTemplate("example/model").render([USER])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer_config.json", b"{", "is not JSON"),
        ("tokenizer_config.json", b"[]", "is not a JSON object"),
        ("tokenizer_config.json", b'{"chat_template": 3}', "neither a text nor a list"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "a"}]}', "neither a text nor"),
        ("tokenizer_config.json", b'{"chat_template": [3]}', "neither a text nor a list"),
        ("chat_template.jinja", b"\xff", "cannot be read"),
        ("chat_template.jinja", b"{% if %}", "cannot be read: Expected an expression"),
        ("chat_template.jinja", b" " * 1_000_001, "more than 1,000,000 characters"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(model, tmp_path, name, content, words):
    template = model("")
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=words) as caught:
        template.render([USER])
    assert "\n" not in str(caught.value)


# The token that begins a text


def _tokenizer(post_processor) -> str:
    return json.dumps({"version": "1.0", "post_processor": post_processor, "model": {}})


_WITH_BOS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
}
_WITH_EOS = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<bos>", "type_id": 0}}],
}
_BYTES = {"type": "ByteLevel", "trim_offsets": False}


@pytest.mark.parametrize(
    ("config", "post_processor", "is_left_out"),
    [
        ({"add_bos_token": True}, None, True),
        ({"add_bos_token": False}, _WITH_BOS, False),
        ({}, _WITH_BOS, True),
        ({}, {"type": "Sequence", "processors": [_BYTES, _WITH_BOS]}, True),
        ({}, _WITH_EOS, False),
        ({}, _BYTES, False),
        ({}, None, False),
    ],
)
def test_the_model_sees_its_first_token_once(model, tmp_path, config, post_processor, is_left_out):
    template = model(STRICT, **config)
    (tmp_path / "tokenizer.json").write_text(_tokenizer(post_processor))

    whole = "<bos><turn>user\n2 + 3?<over>\n<turn>model\n"
    assert template.render([USER]) == (whole.removeprefix("<bos>") if is_left_out else whole)
    assert ChatTemplate(tmp_path, keeps_bos=True).render([USER]) == whole


# Hostile templates


@pytest.mark.parametrize(
    "source",
    [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% extends '/etc/passwd' %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].listdir('/') }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_a_template_reaches_nothing_outside(model, source):
    with pytest.raises(ConfigError, match=r"cannot be rendered: ") as caught:
        model(source).render([USER])
    assert "root:" not in str(caught.value)


def test_the_child_can_open_no_file(model, tmp_path):
    """Even if the sandbox has a hole, the process cannot open files."""
    model("{{ 1 }}").render([USER])
    process = chat_templates._child._process
    assert process is not None
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    files = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert files.split()[3:5] == ["3", "3"]


@pytest.mark.parametrize(
    "source",
    [
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}{{ n.x }}",
        "{{ 'a' * 10**10 }}",
        "{{ 'a'|center(10**10) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ range(10**9)|list }}",
        "{{ 'a' * 20000000 }}",
    ],
)
def test_a_template_without_measure_is_stopped(model, source):
    with pytest.raises(ConfigError, match=r"memory|writes more than|Range too big"):
        model(source).render([USER])


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
def test_a_template_without_end_is_stopped_and_the_next_is_rendered(model, monkeypatch, source):
    hasty = chat_templates.ChildProcess(chat_templates._child.script, "0.5")
    monkeypatch.setattr(chat_templates, "_child", hasty)

    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"needs more than"):
        model(source).render([USER])
    assert time.monotonic() - began < 30
    assert model("fine").render([USER]) == "fine"
    hasty.stop()


def test_a_killed_child_is_replaced(model):
    template = model("{{ messages[0].content }}")
    template.render([USER])
    process = chat_templates._child._process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert template.render([USER]) == USER["content"]


def test_messages_that_are_no_json_are_one_line(model):
    with pytest.raises(ConfigError, match=r"must be JSON: TypeError"):
        model("x").render([{"role": "user", "content": {1}}])
    assert model("{{ messages[0].content }}").render([{"content": "\ud800é\x00"}]) == "\ud800é\x00"
