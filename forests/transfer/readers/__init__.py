"""A module for each format of trees that other programs made: pure functions of rows."""
