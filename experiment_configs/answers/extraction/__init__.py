"""Find the answer in a solution. docs/answers.md lists the forms."""
