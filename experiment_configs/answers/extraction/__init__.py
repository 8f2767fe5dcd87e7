"""Find the answer in a solution: docs/answers.md has the forms."""
