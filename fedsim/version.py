"""The version, and how to install what is optional, in a module that every room may import."""

__version__ = "0.1.0"


def install(extra: str) -> str:
    """How to install an extra of this project; ``fedsim`` on the package index is another project's."""
    return f"pip install '.[{extra}]' in a clone of this project"
