"""Tell whether two answers mean the same: docs/answers.md has the rules."""
