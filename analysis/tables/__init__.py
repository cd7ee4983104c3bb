"""Result files as data frames."""
