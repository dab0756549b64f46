"""The gradient checkers of four libraries, on the same functions; see ``__main__``."""
