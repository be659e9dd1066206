"""What checks the annotated shapes and types at every call in the tests."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int serves as a float, as it does for a type checker
