"""Where the command ``fedsim`` begins, under a name that is this project's alone.

The package index has another project called ``fedsim``. Beside this one, which is installed as
``fedsim-devices``, it takes our package's place in an import or overwrites our files, and ``import fedsim``
may not be ours any more. What stands here still can say so, in one sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path

DISTRIBUTION = "fedsim-devices"
STRANGER = "fedsim"


def stranger() -> str | None:
    """The sentence about another project's ``fedsim`` that is installed here; None if there is none.

    An installation of this project from a clone under its earlier name brings no package of its own.
    """
    folders = (Path(folder or ".") for folder in sys.path)
    if not any(True for folder in folders for _ in folder.glob(f"{STRANGER}[-.]*info")):
        return None  # without importlib.metadata, which takes longer to import than the rest of a start
    from importlib import metadata

    try:
        found = metadata.distribution(STRANGER)
    except metadata.PackageNotFoundError:
        return None
    if not any(str(file) == "fedsim/__init__.py" for file in found.files or ()):
        return None
    return (
        f"the package {STRANGER!r} {found.version} that is installed here is another project's and takes "
        f"the place of this one ({DISTRIBUTION}): pip uninstall {STRANGER}, then install this one again, "
        "in its clone: pip install --force-reinstall --no-deps ."
    )


def main() -> None:
    """Say who else is here, and run the command line; exits as :func:`fedsim.cli.main` does."""
    said = stranger()
    if said is not None:
        print(f"fedsim: {said}", file=sys.stderr, flush=True)
    try:
        from fedsim.cli import main as begin
    except ImportError:
        if said is None:
            raise
        sys.exit(1)
    begin()
