"""The closed loop: grow, pair, export, train, serve, grow on held-out items, compare.

Each step leaves its result in build/proof and is not repeated if that is there, so a run that was
interrupted continues. `make proof` calls it.

usage: run.py TRAINING_PYTHON [--train_items N] [--held_out_items N] [--level step_to_end]
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "build" / "proof"
PORT = 18_230
SERVER = f"http://127.0.0.1:{PORT}/v1"
SECONDS_TO_START = 300
ENVIRONMENT = os.environ | {
    "PRM_CONFIG_PATH": str(HERE / "configs"),
    "PRM_DATA_DIR": str(RESULTS / "data"),
    "OPENAI_BASE_URL": SERVER,
    "OPENAI_API_KEY": "none",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}
TREES = "two_steps-train-base"
HELD_OUT = "two_steps_sampled-test"


class Loop:
    """The steps, in the order of `run`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    def run(self) -> None:
        """Run all steps whose results are missing."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.step("base", lambda: self.train("weights.py", RESULTS / "base"))
        with background([sys.executable, "manage.py", "services"], "services"):
            self.step("grown_train", self.grow_trees)
            self.step("forests/base", lambda: self.grow_held_out("base"))
            self.step("pairs", self.export_pairs)
            self.step("steps", self.export_steps)
            self.step("dpo", lambda: self.train_policy("dpo"))
            self.step("forests/dpo", lambda: self.grow_held_out("dpo"))
            self.step("control", lambda: self.train_policy("control", "--swap_at_random"))
            self.step("forests/control", lambda: self.grow_held_out("control"))
            self.step("scorer", self.train_scorer)
            self.step("scorer.json", self.evaluate_scorer)
        command(sys.executable, str(HERE / "compare.py"), str(RESULTS))

    def step(self, result: str, make: object) -> None:
        """Run a step unless it is done, and say how long it took."""
        done = RESULTS / "done" / result.replace("/", "-")
        if done.exists():
            print(f"{result}: done before", flush=True)
            return
        began, used = time.monotonic(), os.times()
        make()  # type: ignore[operator]
        now = os.times()
        cpu = now.children_user + now.children_system - used.children_user - used.children_system
        done.parent.mkdir(exist_ok=True)
        done.write_text(f"{time.monotonic() - began:.0f} s, {cpu:.0f} s of processor time\n")
        print(f"{result}: {done.read_text()}", end="", flush=True)

    def train(self, script: str, *arguments: object) -> None:
        command(self.options.training_python, str(HERE / script), *map(str, arguments))

    def grow_trees(self) -> None:
        with self.served("base"):
            manage("seed_forest", "--dataset_config_name", "two_steps", "--dataset_split", "train",
                   "--forest_name_suffix", "base", "--limit", self.options.train_items)  # fmt: skip
            manage("rollout_worker", "--forest_name", TREES)

    def grow_held_out(self, model: str) -> None:
        forest = f"{HELD_OUT}-{model}"
        with self.served(model):
            manage("seed_forest", "--dataset_config_name", "two_steps_sampled",
                   "--dataset_split", "test", "--forest_name_suffix", model,
                   "--limit", self.options.held_out_items)  # fmt: skip
            manage("rollout_worker", "--forest_name", forest)
        manage("export_forest", "--forest_name", forest, "--output", RESULTS / "forests" / model)

    def export_pairs(self) -> None:
        manage("create_preferences", "--forest_name", TREES, "--level", self.options.level,
               "--min_confidence", self.options.min_confidence,
               "--set_name", "proof", "--replace")  # fmt: skip
        manage("export_preferences", "--forest_name", TREES, "--set", "proof", "--format", "trl",
               "--output", RESULTS / "pairs", "--overwrite")  # fmt: skip

    def export_steps(self) -> None:
        manage("export_preferences", "--forest_name", TREES, "--format", "trl_stepwise",
               "--with_values", "--output", RESULTS / "steps", "--overwrite")  # fmt: skip

    def train_policy(self, name: str, *more: str) -> None:
        self.train("train_policy.py", RESULTS / "base", RESULTS / "pairs", RESULTS / name, *more)

    def train_scorer(self) -> None:
        self.train("train_scorer.py", RESULTS / "base", RESULTS / "steps", RESULTS / "scorer")

    def evaluate_scorer(self) -> None:
        forest = f"{HELD_OUT}-base"
        with self.served("scorer", "--scorer"):
            manage("score_nodes", "--forest_name", forest, "--scorer", "step_scorer",
                   "--kind", "pooling", "--layout", "plain", "--step_tag", "<file_sep>",
                   "--base_url", SERVER, "--concurrency", 64)  # fmt: skip
        told = manage("evaluate_scorer", "--forest_name", forest, "--scorer", "step_scorer",
                      "--num_beam_values", "4,16", "--procedures", "best_of_n",
                      "--aggregation", "min,product,last", "--json")  # fmt: skip
        (RESULTS / "scorer.json").write_text(told)

    def served(self, model: str, *more: str) -> contextlib.AbstractContextManager[None]:
        script = [self.options.training_python, str(HERE / "serve.py")]
        return background([*script, str(RESULTS / model), str(PORT), *more], model, SERVER)


def command(*arguments: object) -> str:
    """Run a command and return what it printed; its messages go to the terminal."""
    texts = [str(one) for one in arguments]
    print("$", " ".join(texts), flush=True)
    done = subprocess.run(
        texts, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(f"this step failed: {' '.join(texts)}")
    return done.stdout


def manage(*arguments: object) -> str:
    return command(sys.executable, "manage.py", *arguments)


@contextlib.contextmanager
def background(arguments: list[str], name: str, address: str = "") -> Iterator[None]:
    """Run a program during the block. If it has an address, wait until that answers."""
    with (RESULTS / f"{name}.log").open("w") as log:
        child = subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            wait_for(child, log.name, f"{address}/models" if address else "")
            yield
        finally:
            child.terminate()
            child.wait()


def wait_for(child: subprocess.Popen[bytes], log: str, address: str) -> None:
    for _ in range(SECONDS_TO_START if address else 5):
        if child.poll() is not None:
            sys.exit(f"a server ended at once: see {log}")
        with contextlib.suppress(OSError):
            if address:
                urllib.request.urlopen(address, timeout=5).close()
                return
        time.sleep(1)
    if address:
        sys.exit(f"a server does not answer: see {log}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training_python", help="a Python with torch, transformers, trl and peft")
    parser.add_argument("--train_items", type=int, default=150)
    parser.add_argument("--held_out_items", type=int, default=100)
    parser.add_argument("--level", default="step_to_end")
    parser.add_argument("--min_confidence", type=float, default=0.8)
    Loop(parser.parse_args()).run()


if __name__ == "__main__":
    main()
