"""A fresh directory for a run, under a name that is still free."""

from __future__ import annotations

import re
from pathlib import Path

from fedsim.errors import RunError, refused


def new_run_dir(root: str | Path, name: str) -> Path:
    """Make and return ``root/name``, or ``root/name-2``, ``-3``, ... if that exists.

    Two processes that ask at once get two directories. Characters of ``name`` that do not belong in
    a file name become ``-``.

    Raises:
        FedsimError: if the directory cannot be made.
    """
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "run"
    number = 1
    while True:
        path = Path(root) / (base if number == 1 else f"{base}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.parent.is_dir():
                raise RunError("is not a directory", file=path.parent) from None
            number += 1
        except OSError as fault:
            raise refused(path, fault) from None
        else:
            return path
