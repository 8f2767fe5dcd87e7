"""A small row for each format that `import_trees` reads, written by us in the documented shape."""

from typing import Any

PRM800K: dict[str, Any] = {
    "labeler": "340d89bc-f5b7-45e9-b272-909ba68ee363",
    "timestamp": "2026-01-22T04:34:27.052924",
    "generation": None,
    "is_quality_control_question": False,
    "is_initial_screening_question": False,
    "question": {"problem": "How much is 2 + 3 + 4?", "ground_truth_answer": "9"},
    "label": {
        "steps": [
            {
                "completions": [
                    {"text": "We add from left to right.", "rating": 1, "flagged": False},
                    {"text": "Sums are fun.", "rating": 0, "flagged": False},
                    {"text": "2 + 3 = 6.", "rating": -1, "flagged": False},
                    {"text": "Hm.", "rating": None, "flagged": True},
                ],
                "human_completion": None,
                "chosen_completion": 0,
            },
            {
                "completions": [{"text": "2 + 3 = 7.", "rating": -1, "flagged": False}],
                "human_completion": {"text": "2 + 3 = 5.", "rating": None, "source": "human"},
                "chosen_completion": None,
            },
            {
                "completions": [
                    {"text": "5 + 4 = 9.\n\n# Answer\n\n9", "rating": 1, "flagged": False}
                ],
                "human_completion": None,
                "chosen_completion": 0,
            },
        ],
        "total_time": 1200,
        "finish_reason": "solution",
    },
}
MATH_SHEPHERD = {
    "input": "How much is 2 + 3 + 4? Step 1: 2 + 3 = 5. ки\nStep 2: The answer is: 10 ки",
    "label": "How much is 2 + 3 + 4? Step 1: 2 + 3 = 5. +\nStep 2: The answer is: 10 -",
    "task": "GSM8K",
}
PROCESSBENCH = {
    "id": "gsm8k-0",
    "generator": "a-model",
    "problem": "How much is 2 + 3 + 4?",
    "steps": ["We add.", "2 + 3 = 6.", "6 + 4 = 10. The answer is 10."],
    "final_answer_correct": False,
    "label": 1,
}
STEP_DPO = {
    "dataset": "math",
    "prompt": "How much is 2 + 3 + 4?",
    "initial_reason_steps": "Let's think step by step.\nStep 1: 2 + 3 = 5.\nStep 2:",
    "chosen": " 5 + 4 = 9.",
    "rejected": " 5 + 4 = 10.",
    "full_chosen": " 5 + 4 = 9.\nStep 3: The answer is 9.",
    "full_rejected": " 5 + 4 = 10.\nStep 3: The answer is 10.",
    "answer": "9",
}
MATH_APS: dict[str, Any] = {
    "question_id": 0,
    "question": "How much is 2 + 3 + 4?",
    "final_answer": "9",
    "reasoning_steps": [
        {"solution_prefix": "How much is 2 + 3 + 4?", "mc_value": 0.5},
        {"solution_prefix": "How much is 2 + 3 + 4?\n\n2 + 3 = 5", "mc_value": 0.75},
        {"solution_prefix": "How much is 2 + 3 + 4?\n\n2 + 3 = 5", "mc_value": 0.25},
        {
            "solution_prefix": "How much is 2 + 3 + 4?\n\n2 + 3 = 5\n\nThe answer is 9",
            "mc_value": 1.0,
        },
        {"solution_prefix": "How much is 2 + 3 + 4?\n\n2 + 3 = 50", "mc_value": 0.0},
    ],
}
MATH_APS_PROCESS = {
    "question": "How much is 2 + 3 + 4?",
    "process": "2 + 3 = 5 \n\n\n\n\n The answer is 10 \n\n\n\n\n",
    "label": ["+", "-"],
}
BIRM: dict[str, Any] = {
    "idx": 7,
    "input": "How much is 2 + 3 + 4?\n",
    "question": "How much is 2 + 3 + 4?\n",
    "answer": "The answer is: 9",
    "ground_truth": "9",
    "outputs": [
        {
            "response": "2 + 3 = 5.ки\nThe answer is: 9ки",
            "response_answer": "9",
            "label": True,
            "step_labels": [True, True],
            "step_h_label": [True, True],
            "step_s_label": [0.5, 1.0],
        },
        {
            "response": "2 + 3 = 5.ки\nThe answer is: tenки",
            "response_answer": "[invalid]",
            "label": "[invalid]",
            "step_labels": [True, "[invalid]"],
            "step_h_label": [True, False],
            "step_s_label": [1.0, 0.0],
        },
    ],
}
MM_PRM: dict[str, Any] = {
    "id": "7",
    "question": "How many ducks are there?",
    "answer": "9",
    "image_path": "/images/7.png",
    "mc_value": 0.5,
    "visit_count": 1,
    "correct_rollouts": [["I count.", "Answer: The final answer is 9"]],
    "incorrect_rollouts": [["I guess.", "They swim.", "Answer: The final answer is 8"]],
    "children": [
        {
            "partial_solution": ["I count.", "Answer: The final answer is 9"],
            "mc_value": 1.0,
            "visit_count": 0,
            "correct_rollouts": [],
            "incorrect_rollouts": [],
            "children": [],
        },
        {
            "partial_solution": ["I guess.", "They swim."],
            "mc_value": 0.0,
            "visit_count": 0,
            "correct_rollouts": [],
            "incorrect_rollouts": [["Answer: The final answer is 7"]],
            "children": [],
        },
    ],
}
MM_PRM_PROCESS = {
    "question": "How many ducks are there?",
    "answer": "9",
    "image_path": "/images/7.png",
    "process": "I count.\n\nI see them.<prm>\n\nAnswer: The final answer is 9<prm>",
    "labels": [0.5, 1.0],
}


def _rstar(text: str, q_value: float, visits: int, answer: str = "") -> dict[str, Any]:
    return {
        "text": text, "extra_info": "", "action": "", "action_input": "", "final_answer": answer,
        "value": q_value, "q_value": q_value, "visit_count": visits,
    }  # fmt: skip


RSTAR: dict[str, Any] = {
    "index": 0,
    "question": "How much is 2 + 3 + 4?",
    "answer": "9",
    "rstar": {
        "0": _rstar("", 0.0, 2),
        "0.1": _rstar("<code>\nx = 2 + 3\n<end_of_step>", 1.0, 1),
        "0.2": _rstar("<code>\nx = 2 - 3\n<end_of_step>", -1.0, 1),
        "0.3": _rstar("<code>\nx = 3\n<end_of_step>", 0.0, 0),
        "0.1.1": _rstar("<answer>\\boxed{9}<end_of_answer>", 1.0, 1, "9"),
        "0.2.1": _rstar("<answer>\\boxed{3}<end_of_answer>", -1.0, 1, "3"),
        "0.2.2": _rstar("1 / 0", -1.0, 1, "Too many consecutive steps have code errors."),
    },
}
ROWS: dict[str, dict[str, Any]] = {
    "prm800k": PRM800K,
    "math_shepherd": MATH_SHEPHERD,
    "processbench": PROCESSBENCH,
    "step_dpo": STEP_DPO,
    "math_aps": MATH_APS,
    "math_aps_process": MATH_APS_PROCESS,
    "birm": BIRM,
    "mm_prm": MM_PRM,
    "mm_prm_process": MM_PRM_PROCESS,
    "rstar": RSTAR,
}
"""A row of each schema, by the name of the schema."""


def format_of(schema: str) -> str:
    """Return the format of a schema; two formats have a second schema for their `process` rows."""
    return schema.removesuffix("_process")
