"""Answers that are kept while a fit goes on, so that a fit that was killed solves no problem again that it had solved.

Every answer is a file of its own, written whole as soon as its problem is over, under a name that is a hash of all that
decides it: the words, the columns, labels and weights, the penalty, the solver's settings, and the point or the problem
at whose solution it starts. So only answers to the very same questions are found again. Together they take as much room
as the probes that are made of them, until `remove`.

In a job the first process writes, and all of them read what it found; all must reach the folder. An answer that one of
them cannot read counts for none. A process that has lost the lock of the folder ends at its next answer.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tensorstore as ts

from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.folders import list_files, open_folder, read_file, remove_subfolder, write_file
from lca_jax.machine.json_text import parse_json
from lca_jax.machine.processes import known_to_all, of_first
from lca_jax.machine.spill import Spill
from lca_jax.probing.problems import Answer, Question
from lca_jax.store.lock import UNSHARED, Lock
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors

ANSWERS = "unfinished-probes"
"""The subfolder of the answers."""
_PLACE = f"{ANSWERS}/"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptAnswers:
    """The answers of a fit, in a folder."""

    folder: ts.KvStore
    """The folder below which they have a subfolder of their own."""
    key: str
    """Hash of what decides the answers beside the questions: words, columns, settings, versions."""

    lock: Lock = UNSHARED
    """The right to write the folder, which is checked before every write."""

    @staticmethod
    def at(folder: str | Path, key: str, *, lock: Lock = UNSHARED) -> "KeptAnswers":
        """Returns the answers below a path or a URL; nothing is read or written yet."""
        return KeptAnswers(folder=open_folder(folder), key=key, lock=lock)

    def about(self, *facts: object) -> "KeptAnswers":
        """Returns the same place for answers that depend on further plain values or arrays, such as those of X."""
        parts = [fact.tobytes() if isinstance(fact, np.ndarray) else repr(fact).encode() for fact in facts]
        return replace(self, key=checksum_of(b"".join([self.key.encode(), *map(_hashed, parts)])))

    def to(self, questions: Sequence[Question]) -> "KeptBatch":
        """Returns the answers to some questions that were kept before, and the place of the others."""
        names = _names_of(questions, self.key)
        number_of = {name: number for number, name in enumerate(names)}
        read: dict[str, Answer] = {}
        spill = Spill()
        for name in (name for name in self._present() if name in number_of):
            try:
                answer = _unpack(read_file(self.folder, name) or b"")
                read[name] = answer._replace(weights=spill.keep(answer.weights))
            except (ValueError, KeyError, TypeError):
                _log.warning("The kept answer %s cannot be read; its problem is solved anew.", name)
        # A file may be late in one process, or damaged on its way: then all of them solve its problem anew.
        shared = known_to_all(read)
        known = {number_of[name]: answer for name, answer in read.items() if name in shared}
        if known:
            _log.info("%d of %d problems were solved before", len(known), len(questions))
        return KeptBatch(folder=self.folder, names=tuple(names), known=known, lock=self.lock)

    def remove(self) -> None:
        """Removes all answers, once the probes that are made of them are safe."""
        self.lock.check()
        remove_subfolder(self.folder, _PLACE)

    def _present(self) -> list[str]:
        """Returns what the first process finds: all must begin with the same answers."""
        found = list_files(self.folder, _PLACE) if jax.process_index() == 0 else []
        return parse_json(of_first(json.dumps(found).encode()))


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptBatch:
    """The answers to the questions of one solve."""

    known: Mapping[int, Answer]
    """Answers that were found, by the number of their question."""
    folder: ts.KvStore | None = None
    """Where further answers are kept; None for nowhere."""
    names: tuple[str, ...] = ()
    """File of the answer to each question."""
    lock: Lock = UNSHARED
    """The right to write the folder."""

    def keep(self, number: int, answer: Answer) -> None:
        """Writes the answer to a question, if answers are kept; on return it is safe.

        Raises:
            StoreError: Another process has taken the folder over, or it cannot be written.
        """
        if self.folder is not None and jax.process_index() == 0:
            self.lock.check()
            write_file(self.folder, self.names[number], _pack(answer))


NONE_KEPT = KeptBatch(known={})
"""Where no answers are kept."""


def _names_of(questions: Sequence[Question], key: str) -> list[str]:
    """Returns the file of the answer to each question; a question has its parent's in its own."""
    hashes: dict[int, bytes] = {}

    def array_hash(array: np.ndarray | None) -> bytes:
        if array is None:
            return b"-"
        # Questions share their labels and weights, which are hashed once.
        if id(array) not in hashes:
            hashes[id(array)] = _hashed(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return hashes[id(array)]

    names: dict[int, str] = {}

    def name_of(number: int) -> str:
        if number not in names:
            question = questions[number]
            parent = "" if question.parent is None else name_of(question.parent)
            facts = f"{key} {question.classes} {question.l1!r} {question.l2!r} {parent}".encode()
            arrays = (question.labels, question.weights, question.keep, *(question.start or ()))
            names[number] = f"{_PLACE}{checksum_of(facts + b''.join(map(array_hash, arrays)))[:32]}.safetensors"
        return names[number]

    return [name_of(number) for number in range(len(questions))]


def _hashed(content: bytes) -> bytes:
    return checksum_of(content).encode()


def _pack(answer: Answer) -> bytes:
    arrays = {name: value for name, value in answer._asdict().items() if isinstance(value, np.ndarray)}
    return pack_tensors(arrays, {"null_objective": answer.null_objective})


def _unpack(content: bytes) -> Answer:
    """Returns the answer of a file.

    Raises:
        ValueError, KeyError, TypeError: The file was altered, or is none of an answer.
    """
    arrays, facts = unpack_tensors(content)
    return Answer(**arrays, null_objective=float(facts["null_objective"]))
