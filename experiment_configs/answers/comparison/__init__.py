"""Tell whether two answers mean the same. docs/answers.md describes the rules."""
