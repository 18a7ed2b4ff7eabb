"""Names of tasks in file names: one-to-one, so that the results of one task are never taken for another's."""

import re
from collections.abc import Sequence

from lca_jax.errors import SettingsError
from lca_jax.machine.checksums import checksum_of

_LONGEST_NAME = 100
"""Characters of a task's name that are kept in a file name; file systems allow 255 bytes with everything around it."""


def name_file_of(task: str) -> str:
    """Returns a task's name as part of a file name: `feats:Number` becomes `feats-Number`.

    No two tasks have the same: a name with anything but letters, digits, `_`, `.`, `=` and one colon is followed by a
    checksum (`a/b` becomes `a-b~c14cddc0`). Names that differ in their case alone have file names that do too.
    """
    readable = re.sub(r"[^A-Za-z0-9_.=-]+", "-", task)[:_LONGEST_NAME]
    is_plain = re.fullmatch(r"[A-Za-z0-9_=][A-Za-z0-9_.=]*(:[A-Za-z0-9_.=]+)?", task) and len(task) <= _LONGEST_NAME
    return readable if is_plain else f"{readable.lstrip('.')}~{checksum_of(task.encode(errors='surrogatepass'))[:8]}"


def refuse_like_names(tasks: Sequence[str]) -> None:
    """Refuses tasks whose files would be the same where the case of letters does not count.

    Raises:
        SettingsError: Two tasks are the same, or differ in the case of letters alone.
    """
    first: dict[str, str] = {}
    for task in tasks:
        folded = name_file_of(task.casefold())
        if folded in first:
            other = first[folded]
            how = "is named twice" if other == task else f"differs from `{other}` in the case of letters alone"
            raise SettingsError(f"The task `{task}` {how}. Give each task a name of its own (NAME=COLUMN).")
        first[folded] = task
